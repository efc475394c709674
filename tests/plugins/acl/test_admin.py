"""Policies of the administrator beyond what the vectors ask: peers that are no pods, names, faults."""

from __future__ import annotations

from typing import Any

import pytest

from ovnloom.core.testing import World, pod
from ovnloom.plugins.acl.admin import ANPS, RESOLVERS
from tests.plugins.acl.words import acls, addresses, admin_policy, cluster_policy, namespace, node, ports, said

DNS = "anp-strict-" + "bfabc374"  # the first of the sha256 of example.org


def egress(action: str = "Allow", **peer: Any) -> dict[str, Any]:
    return {"action": action, "to": [peer]}


def test_tier_priority_action_and_who_is_meant(world: World) -> None:
    rules = [{"action": a, "from": [{"namespaces": {}}]} for a in ("Allow", "Deny", "Pass")]
    subject = {"pods": {"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": {"matchLabels": {"app": "x"}}}}
    world.apply(namespace("one", team="a"), pod("in", "one", labels={"app": "x"}), pod("out", "default", labels={"app": "x"}))
    world.apply(admin_policy(subject=subject, priority=7, ingress=rules))
    assert ports(world, "strict") == {"in.one"}
    seen = {(direction, tier, priority, action) for direction, tier, priority, match, action in acls(world, "strict") if "ip4.src" in match}
    assert seen == {("to-lport", 1, 29300 - index, action) for index, action in enumerate(("allow-related", "drop", "pass"))}


def test_baselines_are_in_tier_3(world: World) -> None:
    deny = [{"action": "Deny", "from": [{"namespaces": {}}]}]
    document = admin_policy("default", ingress=deny)
    del document["spec"]["priority"]
    world.apply({**document, "kind": "BaselineAdminNetworkPolicy"}, cluster_policy(tier="Baseline", priority=1000, ingress=deny))
    assert {(tier, priority) for _, tier, priority, _, action in acls(world, "banp_default") if action == "drop"} == {(3, 1800)}
    assert {(tier, priority) for _, tier, priority, _, action in acls(world, "cnp_strict") if action == "drop"} == {(3, 5000)}


def test_nodes_are_their_addresses_and_a_new_one_changes_no_acl(world: World) -> None:
    world.apply(admin_policy(egress=[egress(nodes={"matchLabels": {"gpu": "yes"}})]))
    before = acls(world, "strict")
    assert not addresses(world, "strict.egress.0.0.nodes_v4")
    world.apply(node("n2", "192.168.0.3", "fd00::3", gpu="yes"))
    assert addresses(world, "strict.egress.0.0.nodes_v4") == {"192.168.0.3"}
    assert addresses(world, "strict.egress.0.0.nodes_v6") == {"fd00::3"}
    assert acls(world, "strict") == before
    assert any("ip4.dst == {$strict.egress.0.0.nodes_v4}" in match for _, _, _, match, _ in before)


def test_networks(world: World) -> None:
    world.apply(admin_policy(egress=[egress("Deny", networks=["192.0.2.7/24", "2001:db8::/32"])]))
    assert {match for _, _, _, match, action in acls(world, "strict") if action == "drop"} == {
        "inport == @strict && ip4.dst == {192.0.2.0/24}",
        "inport == @strict && ip6.dst == {2001:db8::/32}",
    }


def test_domains_are_what_their_resolver_saw(world: World) -> None:
    world.apply(admin_policy(egress=[egress(domainNames=["example.org"])]))
    assert world.get(RESOLVERS, DNS).spec.name == "example.org."
    before = acls(world, "strict")
    seen = [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}, {"ip": "1 || 1"}]
    names = [{"resolvedAddresses": seen}, {"resolutionFailures": 1, "resolvedAddresses": [{"ip": "192.0.2.9"}]}]
    resolver = {"apiVersion": "kubeovn.io/v1", "kind": "DNSNameResolver", "metadata": {"name": DNS}}
    world.apply({**resolver, "status": {"resolvedNames": names}})
    assert addresses(world, "strict.dns.bfabc374_v4") == {"192.0.2.1"}
    assert addresses(world, "strict.dns.bfabc374_v6") == {"2001:db8::1"}
    assert acls(world, "strict") == before
    world.delete(ANPS, "strict")
    assert world.get(RESOLVERS, DNS) is None


def test_a_named_port_is_the_destinations_own(world: World) -> None:
    containers = [{"ports": [{"name": "web", "containerPort": 81, "protocol": "TCP"}]}]
    world.apply({**pod("p"), "spec": {"nodeName": "n1", "containers": containers}})
    world.apply(admin_policy(ingress=[{"action": "Deny", "from": [{"namespaces": {}}], "ports": [{"namedPort": "web"}]}]))
    [match] = [match for _, _, _, match, action in acls(world, "strict") if action == "drop" and "ip4.src" in match]
    assert "tcp.dst == 81" in match
    assert "udp" not in match


def test_policies_of_like_names_have_groups_of_their_own(world: World) -> None:
    deny = [{"action": "Deny", "from": [{"namespaces": {}}]}]
    names = ["a-b", "a.b", "1", "anp1"]
    world.apply(*(admin_policy(name, priority=i, ingress=deny) for i, name in enumerate(names)), cluster_policy("a-b", ingress=deny))
    world.apply({**admin_policy("default", ingress=deny), "kind": "BaselineAdminNetworkPolicy"})
    owners = [(k, v) for row in world.rows("Port_Group").values() for k, v in row["external_ids"].items() if k in ("anp", "banp", "cnp")]  # type: ignore[union-attr]
    assert sorted(owners) == sorted([*(("anp", name) for name in names), ("banp", "default"), ("cnp", "a-b")])


def test_who_is_selected_may_change(world: World) -> None:
    """The group keeps its name while the selector behind it changes."""
    deny = [{"action": "Deny", "from": [{"namespaces": {}}]}]
    world.apply(pod("a", labels={"app": "a"}), pod("b", labels={"app": "b"}))
    for app in ("a", "b"):
        subject = {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": app}}}}
        world.apply(admin_policy(subject={"namespaces": None, **subject}, ingress=deny))
        assert ports(world, "strict") == {f"{app}.default"}
        assert acls(world, "strict")


def test_a_namespace_may_change_sides(world: World) -> None:
    """Sets are found under a label of the namespace: a new label is a new place to look."""
    subject = {"namespaces": {"matchLabels": {"team": "a"}}}
    peers = [{"namespaces": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["b", "c"]}]}}]
    world.apply(namespace("one", team="a"), pod("p", "one"), admin_policy(subject=subject, ingress=[{"action": "Deny", "from": peers}]))
    [peer] = [name for name in world.rows("Address_Set") if name.startswith("as.") and name.endswith("_v4")]
    assert (ports(world, "strict"), len(addresses(world, peer))) == ({"p.one"}, 0)
    world.apply(namespace("one", team="c"))
    assert (ports(world, "strict"), len(addresses(world, peer))) == (set(), 1)
    world.apply(namespace("one", team="d"))
    assert (ports(world, "strict"), len(addresses(world, peer))) == (set(), 0)


def test_answers_find_back(world: World) -> None:
    """A switch without any allow-related list would keep no connections in mind."""
    world.apply(admin_policy(egress=[egress("Deny", networks=["0.0.0.0/0"])]))
    assert [match for _, _, _, match, action in acls(world, "strict") if action == "allow-related"] == ["outport == @strict && ip4 && ip6"]
    assert acls(world, "node.n1")


RULE = {"action": "Allow", "from": [{"namespaces": {}}]}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"priority": 100}, "spec.priority: 100 does not fit into OVN's priorities; choose one from 0 to 99"),
        ({"subject": {"namespaces": None}}, "spec.subject: says neither or both"),
        ({"ingress": [RULE] * 101}, "spec.ingress: has 101 rules; give at most 100"),
        ({"ingress": [{**RULE, "action": "drop; ip"}]}, "spec.ingress[0].action: 'drop; ip' is unknown; choose Allow, Deny or Pass"),
        ({"ingress": [{"action": "Allow"}]}, "spec.ingress[0]: names no peers"),
        ({"ingress": [{"action": "Allow", "from": [{"planets": {}}]}]}, "spec.ingress[0].from[0]: names nobody in a way that is known"),
        ({"egress": [egress(networks=["0.0.0.0/0 || ip"])]}, "spec.egress[0].to[0].networks: '0.0.0.0/0 || ip' is not a CIDR block"),
        ({"egress": [egress("Deny", domainNames=["a.org"])]}, "name domains only where the rule allows"),
        ({"ingress": [{**RULE, "ports": [{"portNumber": {"port": 70000}}]}]}, "port 0: port numbers are 1 to 65535"),
        ({"ingress": [{**RULE, "ports": [{"portRange": {"start": 9, "end": 8}}]}]}, "begins at 9 and ends before that at 8"),
        ({"ingress": [{**RULE, "ports": [{"portNumber": {"port": 1, "protocol": "tcp || ip"}}]}]}, "protocol 'tcp || ip' is unknown"),
        ({"ingress": [{**RULE, "ports": [{"portal": 1}]}]}, "port 0 says nothing that is known"),
    ],
)
def test_faults_are_named_and_the_last_good_state_stays(world: World, spec: dict[str, Any], sentence: str) -> None:
    world.apply(admin_policy(ingress=[{**RULE, "action": "Deny"}]))
    before = acls(world, "strict")
    world.apply(admin_policy(**spec))
    assert sentence in said(world)
    assert acls(world, "strict") == before


def test_the_younger_of_one_priority_waits_until_the_older_goes(world: World) -> None:
    world.apply(admin_policy("old", ingress=[RULE]), admin_policy("young", ingress=[RULE]))
    assert said(world) == "spec.priority: 5 is that of AdminNetworkPolicy old already; choose another"
    assert not acls(world, "young")
    world.delete(ANPS, "old")
    assert acls(world, "young")
    assert not acls(world, "old")


def test_accept_is_the_word_of_cluster_network_policies(world: World) -> None:
    world.apply(cluster_policy("a", ingress=[RULE]))
    assert "'Allow' is unknown; choose Accept, Deny or Pass" in said(world)
