from __future__ import annotations

import pytest

from ovnloom.core.testing import World
from ovnloom.plugins.acl.plugin import AclPlugin
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin
from tests.plugins.acl.words import node


@pytest.fixture
def world() -> World:
    world = World(VpcPlugin, SubnetPlugin, NodePlugin, AclPlugin)
    world.apply(node("n1", "192.168.0.2"))
    return world
