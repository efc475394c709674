"""Leases by port: examples of each rule in docs/ipam.md, and the laws under any order of events."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ovnloom.core.desired.model import AddressRequest, Lease, Pool
from ovnloom.core.errors import Invalid
from ovnloom.core.ipam.allocator import Ipam
from ovnloom.core.kube.objects import Key

BLUE = Pool("blue", "10.0.0.0/29", "10.0.0.1")
DUAL = Pool("dual", "10.1.0.0/28,fd00::/124", "10.1.0.1,fd00::1")


def key(name: str) -> Key:
    return Key("pods", "ns", name)


def books(*pools: Pool) -> Ipam:
    ipam = Ipam(Random(7))
    for pool in pools or (BLUE, DUAL):
        ipam.set_pool(pool)
    return ipam


def ask(ipam: Ipam, name: str, pool: str = "blue", *addresses: str, uid: str = "u", mac: str = "", **rest: bool) -> Lease:
    return ipam.allocate(AddressRequest(name, (pool,), addresses, mac, **rest), pool, key(name), uid)


def refused(reason: str, ipam: Ipam, name: str, pool: str = "blue", *addresses: str, mac: str = "") -> str:
    before = snapshot(ipam)
    with pytest.raises(Invalid) as caught:
        ask(ipam, name, pool, *addresses, mac=mac)
    assert caught.value.reason == reason
    assert snapshot(ipam) == before
    return str(caught.value)


def snapshot(ipam: Ipam) -> list[object]:
    return [(sorted(ipam.leases(pool), key=str), ipam.usage(pool)) for pool in ("blue", "dual")]


def test_lowest_first_and_released_last() -> None:
    ipam = books()
    assert [ask(ipam, name).v4 for name in "abc"] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    ipam.release("a")
    assert [ask(ipam, name).v4 for name in "def"] == ["10.0.0.5", "10.0.0.6", "10.0.0.2"]
    assert "no free IPv4 address" in refused("NoAvailableAddress", ipam, "g")


def test_both_families_and_one_asked_for() -> None:
    ipam = books()
    assert ask(ipam, "a", "dual").text == "10.1.0.2,fd00::2"
    assert ask(ipam, "b", "dual", "fd00::9").text == "10.1.0.3,fd00::9"
    assert ask(ipam, "c", "dual", "fd00::a", "10.1.0.9").text == "10.1.0.9,fd00::a"


def test_a_recorded_request_gets_just_what_it_names() -> None:
    assert ask(books(), "a", "dual", "fd00::9", recorded=True).text == "fd00::9"


def test_refusals_say_who_and_what() -> None:
    ipam = books()
    held = ask(ipam, "a", "blue", "10.0.0.3", mac="02:00:00:00:00:01")
    ipam.reserve_mac("02:00:00:00:00:02")
    assert held.mac == "02:00:00:00:00:01"
    assert "pods/ns/a" in refused("AddressConflict", ipam, "b", "blue", "10.0.0.3")
    assert "gateway" in refused("AddressConflict", ipam, "b", "blue", "10.0.0.1")
    assert "10.0.0.0/29" in refused("AddressOutOfRange", ipam, "b", "blue", "10.0.0.9")
    refused("AddressOutOfRange", ipam, "b", "blue", "10.0.0.7")
    refused("AddressOutOfRange", ipam, "b", "blue", "fd00::1")
    refused("InvalidAddress", ipam, "b", "blue", "10.0.0.x")
    refused("InvalidAddress", ipam, "b", "blue", "10.0.0.4", "10.0.0.5")
    assert "green" in refused("NoSubnet", ipam, "b", "green")
    assert "pods/ns/a" in refused("MacConflict", ipam, "b", mac="02:00:00:00:00:01")
    refused("MacConflict", ipam, "b", mac="02:00:00:00:00:02")
    for mac in ("x", "01:00:00:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:01:02"):
        refused("InvalidMac", ipam, "b", mac=mac)


def test_asking_again_is_no_change_and_another_wish_moves() -> None:
    ipam = books()
    first = ask(ipam, "a")
    assert ask(ipam, "a") == first
    moved = ask(ipam, "a", "blue", "10.0.0.6")
    assert (moved.v4, moved.mac) == ("10.0.0.6", first.mac)
    assert ipam.holder("blue", "10.0.0.2") is None
    assert "held by" in refused("AddressConflict", ipam, "b", "blue", "10.0.0.6")


def test_a_new_object_under_the_name() -> None:
    ipam = books()
    old = ask(ipam, "a", uid="1")
    assert ask(ipam, "a", uid="2", sticky=True) == replace(old, uid="2")
    new = ask(ipam, "a", uid="3")
    assert new.v4 != old.v4 and new.mac != old.mac
    assert ipam.holder("blue", old.v4) is None


def test_a_new_object_that_is_refused_takes_nothing_from_the_old_one() -> None:
    ipam = books(Pool("blue", "10.0.0.0/30", "10.0.0.1"), DUAL)
    ask(ipam, "a", uid="1")
    with pytest.raises(Invalid):
        ask(ipam, "a", "blue", "10.0.0.1", uid="2")
    assert (lease := ipam.lease("a")) and lease.uid == "1"
    assert ask(ipam, "a", uid="2").v4 == "10.0.0.2"


def test_a_port_keeps_its_lease_in_any_pool_that_it_may_have() -> None:
    ipam = books()
    held = ask(ipam, "a", "dual")
    assert ipam.allocate(AddressRequest("a", ("blue", "dual")), "blue", key("a"), "u") == held
    assert ask(ipam, "a", "blue").pool == "blue"
    assert list(ipam.leases("dual")) == []


def test_a_pool_that_changes() -> None:
    ipam = books(Pool("blue", "10.0.0.0/28", "10.0.0.1"), DUAL)
    low, high = ask(ipam, "a"), ask(ipam, "b", "blue", "10.0.0.12")
    assert ipam.set_pool(BLUE) == [high]
    assert ipam.lease("b") is None and ipam.lease("a") == low
    assert ipam.set_pool(replace(BLUE, exclude=("10.0.0.2..10.0.0.4",))) == []
    assert ipam.lease("a") == low
    assert ask(ipam, "c").v4 == "10.0.0.5"
    half = ask(ipam, "d", "dual")
    assert ipam.set_pool(Pool("dual", "10.1.0.0/28", "10.1.0.1")) == [half]
    assert ipam.lease("d") == replace(half, v6="")
    ipam.remove_pool("dual")
    assert ipam.lease("d") is None and ipam.usage("dual") is None


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        (Pool("blue", "10.0.0.0/33", "10.0.0.1"), "InvalidCidr"),
        (Pool("blue", "10.0.0.0/24,10.0.1.0/24", "10.0.0.1"), "InvalidCidr"),
        (Pool("blue", "", ""), "InvalidCidr"),
        (Pool("blue", "10.0.0.0/29", "10.0.1.1"), "InvalidGateway"),
        (Pool("blue", "10.0.0.0/29", "10.0.0.7"), "InvalidGateway"),
        (Pool("blue", "10.0.0.0/29", "x"), "InvalidGateway"),
        (Pool("blue", "10.0.0.0/29,fd00::/64", "10.0.0.1"), "InvalidGateway"),
    ],
)
def test_a_pool_that_cannot_be_understood_changes_nothing(pool: Pool, reason: str) -> None:
    ipam = books()
    ask(ipam, "a")
    before = snapshot(ipam)
    with pytest.raises(Invalid) as caught:
        ipam.set_pool(pool)
    assert caught.value.reason == reason
    assert snapshot(ipam) == before


def test_usage() -> None:
    ipam = books(replace(BLUE, exclude=("10.0.0.4",)), DUAL)
    ask(ipam, "a"), ask(ipam, "b", "blue", "10.0.0.4")
    usage = ipam.usage("blue")
    assert usage
    assert (usage.v4_using, usage.v4_available, usage.v6_using, usage.v6_available) == (2, 3, 0, 0)
    assert (usage.v4_using_ranges, usage.v4_available_ranges) == ("10.0.0.2,10.0.0.4", "10.0.0.3,10.0.0.5-10.0.0.6")
    assert (usage.v6_using_ranges, usage.v6_available_ranges) == ("", "")


def test_restart_takes_recorded_leases_as_they_are() -> None:
    ipam = books()
    leases = [ask(ipam, "a"), ask(ipam, "b", "dual"), ask(ipam, "c", "dual", "fd00::7")]
    again = books(replace(BLUE, exclude=("10.0.0.0/29",)), DUAL)
    assert [again.adopt(lease) for lease in reversed(leases)] == leases[::-1]
    assert [again.adopt(lease) for lease in leases] == leases
    with pytest.raises(Invalid) as caught:
        again.adopt(replace(leases[0], port="z", mac=""))
    assert caught.value.reason == "AddressConflict" and "pods/ns/a" in str(caught.value)
    with pytest.raises(Invalid):
        again.adopt(replace(leases[0], v4="10.9.9.9"))
    assert again.lease("a") == leases[0]


def test_a_huge_pool_costs_what_a_small_one_costs() -> None:
    ipam = books(Pool("blue", "10.0.0.0/8,fd00::/32", "10.0.0.1,fd00::1"), DUAL)
    assert ask(ipam, "a").text == "10.0.0.2,fd00::2"
    usage = ipam.usage("blue")
    assert usage and usage.v6_available == 2**96 - 4
    assert usage.v6_available_ranges == "fd00::3-fd00:0:ffff:ffff:ffff:ffff:ffff:fffe"


def test_macs_are_local_unicast_and_the_same_for_the_same_seed() -> None:
    macs = [ask(books(), "a").mac, ask(books(), "a").mac]
    assert macs[0] == macs[1] and int(macs[0][:2], 16) & 3 == 2


NAMES = st.sampled_from("abcdefghijklmnopqrstuvwxyz"[:20])
V4 = st.sampled_from([f"10.1.0.{n}" for n in range(18)])
V6 = st.sampled_from([f"fd00::{n:x}" for n in range(18)])
MACS = st.sampled_from(["", "", "", "02:00:00:00:00:01", "02:00:00:00:00:02"])
POOLS = [
    DUAL,
    replace(DUAL, exclude=("10.1.0.2..10.1.0.5", "fd00::3")),
    replace(DUAL, cidr="10.1.0.0/29,fd00::/124"),
    Pool("dual", "10.1.0.0/28", "10.1.0.1"),
    replace(DUAL, gateway="10.1.0.4,fd00::4"),
]


class Books(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ipam, self.pool = books(), DUAL

    @rule(
        name=NAMES,
        uid=st.sampled_from("12"),
        addresses=st.one_of(st.just(()), st.tuples(V4), st.tuples(V6), st.tuples(V4, V6)),
        mac=MACS,
        sticky=st.booleans(),
        pool=st.sampled_from(("blue", "dual")),
    )
    def allocate(self, name: str, uid: str, addresses: tuple[str, ...], mac: str, sticky: bool, pool: str) -> None:
        before = snapshot(self.ipam)
        try:
            lease = ask(self.ipam, name, pool, *addresses, uid=uid, mac=mac, sticky=sticky)
        except Invalid:
            assert snapshot(self.ipam) == before
            return
        assert self.ipam.lease(name) == lease
        assert set(addresses) <= set(lease.addresses) and (not mac or lease.mac == mac)
        assert ask(self.ipam, name, pool, *addresses, uid=uid, mac=mac, sticky=sticky) == lease

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        held = self.ipam.lease(name)
        assert self.ipam.release(name) == held
        assert self.ipam.lease(name) is None
        if held:
            assert all(self.ipam.holder(held.pool, address) is None for address in held.addresses)

    @rule(pool=st.sampled_from(POOLS))
    def change(self, pool: Pool) -> None:
        lost = self.ipam.set_pool(pool)
        self.pool = pool
        usable = {address for block in pool.cidr.split(",") for address in list(ipaddress.ip_network(block))[1:-1]}
        assert all(any(ipaddress.ip_address(a) not in usable for a in lease.addresses) for lease in lost)

    @rule()
    def restart(self) -> None:
        again = books(BLUE, self.pool)
        for pool in ("blue", "dual"):
            for lease in self.ipam.leases(pool):
                assert again.adopt(lease) == lease
        assert snapshot(again) == snapshot(self.ipam)
        self.ipam = again

    @invariant()
    def no_address_and_no_mac_twice(self) -> None:
        for pool in ("blue", "dual"):
            leases = list(self.ipam.leases(pool))
            addresses = [address for lease in leases for address in lease.addresses]
            assert len(addresses) == len(set(addresses))
            assert len(leases) == len({lease.mac for lease in leases})
            assert all(self.ipam.holder(pool, address) == lease for lease in leases for address in lease.addresses)

    @invariant()
    def free_and_held_and_reserved_are_the_whole(self) -> None:
        usage = self.ipam.usage("dual")
        assert usage
        for version, block in ((n.version, n) for n in map(ipaddress.ip_network, self.pool.cidr.split(","))):
            using, free = (usage.v4_using, usage.v4_available) if version == 4 else (usage.v6_using, usage.v6_available)
            held = {ipaddress.ip_address(a) for lease in self.ipam.leases("dual") for a in lease.addresses}
            held = {address for address in held if address.version == version}
            reserved = {ipaddress.ip_address(a) for a in self.pool.gateway.split(",")} | set(_excluded(self.pool))
            usable = set(list(block)[1:-1])
            assert using == len(held) and held <= usable
            assert free == len(usable - held - reserved)


def _excluded(pool: Pool) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = []
    for entry in pool.exclude:
        first, _, last = entry.partition("..")
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last or first)
        found += [low + step for step in range(int(high) - int(low) + 1)]
    return found


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
