"""What the built-in plugins want of a node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ovnloom.core.config import Config
from ovnloom.core.desired.host import Address, HostState, Link, NftRule, NftSet, OvsPort, Route, Sysctl
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.kinds import SUBNETS, Node, NodeAddress, NodeStatus, Subnet, SubnetSpec
from ovnloom.core.kube.objects import Metadata, kind_id
from ovnloom.core.plugins import AGENT, load
from ovnloom.core.view import View

NOTES = {
    "allocated": "true",
    "ip_address": "100.64.0.2,fd00:100:64::2",
    "cidr": "100.64.0.0/16,fd00:100:64::/112",
    "gateway": "100.64.0.1,fd00:100:64::1",
    "mac_address": "0a:00:00:00:00:01",
}


def a_node(**notes: str) -> Node:
    annotations = {f"ovn.kubernetes.io/{key}": value for key, value in (NOTES | notes).items()}
    addresses = [NodeAddress("InternalIP", "192.0.2.2"), NodeAddress("InternalIP", "2001:db8::2"), NodeAddress("Hostname", "n1")]
    return Node(metadata=Metadata(name="n1", annotations=annotations), status=NodeStatus(addresses))


def state(node: Node, *subnets: Subnet, plugins: tuple[Any, ...] = ("node", "subnet")) -> list[HostState]:
    cache: Cache[Subnet] = Cache(SUBNETS)
    for subnet in subnets:
        cache.upsert(subnet)
    caches: dict[str, Any] = {kind_id(SUBNETS): cache}
    found: list[HostState] = []
    for outcome in load(AGENT, Config(plugins=plugins)).fan_out("node_state", node=node, view=View(caches)):
        assert outcome.error is None
        found += outcome.result
    return found


def subnet(name: str, cidr: str, **spec: Any) -> Subnet:
    return Subnet(metadata=Metadata(name=name, resource_version="1"), spec=SubnetSpec(cidr_block=cidr, **spec))


def of(kind: type, values: Iterable[HostState]) -> list[Any]:
    return [value for value in values if isinstance(value, kind)]


def test_the_nodes_port_carries_what_the_controller_gave() -> None:
    values = state(a_node())
    ids = {"iface-id": "node-n1", "vendor": "kube-ovn", "ip": "100.64.0.2,fd00:100:64::2"}
    assert of(OvsPort, values) == [OvsPort("br-int", "ovn0", "internal", "0a:00:00:00:00:01", ids)]
    assert of(Link, values) == [Link("ovn0", "0a:00:00:00:00:01")]
    assert [a.address for a in of(Address, values)] == ["100.64.0.2/16", "fd00:100:64::2/112"]
    assert Sysctl("net/ipv6/neigh/ovn0/retrans_time_ms", "100") in values


def test_before_the_controller_gave_an_address_nothing_is_wanted() -> None:
    assert state(a_node(allocated=""), subnet("a", "10.16.0.0/16", nat_outgoing=True)) == []


def test_pods_are_reached_by_the_join_gateway_from_the_nodes_own_address() -> None:
    values = state(a_node(), subnet("a", "10.16.0.0/16,fd00:10:16::/112"), subnet("join", "100.64.0.0/16,fd00:100:64::/112"))
    assert [r for r in of(Route, values) if r.gateway] == [
        Route("10.16.0.0/16", "ovn0", "100.64.0.1", "192.0.2.2"),
        Route("fd00:10:16::/112", "ovn0", "fd00:100:64::1", "2001:db8::2"),
    ]


def test_subnets_that_the_node_has_no_way_to_are_left_out() -> None:
    others = (
        subnet("vpc", "10.17.0.0/16", vpc="mine", nat_outgoing=True),
        subnet("vlan", "10.18.0.0/16", vlan="v", nat_outgoing=True),
        subnet("bad", "10.19.0.0/33", nat_outgoing=True),
        subnet("attached", "10.20.0.0/16", provider="net1.default", nat_outgoing=True),
    )
    values = state(a_node(), *others)
    assert not [r for r in of(Route, values) if r.gateway] and not of(NftSet, values)
    logical = state(a_node(), subnet("vlan", "10.18.0.0/16", vlan="v", logical_gateway=True))
    assert [r.destination for r in of(Route, logical) if r.gateway] == ["10.18.0.0/16"]


def test_what_leaves_the_cluster_is_masqueraded_if_its_subnet_says_so() -> None:
    values = state(a_node(), subnet("a", "10.16.0.0/16", nat_outgoing=True), subnet("b", "10.17.0.0/16"))
    sets = {s.name: s.networks for s in of(NftSet, values)}
    assert sets == {"subnets4": frozenset({"10.16.0.0/16", "10.17.0.0/16"}), "outgoing4": frozenset({"10.16.0.0/16"})}
    assert "ip saddr @outgoing4 ip daddr != @subnets4 masquerade fully-random" in [r.text for r in of(NftRule, values)]


def test_masquerade_of_services_can_be_turned_off() -> None:
    assert [r.text for r in of(NftRule, state(a_node()))] == ['oifname "ovn0" ct status dnat masquerade fully-random']
    assert not of(NftRule, state(a_node(), plugins=("node", {"subnet": {"masqueradeServices": False}})))
