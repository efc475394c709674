"""What is wrong with an object by itself: a sentence for each fault, with the field and the way out. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ovnloom.core import net
from ovnloom.core.errors import shown
from ovnloom.core.view import View
from ovnloom.plugins.acl.admin import (
    ACTIONS,
    ANPS,
    CNPS,
    AdminNetworkPolicy,
    AdminPolicy,
    BaselineAdminNetworkPolicy,
    ClusterNetworkPolicy,
    Peer,
    Rule,
    precedence,
)
from ovnloom.plugins.acl.model import PROTOCOLS, Port

LAST_PORT = 65535


def admin_problems(policy: AdminPolicy) -> Iterator[str]:
    """All faults of *policy* that show without looking at others."""
    spec = policy.spec
    if not isinstance(policy, BaselineAdminNetworkPolicy) and not 0 <= spec.priority <= policy.last:
        yield f"spec.priority: {spec.priority} does not fit into OVN's priorities; choose one from 0 to {policy.last}"
    if isinstance(policy, ClusterNetworkPolicy) and spec.tier not in ("Admin", "Baseline"):
        yield f"spec.tier: {shown(spec.tier)} is unknown; choose Admin or Baseline"
    if (spec.subject.namespaces is None) == (spec.subject.pods is None):
        yield "spec.subject: says neither or both of namespaces and pods; say one of them"
    for field, rules in (("spec.ingress", spec.ingress), ("spec.egress", spec.egress)):
        if len(rules) > policy.step:
            yield f"{field}: has {len(rules)} rules; give at most {policy.step}"
        for index, rule in enumerate(rules):
            yield from _rule(f"{field}[{index}]", rule, policy)


def rivals(policy: AdminPolicy, view: View) -> Iterator[str]:
    """Of two policies of one kind (and tier) that would come at the same place, the older is served."""
    kinds = {AdminNetworkPolicy: ANPS, ClusterNetworkPolicy: CNPS}
    kind = kinds.get(type(policy))
    for other in view.select(kind, "precedence", precedence(policy)) if kind else ():
        if _age(other) < _age(policy):
            yield f"spec.priority: {policy.spec.priority} is that of {policy.kind} {other.metadata.name} already; choose another"


def _age(policy: AdminPolicy) -> tuple[str, str]:
    return policy.metadata.creation_timestamp or "", policy.metadata.name


def _rule(field: str, rule: Rule, policy: AdminPolicy) -> Iterator[str]:
    allow = "Accept" if isinstance(policy, ClusterNetworkPolicy) else "Allow"
    if rule.action not in (allow, "Deny", "Pass"):
        yield f"{field}.action: {shown(rule.action)} is unknown; choose {allow}, Deny or Pass"
    if not rule.peers:
        yield f"{field}: names no peers; for everybody in the cluster write namespaces: {{}}"
    for index, peer in enumerate(rule.peers):
        yield from _peer(f"{field}.{'from' if rule.from_ else 'to'}[{index}]", peer, rule)
    for index, entry in enumerate(rule.port_entries):
        ports = list(entry.ports)
        if not ports:
            yield f"{field}: port {index} says nothing that is known; give a number, a range or a name"
        for port in ports:
            yield from _port(f"{field}: port {index}", port)


def _peer(field: str, peer: Peer, rule: Rule) -> Iterator[str]:
    if not peer:
        yield f"{field}: names nobody in a way that is known; use namespaces, pods, nodes, networks or domainNames"
    for cidr in peer.networks:
        try:
            net.network(cidr)
        except ValueError:
            yield f"{field}.networks: {shown(cidr)} is not a CIDR block; write it like 192.0.2.0/24"
    if peer.domain_names and ACTIONS.get(rule.action) != "allow-related":
        yield f"{field}.domainNames: an address may have other names too; name domains only where the rule allows"


def _port(field: str, port: Port) -> Iterator[str]:
    if port.protocol not in PROTOCOLS:
        yield f"{field}: protocol {shown(port.protocol)} is unknown; choose one of {', '.join(PROTOCOLS)}"
    numbers = [n for n in (port.port, port.end_port) if isinstance(n, int)]
    if any(not 1 <= number <= LAST_PORT for number in numbers):
        yield f"{field}: port numbers are 1 to {LAST_PORT}"
    elif len(numbers) > 1 and numbers[0] > numbers[1]:
        yield f"{field}: begins at {numbers[0]} and ends before that at {numbers[1]}; turn it round"
