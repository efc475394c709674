"""Security groups, and the lists of Subnets."""

from __future__ import annotations

from typing import Any

import pytest

from ovnloom.core.kube.kinds import PODS
from ovnloom.core.testing import World, pod
from ovnloom.plugins.acl.security_group import GROUPS, SECURITY_GROUPS
from tests.plugins.acl.words import acls, addresses, ports, said, security_group, subnet

RULE = {"ipVersion": "ipv4", "protocol": "tcp", "priority": 1, "remoteType": "address", "remoteAddress": "192.0.2.0/24", "policy": "allow"}
WEB = {**RULE, "portRangeMin": 80, "portRangeMax": 90}
DENY = "ovn.sg.kubeovn.deny.all"


def member(name: str, groups: str) -> dict[str, object]:
    return pod(name, annotations={SECURITY_GROUPS: groups})


def test_members_and_the_group_that_shuts_off(world: World) -> None:
    world.apply(security_group("a-b"), security_group("c"), member("x", "a-b, c,none"), member("y", "none"), pod("z"))
    assert ports(world, "ovn.sg.a.b") == ports(world, "ovn.sg.c") == ports(world, DENY) == {"x.default"}
    assert len(addresses(world, "ovn.sg.a.b.associated.v4")) == 1
    ids = world.rows("Logical_Switch_Port")["x.default"]["external_ids"]
    assert (ids["security_groups"], ids["associated_sg_a-b"]) == ("a-b/c", "true")  # type: ignore[index, call-overload]
    assert {(d, t, p, a) for d, t, p, _, a in acls(world, DENY)} == {
        (d, t, 2003, "drop") for d in ("to-lport", "from-lport") for t in (2, 3)
    }
    world.delete(PODS, "x", "default")
    assert not ports(world, DENY)
    world.delete(GROUPS, "c")
    world.delete(GROUPS, "a-b")
    assert not {name for name in world.rows("Port_Group") if name.startswith("ovn.sg")}
    assert not [a for a in world.rows("ACL").values() if "ovn.sg" in str(a["match"])]


def test_a_group_that_comes_later_takes_its_members(world: World) -> None:
    world.apply(member("x", "late"))
    assert "ovn.sg.late" not in world.rows("Port_Group")
    world.apply(security_group("late"))
    assert ports(world, "ovn.sg.late") == ports(world, DENY) == {"x.default"}


def test_rules(world: World) -> None:
    back = {
        **WEB,
        "remoteType": "securityGroup",
        "remoteSecurityGroup": "other",
        "policy": "pass",
        "localAddress": "10.16.0.9",
        "priority": 3,
    }
    ping = {**RULE, "protocol": "icmp", "ipVersion": "ipv6", "remoteAddress": "2001:db8::1", "policy": "drop", "priority": 4}
    world.apply(security_group("other"), security_group(ingressRules=[WEB], egressRules=[back, ping], allowSameGroupTraffic=True))
    found = {one for one in acls(world, "ovn.sg.web") if one[2] != 2005}
    assert found == {
        ("to-lport", 2, 18483, "outport == @ovn.sg.web && ip4 && ip4.src == 192.0.2.0/24 && 80 <= tcp.dst <= 90", "allow-related"),
        (
            "from-lport", 2, 18481,
            "inport == @ovn.sg.web && ip4 && ip4.dst == $ovn.sg.other.associated.v4 && ip4.src == 10.16.0.9 && 80 <= tcp.dst <= 90", "pass",
        ),
        ("from-lport", 2, 18480, "inport == @ovn.sg.web && ip6 && ip6.dst == 2001:db8::1 && icmp6", "drop"),
        ("to-lport", 2, 2004, "outport == @ovn.sg.web && ip4 && ip4.src == $ovn.sg.web.associated.v4", "allow-related"),
        ("to-lport", 2, 2004, "outport == @ovn.sg.web && ip6 && ip6.src == $ovn.sg.web.associated.v6", "allow-related"),
        ("from-lport", 2, 2004, "inport == @ovn.sg.web && ip4 && ip4.dst == $ovn.sg.web.associated.v4", "allow-related"),
        ("from-lport", 2, 2004, "inport == @ovn.sg.web && ip6 && ip6.dst == $ovn.sg.web.associated.v6", "allow-related"),
    }  # fmt: skip
    world.delete(GROUPS, "other")
    assert not [one for one in acls(world, "ovn.sg.web") if "other" in one[3]]


def test_tier_1_is_ovns_3(world: World) -> None:
    world.apply(security_group(tier=1, ingressRules=[WEB]))
    assert {tier for _, tier, _, _, _ in acls(world, "ovn.sg.web")} == {3}


def test_status(world: World) -> None:
    world.apply(security_group(ingressRules=[WEB]))
    status = [write.body["status"] for write in world.writes if write.verb == "status" and write.key.kind == "security-groups.kubeovn.io"]
    assert status[-1]["portGroup"] == "ovn.sg.web"
    assert status[-1]["ingressLastSyncSuccess"] is True
    assert status[-1]["ingressMd5"] != status[-1]["egressMd5"]


def test_the_default_group_is_for_other_vpcs(world: World) -> None:
    world.apply({"apiVersion": "kubeovn.io/v1", "kind": "Vpc", "metadata": {"name": "red"}, "spec": {}}, subnet("red-net", vpc="red"))
    world.apply(security_group("default-securitygroup"))
    world.apply(pod("x", annotations={"ovn.kubernetes.io/logical_switch": "red-net"}), pod("y"))
    assert ports(world, "ovn.sg.default.securitygroup") == ports(world, DENY) == {"x.default"}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"tier": 2}, "spec.tier: 2 is unknown; choose 0 or 1"),
        (
            {"ingressRules": [{**WEB, "policy": "open"}]},
            "spec.ingressRules[0].policy: 'open' is not possible; choose allow or drop or pass",
        ),
        ({"tier": 1, "ingressRules": [{**WEB, "policy": "pass"}]}, "'pass' is not possible; choose allow or drop"),
        ({"egressRules": [{**WEB, "remoteAddress": "1.2.3.4 || ip"}]}, "remoteAddress: '1.2.3.4 || ip' is no address or CIDR block"),
        ({"egressRules": [{**WEB, "remoteAddress": "fd00::1"}]}, "remoteAddress: 'fd00::1' is no address or CIDR block of 'ipv4'"),
        ({"egressRules": [{**WEB, "localAddress": "x"}]}, "localAddress: 'x' is no address"),
        ({"ingressRules": [RULE]}, "portRangeMin: 0 to 0 is no range of ports"),
        ({"ingressRules": [{**WEB, "sourcePortRangeMin": 9, "sourcePortRangeMax": 8}]}, "sourcePortRangeMin: 9 to 8 is no range of ports"),
        ({"ingressRules": [{**WEB, "priority": 0}]}, "priority: 0 is not possible; choose one from 1 to 16384"),
        ({"ingressRules": [{**WEB, "protocol": "tcp || ip"}]}, "protocol: 'tcp || ip' is not possible"),
        ({"ingressRules": [{**WEB, "remoteType": "securityGroup"}]}, "remoteSecurityGroup: is missing"),
    ],
)
def test_faults(world: World, spec: dict[str, Any], sentence: str) -> None:
    world.apply(security_group(**spec))
    assert sentence in said(world)
    assert not acls(world, "ovn.sg.web")


def test_a_private_subnet(world: World) -> None:
    world.apply(subnet(private=True, allowSubnets=["10.16.0.0/16"]))
    assert not world.failures
    assert acls(world, "blue") == {
        ("to-lport", 2, 1000, "ip", "drop"),
        ("to-lport", 2, 3000, "ip4.src == 100.64.0.0/16", "allow-related"),
        ("to-lport", 2, 1001, "ip4.src == 10.30.0.0/24 && ip4.dst == 10.30.0.0/24", "allow-related"),
        (
            "to-lport", 2, 1001,
            "(ip4.src == 10.30.0.0/24 && ip4.dst == 10.16.0.0/16) || (ip4.src == 10.16.0.0/16 && ip4.dst == 10.30.0.0/24)", "allow-related",
        ),
    }  # fmt: skip
    world.apply(subnet(private=False))
    assert not acls(world, "blue")


def test_lists_of_a_subnet(world: World) -> None:
    one = {"direction": "to-lport", "priority": 1111, "match": "ip4.src == 192.0.2.1", "action": "drop"}
    world.apply(subnet(acls=[one], allowEWTraffic=True))
    both = "ip4.src == 10.30.0.0/24 && ip4.dst == 10.30.0.0/24"
    assert acls(world, "blue") == {
        ("to-lport", 2, 1111, "ip4.src == 192.0.2.1", "drop"),
        ("to-lport", 2, 1900, both, "allow"),
        ("from-lport", 2, 1900, both, "allow"),
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"direction": "up"}, "spec.acls[0].direction: 'up' is unknown"),
        ({"action": "open"}, "spec.acls[0].action: 'open' is unknown"),
        ({"priority": 40000}, "spec.acls[0].priority: 40000 is not possible"),
        ({"match": " "}, "spec.acls[0].match: is empty"),
    ],
)
def test_faults_of_lists(world: World, change: dict[str, Any], sentence: str) -> None:
    world.apply(subnet(acls=[{"direction": "to-lport", "priority": 1, "match": "ip", "action": "drop", **change}]))
    assert sentence in said(world)


def test_without_the_plugin_the_fields_are_refused() -> None:
    from tests.plugins.acl.conftest import NodePlugin, SubnetPlugin, VpcPlugin

    world = World(VpcPlugin, SubnetPlugin, NodePlugin)
    world.apply(subnet(private=True))
    assert "spec.private: is not supported" in said(world)
