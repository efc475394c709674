from __future__ import annotations

import pytest

from ovnloom.core.testing import World
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.service.plugin import ServicePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin
from tests.plugins.conftest import NODE


@pytest.fixture
def world() -> World:
    """The defaults and Services: one node."""
    world = World(VpcPlugin, SubnetPlugin, NodePlugin, ServicePlugin)
    world.apply(NODE)
    return world
