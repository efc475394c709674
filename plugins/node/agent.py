"""The node's own port ``ovn0``: pods reach the node, and leave the cluster, through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovnloom.core.desired.host import BRIDGE, NODE_LINK, Address, HostState, Link, OvsPort, Route, Sysctl
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import Node
from ovnloom.core.names import ALLOCATED, CIDR, IP_ADDRESS, MAC_ADDRESS, VENDOR, node_port
from ovnloom.core.net import networks, with_prefix
from ovnloom.core.plugins import Plugin
from ovnloom.plugins.node.settings import NodeConfig

# The first packet to a gateway is lost if the flows are not in yet; the kernel's second try comes a second later.
RETRANSMIT_MS = "100"


class NodeAgent(Plugin):
    name, config_class = "node", NodeConfig

    @hookimpl
    def node_state(self, node: Node) -> Iterable[HostState]:
        notes = node.metadata.annotations
        addresses, cidr = notes.get(IP_ADDRESS, ""), notes.get(CIDR, "")
        if notes.get(ALLOCATED) != "true" or not addresses or not cidr:
            return  # the controller has not given the node its address yet
        yield from _port(node.metadata.name, notes.get(MAC_ADDRESS, "").lower(), addresses)
        for address in with_prefix(addresses, cidr).split(","):
            yield Address(NODE_LINK, address)
        for block in networks(cidr):
            yield Route(str(block), NODE_LINK)
            yield from _settings(block.version)


def _port(node: str, mac: str, addresses: str) -> Iterator[HostState]:
    ids = {"iface-id": node_port(node), "vendor": VENDOR, "ip": addresses}
    yield OvsPort(BRIDGE, NODE_LINK, "internal", mac, ids)
    yield Link(NODE_LINK, mac)


def _settings(version: int) -> Iterator[HostState]:
    yield Sysctl(f"net/ipv{version}/neigh/{NODE_LINK}/retrans_time_ms", RETRANSMIT_MS)
    if version == 4:
        yield Sysctl("net/ipv4/ip_forward", "1")
    else:
        yield Sysctl(f"net/ipv6/conf/{NODE_LINK}/disable_ipv6", "0")
        yield Sysctl("net/ipv6/conf/all/forwarding", "1")
