from __future__ import annotations

import pytest

from ovnloom.core.testing import World
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin

NODE = """
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
"""


@pytest.fixture
def world() -> World:
    """The defaults of A.15 of the reference: one node."""
    world = World(VpcPlugin, SubnetPlugin, NodePlugin)
    world.apply(NODE)
    return world
