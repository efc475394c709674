"""Policies of the administrator -> the ACLs of their port groups, and the sets that only they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

from ovnloom.core.desired.model import Child, Contribution, Extend, Row, RowKey, Value
from ovnloom.core.kube.kinds import NODES
from ovnloom.core.kube.objects import Key, kind_id
from ovnloom.core.kube.selectors import matches as selects
from ovnloom.core.net import is_address
from ovnloom.core.view import View
from ovnloom.plugins.acl import matches, rows
from ovnloom.plugins.acl.admin import ACTIONS, RESOLVERS, AdminNetworkPolicy, AdminPolicy, Peer, Rule
from ovnloom.plugins.acl.matches import DIRECTIONS, Direction
from ovnloom.plugins.acl.model import LOG_ACTIONS

ADMIN, BASELINE = 1, 3  # tiers
LABEL_BYTES = 63


def group_name(policy: AdminPolicy) -> str:
    """An AdminNetworkPolicy's is its name; other kinds' begin with a word and ``_``, which no name holds: all are different."""
    name = policy.metadata.name
    if not isinstance(policy, AdminNetworkPolicy):
        word = f"{policy.word}_"
        return f"{word}{name}" if name.isalnum() else word + rows.digested(name, name)
    if name[0].isalpha() and name.isalnum():
        return name
    return rows.digested(name if name[0].isalpha() else f"{policy.word}{name}", f"{policy.word}/{name}")


def policy_rows(policy: AdminPolicy, view: View, first: int) -> Iterator[Contribution]:
    """*first* is the OVN priority of the first rule of the policy with the highest precedence."""
    selectors = policy.spec.subject.selectors
    if selectors is None:
        return
    name = view.port_group(namespaces=selectors[0], pods=selectors[1], name=group_name(policy))
    yield Extend(RowKey("Port_Group", name), "external_ids", {policy.word: policy.metadata.name})
    logged = policy.metadata.annotations.get(LOG_ACTIONS, "").split(",")
    tier, top = BASELINE if policy.baseline else ADMIN, first - policy.spec.priority * policy.step
    stateful = False
    for which, rules in (("ingress", policy.spec.ingress), ("egress", policy.spec.egress)):
        direction = DIRECTIONS[which]
        for index, rule in enumerate(rules):
            action = ACTIONS[rule.action]
            stateful |= action == "allow-related"
            label = f"{policy.word}/{policy.metadata.name}/{which}/{index}"
            members = matches.no_members()
            yield from _members(policy, name, f"{which}.{index}", rule, view, members)
            for match in _rule(direction, rule, members, view):
                full = f"{direction.side} == @{name} && {match}"
                yield rows.acl(name, direction, tier, top - index, full, action, label, _log(action) if action in logged else None)
    if not stateful:
        yield rows.remembering(name, tier, top)


def _rule(direction: Direction, rule: Rule, members: Mapping[str, list[str]], view: View) -> Iterator[str]:
    ports = matches.ports(rule.ports, view)
    for family, peer in matches.any_of(direction, members):
        if ports is None:
            yield peer
        elif family in ports:
            yield f"{peer} && ({ports[family]})"


def _members(policy: AdminPolicy, group: str, place: str, rule: Rule, view: View, members: dict[str, list[str]]) -> Iterator[Contribution]:
    """Puts the peers of *rule* into *members*; yields what must exist for that."""
    for number, peer in enumerate(rule.peers):
        if selectors := peer.selectors:
            matches.add_set(members, view.address_set(namespaces=selectors[0], pods=selectors[1]))
        for block in peer.blocks:
            members[f"ip{block.version}"].append(str(block))
        if peer.nodes is not None:
            name = f"{group}.{place}.{number}.nodes"
            matches.add_set(members, name)
            yield from _set(name, _node_addresses(peer, view))
        for domain in peer.domain_names:
            digest = sha256(domain.encode()).hexdigest()[:8]
            name, resolver = f"{group}.dns.{digest}", f"{policy.word}-{policy.metadata.name}-{digest}"
            matches.add_set(members, name)
            yield _resolver(policy, resolver, domain)
            known = view.get(RESOLVERS, resolver)
            yield from _set(name, [a for version in (4, 6) for a in known.addresses(version)] if known else [])


def _node_addresses(peer: Peer, view: View) -> list[str]:
    nodes = [node for node in view.list(NODES) if selects(peer.nodes or {}, node.metadata.labels)]
    return [address for node in nodes for address in node.internal_ips if is_address(address)]


def _set(name: str, addresses: list[str]) -> Iterator[Row]:
    for _, suffix, version in matches.FAMILIES:
        yield Row("Address_Set", {"name": name + suffix, "addresses": frozenset(a for a in addresses if (":" in a) == (version == 6))})


def _resolver(policy: AdminPolicy, name: str, domain: str) -> Child:
    meta = policy.metadata
    owner = {"apiVersion": policy.api_version, "kind": policy.kind, "name": meta.name, "uid": meta.uid}
    manifest = {
        "apiVersion": RESOLVERS.api_version,
        "kind": RESOLVERS.kind,
        "metadata": {
            "name": name,
            "labels": {policy.word: meta.name} if len(meta.name) <= LABEL_BYTES else {},
            "ownerReferences": [owner],
        },
        "spec": {"name": domain.lower().rstrip(".") + "."},
    }
    return Child(Key(kind_id(RESOLVERS), "", name), manifest)


def _log(action: str) -> dict[str, Value]:
    return {"log": True, "severity": "warning" if action == "drop" else "info"}
