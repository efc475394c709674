"""Tenants who write OVN's words into names, labels, annotations and ports change nothing but their own object."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ovnloom.core.testing import World, pod
from tests.plugins.acl.ovnmatch import parse
from tests.plugins.acl.words import acls, addresses, network_policy

EVIL = ['"; drop', "a || ip", "$other_v4", "@other", "} || 1 || ip4.src == {0.0.0.0/0", "\\", "x\ny", "🦑"]
WORDS = re.compile(r"[@$][\w.]+|\b(ip4|ip6|tcp|udp|sctp|ip|src|dst|inport|outport)\b|\b\d[\d.]*(/\d+)?|[\s&|=!<>(){},.]")


def plain(match: str) -> bool:
    """Whether *match* holds numbers, addresses, names of sets and the grammar's own words, and nothing else."""
    return not WORDS.sub("", match)


def test_plain_means_plain() -> None:
    assert plain("outport == @web.default && ip4.src == {$as.0f_v4, 10.0.0.0/8} && ((tcp.dst == {80}) || (1 <= udp.dst <= 9))")
    assert not plain('ip4.src == "x"')
    assert not plain("eth.src == 0")


@pytest.mark.parametrize("evil", EVIL)
def test_only_numbers_and_names_of_ours_get_into_a_match(world: World, evil: str) -> None:
    world.apply(pod("victim", "other"), network_policy("good", "other", ingress=[{"from": [{"podSelector": {}}]}]))
    before = acls(world, "good.other")
    selector: dict[str, Any] = {"matchLabels": {evil: evil}, "matchExpressions": [{"key": evil, "operator": "In", "values": [evil]}]}
    rule = {
        "from": [
            {"podSelector": selector},
            {"namespaceSelector": selector},
            {"ipBlock": {"cidr": evil}},
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": [evil]}},
        ],
        "ports": [{"port": evil}, {"port": 80, "protocol": evil}, {"port": 81}],
    }
    notes = {
        "ovn.kubernetes.io/enable_log": "true",
        "ovn.kubernetes.io/log_acl_actions": evil,
        "ovn.kubernetes.io/acl_log_meter_rate": evil,
        "ovn.kubernetes.io/network_policy_enforcement": evil,
    }
    ports = [{"name": evil, "containerPort": 7, "protocol": "TCP"}]
    labels = {evil: evil}
    world.put({**pod("evil", labels=labels), "spec": {"nodeName": "n1", "containers": [{"ports": ports}]}})
    world.apply(network_policy("bad", annotations=notes, podSelector=selector, ingress=[rule]))
    assert not world.failures
    assert acls(world, "good.other") == before
    for row in world.rows("ACL").values():
        assert plain(str(row["match"])), row["match"]
        parse(str(row["match"]))
    assert not world.rows("Meter")
    for table in ("Address_Set", "Port_Group"):
        assert all(re.fullmatch(r"[A-Za-z_.][A-Za-z0-9_.]*", name) for name in world.rows(table))


def test_a_port_that_is_named_by_an_enemy_is_a_number(world: World) -> None:
    ports = [{"name": "a || ip", "containerPort": 7, "protocol": "TCP"}]
    world.put({**pod("evil"), "spec": {"nodeName": "n1", "containers": [{"ports": ports}]}})
    world.apply(network_policy(ingress=[{"ports": [{"port": "a || ip"}]}]))
    [match] = [match for _, _, priority, match, _ in acls(world, "web.default") if priority == 2001 and "ip4" in match]
    assert re.fullmatch(r"outport == @web\.default && ip4 && \(\(ip4\.dst == \$as\.[0-9a-f]{20}\.7_v4 && tcp\.dst == 7\)\)", match)


def test_policies_of_like_names_do_not_meet(world: World) -> None:
    names = [("a-b", "c"), ("a", "b-c"), ("a.b", "c"), ("1", "c"), ("np1", "c")]
    world.apply(*(network_policy(name, space) for name, space in names))
    assert not world.failures
    owners = [row["external_ids"]["np"] for row in world.rows("Port_Group").values() if "np" in row["external_ids"]]  # type: ignore[index, call-overload, operator]
    assert sorted(o for o in owners if not o.startswith("node/")) == sorted(f"{space}/{name}" for name, space in names)


def test_a_pod_gets_into_a_set_only_by_its_lease(world: World) -> None:
    """Annotations are written by tenants: an address that core did not hand out is nobody's."""
    selector = {"podSelector": {"matchLabels": {"app": "front"}}}
    world.apply(network_policy(ingress=[{"from": [selector]}]))
    notes = {"ovn.kubernetes.io/ip_address": "8.8.8.8", "ovn.kubernetes.io/allocated": "true"}
    world.apply(pod("liar", labels={"app": "front"}, annotations=notes))
    [name] = [name for name in world.rows("Address_Set") if name.startswith("as.") and name.endswith("_v4")]
    assert "8.8.8.8" not in addresses(world, name)
