"""Wanted against held: only what differs is written, only what is ours is taken away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovnloom.agent.diff import kernel_writes, network_mtu, switch_writes
from ovnloom.agent.kernel import Kernel, LinkState, RouteState
from ovnloom.agent.nft import render
from ovnloom.agent.ovs import Bridge, Interface, Port, Switch
from ovnloom.core.desired.host import Address, HostState, Link, NftRule, NftSet, OpenVSwitch, OvsPort, Route, Sysctl, merge

JOIN = Route("100.64.0.0/16", "ovn0")
PODS = Route("10.16.0.0/16", "ovn0", "100.64.0.1", "192.0.2.2")
WANTED: list[HostState] = [
    Link("ovn0", "0a:00:00:00:00:01"),
    Sysctl("net/ipv4/ip_forward", "1"),
    Address("ovn0", "100.64.0.2/16"),
    JOIN,
    PODS,
]
HELD = Kernel(
    links={"ovn0": LinkState(7, "0a:00:00:00:00:01", 1500, True, False)},
    addresses=frozenset({Address("ovn0", "100.64.0.2/16")}),
    routes=frozenset({RouteState(replace(JOIN, source="100.64.0.2"), ours=False), RouteState(PODS, ours=True)}),
    sysctls={"net/ipv4/ip_forward": "1"},
    tunnel="eth1",
    mtu=1600,
)


def test_nothing_is_written_when_nothing_differs() -> None:
    writes = kernel_writes(WANTED, HELD, 1500, True)
    assert writes.count == 0 and not writes.blocked


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ({"mac": "0a:00:00:00:00:02"}, Link("ovn0", "0a:00:00:00:00:01", 1500, checksum=False)),
        ({"mtu": 1400}, Link("ovn0", "0a:00:00:00:00:01", 1500, checksum=False)),
        ({"up": False}, Link("ovn0", "0a:00:00:00:00:01", 1500, checksum=False)),
        ({"checksum": True}, Link("ovn0", "0a:00:00:00:00:01", 1500, checksum=False)),
    ],
    ids=str,
)
def test_a_link_that_differs_is_set(state: dict[str, object], wanted: Link) -> None:
    held = replace(HELD, links={"ovn0": replace(HELD.links["ovn0"], **state)})  # type: ignore[arg-type]
    assert kernel_writes(WANTED, held, 1500, True).ensure == [wanted]


def test_checksum_offload_is_left_alone_with_the_kernels_datapath() -> None:
    held = replace(HELD, links={"ovn0": replace(HELD.links["ovn0"], checksum=True)})
    assert kernel_writes(WANTED, held, 1500, False).count == 0


def test_on_a_fresh_link_all_comes_in_order_and_the_kernel_makes_the_join_route() -> None:
    held = Kernel(links={"ovn0": LinkState(7, "", 1500, False, True)}, sysctls={"net/ipv4/ip_forward": "0"}, mtu=1600)
    kinds = [type(value) for value in kernel_writes(WANTED, held, 1500, True).ensure]
    assert kinds == [Link, Sysctl, Address, Route]
    assert PODS in kernel_writes(WANTED, held, 1500, True).ensure


def test_a_lost_join_route_comes_back() -> None:
    held = replace(HELD, routes=frozenset({RouteState(PODS, ours=True)}))
    assert kernel_writes(WANTED, held, 1500, True).ensure == [JOIN]


def test_only_our_own_routes_and_managed_addresses_go() -> None:
    ours, foreign = Route("10.17.0.0/16", "ovn0", "100.64.0.1"), Route("172.16.0.0/12", "ovn0", "100.64.0.9")
    held = replace(
        HELD,
        addresses=HELD.addresses | {Address("ovn0", "100.64.0.9/16"), Address("eth0", "192.0.2.2/24")},
        routes=HELD.routes | {RouteState(ours, True), RouteState(foreign, False)},
    )
    assert kernel_writes(WANTED, held, 1500, True).remove == [Address("ovn0", "100.64.0.9/16"), ours]


def test_a_route_with_another_source_is_replaced() -> None:
    held = replace(HELD, routes=HELD.routes - {RouteState(PODS, True)} | {RouteState(replace(PODS, source="192.0.2.9"), True)})
    writes = kernel_writes(WANTED, held, 1500, True)
    assert writes.ensure == [PODS] and writes.remove == [replace(PODS, source="192.0.2.9")]


def test_what_has_to_wait_is_said_once() -> None:
    writes = kernel_writes(WANTED, Kernel(), 1500, True)
    assert writes.count == 0
    assert writes.blocked == ["there is no device ovn0 yet", "the kernel has no setting net/ipv4/ip_forward yet"]


def test_without_a_tunnel_device_the_mtu_is_not_guessed() -> None:
    assert any("ovn-encap-ip" in sentence for sentence in kernel_writes(WANTED, HELD, 0, True).blocked)


@pytest.mark.parametrize(
    ("configured", "tunnel", "ids", "mtu"),
    [
        (0, 1600, {"ovn-encap-type": "geneve", "ovn-encap-ip": "192.0.2.1"}, 1500),
        (0, 1600, {"ovn-encap-type": "geneve", "ovn-encap-ip": "fd00::1"}, 1480),
        (0, 1500, {"ovn-encap-type": "vxlan"}, 1450),
        (0, 1500, {"ovn-encap-type": "geneve,vxlan"}, 1400),
        (0, 1500, {}, 1400),
        (1300, 1600, {}, 1300),
        (0, 0, {}, 0),
    ],
)
def test_mtu_is_what_the_tunnels_leave(configured: int, tunnel: int, ids: dict[str, str], mtu: int) -> None:
    assert network_mtu(configured, tunnel, ids) == mtu


def held_switch(**interface: object) -> Switch:
    switch = Switch("unix:/nowhere")
    switch.external_ids = {"system-id": "one"}
    switch.bridges = {"br-int": Bridge("br-int", "b1", frozenset({"p1"}))}
    switch.ports = {"ovn0": Port("ovn0", "p1")}
    values = {"type": "internal", "mac": "0a:00:00:00:00:01", "external_ids": {"iface-id": "node-n1", "ovn-installed": "true"}} | interface
    switch.interfaces = {"ovn0": Interface("ovn0", "i1", **values)}  # type: ignore[arg-type]
    return switch


PORT = OvsPort("br-int", "ovn0", "internal", "0a:00:00:00:00:01", {"iface-id": "node-n1"})


def test_a_port_that_is_right_costs_nothing_whatever_others_added() -> None:
    assert switch_writes([PORT, OpenVSwitch("system-id", "one")], held_switch()).operations == []


def test_the_mtu_is_asked_of_the_switch_as_soon_as_it_is_known() -> None:
    [update, _] = switch_writes([PORT], held_switch(), 1500).operations
    assert update["row"] == {"mtu_request": 1500}
    assert switch_writes([PORT], held_switch(mtu_request=1500), 1500).operations == []


@pytest.mark.parametrize(
    ("interface", "count"), [({"mac": "0a:00:00:00:00:02"}, 2), ({"external_ids": {"iface-id": "x"}}, 1), ({"type": ""}, 2)], ids=str
)
def test_a_port_that_differs_is_mended(interface: dict[str, object], count: int) -> None:
    assert len(switch_writes([PORT], held_switch(**interface)).operations) == count


def test_a_port_on_the_wrong_bridge_moves() -> None:
    switch = held_switch()
    switch.bridges = {"br-int": Bridge("br-int", "b1"), "br-x": Bridge("br-x", "b2", frozenset({"p1"}))}
    operations = switch_writes([PORT], switch).operations
    assert operations[0]["where"] == [["name", "==", "br-x"]] and operations[1]["op"] == "insert"


def test_a_missing_bridge_blocks() -> None:
    switch = held_switch()
    switch.bridges = {}
    writes = switch_writes([PORT], switch)
    assert not writes.operations and writes.blocked == ["the switch has no bridge br-int yet"]


def test_two_plugins_that_contradict_each_other_are_both_named() -> None:
    merged, conflicts = merge([("node", [Link("ovn0", mtu=1400)]), ("other", [Link("ovn0", mtu=1300), Sysctl("a", "1")])])
    assert merged["link ovn0"] == Link("ovn0", mtu=1400) and "sysctl a" in merged
    assert "node" in str(conflicts[0]) and "other" in str(conflicts[0])


def test_sets_of_several_plugins_are_united() -> None:
    merged, conflicts = merge([("a", [NftSet("s", 4, frozenset({"10.0.0.0/8"}))]), ("b", [NftSet("s", 4, frozenset({"10.1.0.0/16"}))])])
    assert merged["nft set s"] == NftSet("s", 4, frozenset({"10.0.0.0/8", "10.1.0.0/16"})) and not conflicts


def test_rules_come_by_priority_and_no_rules_means_no_table() -> None:
    text = render([NftRule("postrouting", 200, "second"), NftRule("postrouting", 100, "first")])
    assert text.index("first") < text.index("second")
    assert render([NftSet("s", 4)]) == ""


def test_what_is_no_network_or_no_chain_never_reaches_nft() -> None:
    rule = NftRule("postrouting", 1, "masquerade")
    with pytest.raises(ValueError, match="CIDR"):
        render([rule, NftSet("s", 4, frozenset({"10.0.0.0/8 }; flush ruleset"}))])
    with pytest.raises(ValueError, match="no chain nowhere"):
        render([NftRule("nowhere", 1, "accept")])
