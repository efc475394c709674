"""Routes from the node to the pods of the default Vpc, and the NAT of what leaves the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovnloom.core.desired.host import NODE_LINK, HostState, NftRule, NftSet, Route
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import SUBNETS, Node, Subnet
from ovnloom.core.names import ALLOCATED, CIDR, GATEWAY
from ovnloom.core.net import Network, networks, split
from ovnloom.core.plugins import Plugin
from ovnloom.core.view import View
from ovnloom.plugins.subnet.settings import SubnetConfig

SERVICES, OUTGOING = 100, 200  # order of the rules


class SubnetAgent(Plugin):
    name, config_class = "subnet", SubnetConfig

    @hookimpl
    def node_state(self, node: Node, view: View) -> Iterable[HostState]:
        if node.metadata.annotations.get(ALLOCATED) != "true":
            return
        subnets = [(subnet, blocks) for subnet in view.list(SUBNETS) if (blocks := self._blocks(subnet))]
        yield from self._routes(node, subnets)
        yield from self._nat(subnets)

    def _blocks(self, subnet: Subnet) -> tuple[Network, ...]:
        """The blocks of *subnet*, if it is one that the node has a way to: routed by OVN, in the default Vpc, well-formed."""
        spec = subnet.spec
        overlay = (not spec.vlan or spec.logical_gateway) and spec.provider in ("", "ovn")
        if not overlay or (spec.vpc or self.cluster.router) != self.cluster.router:
            return ()
        try:
            return networks(spec.cidr_block)
        except ValueError:  # the controller tells its author
            return ()

    def _routes(self, node: Node, subnets: list[tuple[Subnet, tuple[Network, ...]]]) -> Iterator[HostState]:
        """By the join gateway, with the node's own address as source: pods answer to it by the router's policy for the node."""
        gateways = split(node.metadata.annotations.get(GATEWAY, ""))
        sources = split(",".join(node.internal_ips))
        join = {str(block) for block in networks(node.metadata.annotations[CIDR])}
        for block in (block for _, blocks in subnets for block in blocks if str(block) not in join):
            way = block.version == 6
            if gateways[way]:
                yield Route(str(block), NODE_LINK, gateways[way], sources[way])

    def _nat(self, subnets: list[tuple[Subnet, tuple[Network, ...]]]) -> Iterator[HostState]:
        if self.config.masquerade_services:
            yield NftRule("postrouting", SERVICES, f'oifname "{NODE_LINK}" ct status dnat masquerade fully-random')
        for version, word in ((4, "ip"), (6, "ip6")):
            every = {str(b) for _, blocks in subnets for b in blocks if b.version == version}
            outgoing = {str(b) for subnet, blocks in subnets for b in blocks if b.version == version and subnet.spec.nat_outgoing}
            if outgoing:
                yield NftSet(f"subnets{version}", version, frozenset(every))
                yield NftSet(f"outgoing{version}", version, frozenset(outgoing))
                rule = f"{word} saddr @outgoing{version} {word} daddr != @subnets{version} masquerade fully-random"
                yield NftRule("postrouting", OUTGOING, rule)
