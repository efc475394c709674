"""The agent on a real node: real namespaces, a real switch in userspace, real nftables."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.agent.conftest import Bed, running
from tests.agent.node import Node, pod_namespace, sh

pytestmark = pytest.mark.node

PORT = "abcdef012345_h"


async def eventually(condition: object, what: str) -> None:
    """What the agent does by itself, after a notice, has no other sign than the state that it makes."""
    assert callable(condition)
    end = time.monotonic() + 5
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, f"not within 5 s: {what}"
        await asyncio.sleep(0.02)


def links() -> str:
    return sh("ip", "-br", "link")


def ports(bed: Bed) -> list[str]:
    return bed.node.vsctl("list-ports", "br-int").split()


# the node


async def test_ovn0_is_as_wanted(bed: Bed) -> None:
    await bed.settled()
    link = json.loads(sh("ip", "-j", "address", "show", "ovn0"))[0]
    assert (link["address"], link["mtu"], "UP" in link["flags"]) == ("0a:00:00:00:40:02", 1500, True)
    assert {a["local"] for a in link["addr_info"] if a["scope"] == "global"} == {"100.64.0.2", "fd00:100:64::2"}
    assert "fe80:" in sh("ip", "address", "show", "ovn0", "scope", "link"), "IPv6 needs a link-local address"
    assert "10.16.0.0/16 via 100.64.0.1 dev ovn0" in sh("ip", "route") and "src 192.0.2.2" in sh("ip", "route", "show", "10.16.0.0/16")
    assert "fd00:10:16::/112 via fd00:100:64::1" in sh("ip", "-6", "route")
    assert 'oifname "ovn0" ct status dnat masquerade fully-random' in sh("nft", "list", "table", "inet", "ovnloom")
    assert bed.node.vsctl("get", "Interface", "ovn0", "external_ids:iface-id") == "node-node1"
    assert sh("cat", "/proc/sys/net/ipv4/neigh/ovn0/retrans_time_ms").strip() == "100"


async def test_an_agent_that_starts_again_writes_nothing(a_node: Node, netns: str) -> None:
    async with running(a_node) as first:
        await first.ready()
        first.pod()
        assert (await first.add(netns)).status == 200
        assert all(first.writes)
    before = sh("ip", "-n", Path(netns).name, "address")
    async with running(a_node) as second:
        await second.ready()
        await second.settled()
        assert second.writes == (0, 0, 0)
        assert PORT in ports(second)
    assert sh("ip", "-n", Path(netns).name, "address") == before


@pytest.mark.parametrize(
    ("damage", "sign", "words"),
    [
        ("ip address delete 100.64.0.2/16 dev ovn0", "ip address show dev ovn0", "inet 100.64.0.2/16"),
        ("ip address add 100.64.9.9/16 dev ovn0", "ip -o address show dev ovn0 to 100.64.9.9", ""),
        ("ip route delete 10.16.0.0/16", "ip route", "10.16.0.0/16 via 100.64.0.1 dev ovn0"),
        ("ip route delete 100.64.0.0/16", "ip route", "100.64.0.0/16 dev ovn0"),
        ("ip link set ovn0 down", "ip route", "10.16.0.0/16 via 100.64.0.1 dev ovn0"),
        ("ip link set ovn0 mtu 1300", "ip link show dev ovn0", "mtu 1500"),
        ("nft delete table inet ovnloom", "nft list table inet ovnloom", "ct status dnat masquerade"),
        ("nft flush chain inet ovnloom postrouting", "nft list table inet ovnloom", "ct status dnat masquerade"),
        ("nft delete element inet ovnloom subnets4 { 10.16.0.0/16 }", "nft list table inet ovnloom", "10.16.0.0/16, 100.64.0.0/16"),
    ],
)
async def test_damage_is_mended(bed: Bed, damage: str, sign: str, words: str) -> None:
    def whole() -> bool:
        shown = sh(*sign.split(), check=False)
        return words in shown if words else not shown

    await bed.settled()
    assert whole()
    sh(*damage.split())
    assert not whole() or "mtu" in damage  # of its port's MTU the switch takes care itself, and may be quicker than we look
    await eventually(whole, f"mended after {damage}")
    await bed.settled()
    writes = bed.writes
    await bed.settled()
    assert bed.writes == writes, "it does not go on writing"


async def test_a_changed_port_of_the_switch_is_mended(bed: Bed) -> None:
    await asyncio.to_thread(bed.node.vsctl, "remove", "Interface", "ovn0", "external_ids", "iface-id")
    await eventually(lambda: "node-node1" in bed.node.vsctl("get", "Interface", "ovn0", "external_ids"), "iface-id")
    await asyncio.to_thread(bed.node.vsctl, "del-port", "br-int", "ovn0")
    await eventually(lambda: "100.64.0.2" in sh("ip", "address", "show"), "ovn0 is made again")


async def test_a_switch_that_starts_again_gets_its_ovn0_back(bed: Bed) -> None:
    bed.node.stop("ovs-vswitchd")
    sh("ip", "link", "delete", "ovn0")
    await bed.settled()
    assert any("no device ovn0" in problem for problem in bed.agent.unready())
    await asyncio.to_thread(bed.node.start_switch)
    await bed.ready()
    assert "10.16.0.0/16 via" in sh("ip", "route") and "0a:00:00:00:40:02" in sh("ip", "link", "show", "ovn0")


async def test_other_tables_and_routes_are_left_alone(bed: Bed) -> None:
    await bed.settled()
    writes = bed.writes
    sh("nft", "add", "table", "inet", "another")
    sh("ip", "route", "add", "172.16.0.0/12", "via", "100.64.0.9", "dev", "ovn0")
    await bed.settled()
    assert bed.writes == writes
    assert "172.16.0.0/12" in sh("ip", "route")


async def test_subnets_come_and_go(bed: Bed) -> None:
    bed.subnet("more", "10.99.0.0/24", nat_outgoing=True)
    await eventually(lambda: "10.99.0.0/24 via" in sh("ip", "route") and "10.99.0.0/24" in sh("nft", "list", "ruleset"), "route and set")
    key = next(key for key in bed.agent.subnets._objects if key.name == "more")
    bed.agent.subnets.remove(key)
    await eventually(lambda: "10.99" not in sh("ip", "route") + sh("nft", "list", "ruleset"), "both gone")


async def test_the_databases_end_is_survived(bed: Bed, netns: str) -> None:
    bed.node.stop("ovsdb-server")
    switch = bed.agent.switch
    await asyncio.wait_for(switch.changes.until(lambda: None if switch.connected else True), 5)
    assert (await bed.call("status", cniVersion="1.1.0")).json["code"] == 50
    assert (await bed.call("del", netns)).json["code"] == 11
    bed.node.start_database()
    await asyncio.wait_for(switch.changes.until(lambda: switch.connected or None), 5)
    bed.pod()
    assert (await bed.add(netns)).status == 200


# pods


async def test_add_makes_the_card(bed: Bed, netns: str) -> None:
    bed.pod()
    answer = await bed.add(netns)
    assert answer.status == 200, answer.text
    assert [ip["address"] for ip in answer.json["ips"]] == ["10.16.0.5/16", "fd00:10:16::5/112"]
    inside = Path(netns).name
    link = json.loads(sh("ip", "-n", inside, "-j", "address", "show", "eth0"))[0]
    assert (link["address"], link["mtu"], link["operstate"]) == ("0a:00:00:00:00:05", 1500, "UP")
    assert "default via 10.16.0.1" in sh("ip", "-n", inside, "route")
    assert "default via fd00:10:16::1" in sh("ip", "-n", inside, "-6", "route")
    assert "inet6" not in sh("ip", "address", "show", PORT), "the node's end must not speak"
    assert bed.node.vsctl("get", "Interface", PORT, "external_ids:iface-id") == "p.d"


async def test_add_is_woken_by_the_annotations(bed: Bed, netns: str) -> None:
    adding = asyncio.create_task(bed.add(netns))
    for notes in ({"allocated": "", "routed": ""}, {"routed": ""}):
        bed.pod(**notes)
        await bed.settled()
        assert not adding.done() and PORT not in ports(bed)
    bed.pod()
    assert (await adding).status == 200


async def test_a_pod_of_the_same_name_with_another_uid_is_not_taken(bed: Bed, netns: str) -> None:
    bed.pod(uid="the-one-before")
    adding = asyncio.create_task(bed.add(netns))
    await bed.settled()
    assert not adding.done()
    bed.pod()
    assert (await adding).status == 200


async def test_a_subnets_own_mtu_counts(bed: Bed, netns: str) -> None:
    bed.subnet("small", "10.20.0.0/16", mtu=1300)
    bed.pod(logical_switch="small", ip_address="10.20.0.5", cidr="10.20.0.0/16", gateway="10.20.0.1")
    assert (await bed.add(netns)).status == 200
    assert "mtu 1300" in sh("ip", "-n", Path(netns).name, "link", "show", "eth0")


@pytest.mark.parametrize(
    ("notes", "stage"), [(None, "API server"), ({"allocated": ""}, "allocated"), ({"routed": ""}, "routed"), ({}, "ovn-installed")], ids=str
)
async def test_add_gives_up_with_the_stage_and_leaves_nothing(a_node: Node, netns: str, notes: dict[str, str] | None, stage: str) -> None:
    async with running(a_node, patience=0.5) as bed:
        await bed.ready()
        if notes is not None:
            bed.pod(**notes)
        answer = await bed.call("add", netns)
        assert answer.status == 503 and answer.json["code"] == 11 and stage in answer.json["msg"]
        assert ports(bed) == ["ovn0"] and PORT not in links()


async def test_a_client_that_hangs_up_leaves_nothing(a_node: Node, netns: str) -> None:
    async with running(a_node, patience=60) as bed:
        await bed.ready()
        bed.pod()
        adding = asyncio.create_task(bed.call("add", netns))
        switch = bed.agent.switch
        await asyncio.wait_for(switch.changes.until(lambda: PORT in switch.interfaces or None), 5)
        adding.cancel()
        await eventually(lambda: PORT not in links() and PORT not in ports(bed), "undone")


async def test_a_port_that_is_taken_away_ends_the_waiting(bed: Bed, netns: str) -> None:
    bed.pod()
    adding = asyncio.create_task(bed.call("add", netns))
    switch = bed.agent.switch
    await asyncio.wait_for(switch.changes.until(lambda: PORT in switch.interfaces or None), 5)
    await asyncio.to_thread(bed.node.vsctl, "del-port", "br-int", PORT)
    answer = await adding
    assert answer.json["code"] == 11 and "taken off" in answer.json["msg"]
    assert PORT not in links()


async def test_a_deleted_pod_ends_the_waiting(bed: Bed, netns: str) -> None:
    bed.pod(routed="")
    adding = asyncio.create_task(bed.call("add", netns))
    await bed.settled()
    bed.agent.pods.remove(next(iter(bed.agent.pods._objects)))
    assert "deleted" in (await adding).json["msg"]


async def test_an_interface_that_is_there_already_is_an_error(bed: Bed, netns: str) -> None:
    bed.pod()
    sh("ip", "-n", Path(netns).name, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    answer = await bed.call("add", netns)
    assert answer.json["code"] == 100 and "already" in answer.json["msg"]
    assert ports(bed) == ["ovn0"]


@pytest.mark.parametrize("path", ["/run/netns/there-is-none", "/etc/passwd", "/proc/self/ns/mnt", "/proc/self/ns/net", "/run"])
async def test_what_is_no_pods_namespace_is_refused(bed: Bed, path: str) -> None:
    bed.pod()
    answer = await bed.call("add", path)
    assert answer.status == 400 and answer.json["code"] == 4 and path in answer.json["msg"]


@pytest.mark.parametrize(
    "notes",
    [
        {"cidr": "10.16.0.0/16"},
        {"cidr": ""},
        {"ip_address": "x"},
        {"ip_address": '10.16.0.5"\n'},
        {"mac_address": ""},
        {"mac_address": "zz"},
    ],
    ids=repr,
)
async def test_annotations_that_cannot_be_read_are_an_error(bed: Bed, netns: str, notes: dict[str, str]) -> None:
    bed.pod(**notes)
    answer = await bed.call("add", netns)
    assert answer.json["code"] == 100 and next(iter(notes)) in answer.json["msg"]
    assert ports(bed) == ["ovn0"]


async def test_a_new_sandbox_takes_the_port_over_from_the_old_one(bed: Bed, netns: str) -> None:
    bed.pod()
    assert (await bed.add(netns)).status == 200
    with pod_namespace(f"{bed.node.home.name}-again") as again:
        assert (await bed.add(again, container="fedcba9876543210")).status == 200
        assert sorted(ports(bed)) == ["fedcba987654_h", "ovn0"]
        assert (await bed.call("del", netns)).status == 200  # of the old sandbox, late
        assert sorted(ports(bed)) == ["fedcba987654_h", "ovn0"]


async def test_del_succeeds_whatever_is_gone(bed: Bed, netns: str) -> None:
    bed.pod()
    assert (await bed.call("del", netns)).status == 200
    assert (await bed.add(netns)).status == 200
    sh("ip", "netns", "delete", Path(netns).name)
    assert (await bed.call("del", "")).status == 200
    assert ports(bed) == ["ovn0"] and PORT not in links()


async def test_check_says_what_is_wrong(bed: Bed, netns: str) -> None:
    bed.pod()
    result = (await bed.add(netns)).json
    assert (await bed.call("check", netns, prevResult=result)).status == 200
    sh("ip", "-n", Path(netns).name, "address", "delete", "10.16.0.5/16", "dev", "eth0")
    await asyncio.to_thread(bed.node.vsctl, "set", "Interface", PORT, "external_ids:iface-id=other")
    await bed.settled()
    message = (await bed.call("check", netns, prevResult=result)).json["msg"]
    assert all(words in message for words in ("lost the address 10.16.0.5/16", "default route via 10.16.0.1", "belongs to other"))
    assert (await bed.call("check", "/run/netns/gone", prevResult=result)).json["code"] == 3


async def test_gc_takes_only_what_the_runtime_does_not_list(bed: Bed, netns: str) -> None:
    bed.pod()
    assert (await bed.add(netns)).status == 200
    kept = {"cni.dev/valid-attachments": [{"containerID": "abcdef0123456789", "ifname": "eth0"}]}
    assert (await bed.call("gc", **kept)).status == 200
    assert sorted(ports(bed)) == [PORT, "ovn0"]
    assert (await bed.call("gc", **{"cni.dev/valid-attachments": []})).status == 200
    assert ports(bed) == ["ovn0"] and PORT not in links()


async def test_many_pods_at_once(bed: Bed) -> None:
    """Each in its own namespace; none gets another's address."""
    names = [f"{bed.node.home.name}-{number}" for number in range(20)]
    for name in names:
        sh("ip", "netns", "add", name)
    try:
        for number in range(20):
            bed.pod(f"p{number}", f"u{number}", ip_address=f"10.16.1.{number},fd00:10:16::1{number:02x}")
        adds = [
            bed.add(f"/run/netns/{name}", container=f"{number:016d}"[::-1], pod=f"p{number}", uid=f"u{number}")
            for number, name in enumerate(names)
        ]
        answers = await asyncio.gather(*adds)
        assert {a.status for a in answers} == {200}, [a.text for a in answers if a.status != 200]
        for number, name in enumerate(names):
            assert f"10.16.1.{number}/16" in sh("ip", "-n", name, "address", "show", "eth0")
    finally:
        for name in names:
            sh("ip", "netns", "delete", name)


async def test_status_tells_whether_pods_can_be_attached(bed: Bed) -> None:
    assert (await bed.call("status", cniVersion="1.1.0")).status == 200
