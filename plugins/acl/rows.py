"""NetworkPolicy -> the ACLs of its port group. Node -> what may always pass between it and its pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

from ovnloom.core.desired.model import Contribution, Extend, Row, RowKey, Slot, Value
from ovnloom.core.kube.kinds import Node
from ovnloom.core.names import group, node_group
from ovnloom.core.view import View
from ovnloom.plugins.acl import matches
from ovnloom.plugins.acl.matches import DIRECTIONS, Direction
from ovnloom.plugins.acl.model import ENABLE_LOG, ENFORCEMENT, LOG_ACTIONS, LOG_RATE, NetworkPolicy, Rule

TIER = 2  # between the administrator's policies (1) and what holds where nobody says anything (3)
NAME_BYTES = 63  # of ACL.name
LAX = "(tcp || udp || sctp)"
# a lax policy leaves address assignment alone: client and server ports of DHCPv4 and DHCPv6, as the policy's pods see them
DHCP = {
    "ingress": ("ip4 && udp.src == 67 && udp.dst == 68", "ip6 && udp.src == 547 && udp.dst == 546"),
    "egress": ("ip4 && udp.src == 68 && udp.dst == 67", "ip6 && udp.src == 546 && udp.dst == 547"),
}


def group_name(policy: NetworkPolicy) -> str:
    """``<policy>.<namespace>``, and unlike Kube-OVN's never that of another policy: where letters are folded, a digest tells them apart."""
    meta = policy.metadata
    plain = f"{meta.name}.{meta.namespace}"
    if plain[0].isalpha() and "-" not in plain and "." not in meta.name:
        return plain
    return digested(plain if plain[0].isalpha() else f"np{plain}", f"{meta.namespace}/{meta.name}")


def digested(name: str, whole: str) -> str:
    """*name* as OVN can have it. What two names may have in common when letters are folded is told apart by a digest of *whole*."""
    return f"{group(name)}.{sha256(whole.encode()).hexdigest()[:8]}"


def policy_rows(policy: NetworkPolicy, view: View, drop: int, allow: int) -> Iterator[Contribution]:
    meta, notes = policy.metadata, policy.metadata.annotations
    name = view.port_group(namespace=meta.namespace, pods=policy.spec.pod_selector, name=group_name(policy))
    yield Extend(RowKey("Port_Group", name), "external_ids", {"np": f"{meta.namespace}/{meta.name}"})
    lax, stateful = notes.get(ENFORCEMENT) == "lax", False
    for which, rules in policy.directions():
        direction = DIRECTIONS[which]
        side = f"{direction.side} == @{name}"
        log = _logging(notes, "drop", name, direction, always=True)
        yield from _meter(notes, log)
        yield acl(name, direction, TIER, drop, f"{side} && {LAX if lax else 'ip'}", "drop", f"{meta.namespace}/{meta.name}", log)
        log = _logging(notes, "allow", name, direction)
        for match in DHCP[which] if lax else ():
            yield acl(name, direction, TIER, allow, f"{side} && {match}", "allow-related", "", log)
        allowed: dict[str, int] = {}  # match -> the first rule that says it
        for index, rule in enumerate(rules):
            for match in _rule(direction, meta.namespace, rule, view):
                allowed.setdefault(match, index)
        for match, index in allowed.items():
            label = f"np/{meta.name}.{meta.namespace}/{which}/{index}"
            yield acl(name, direction, TIER, allow, f"{side} && {match}", "allow-related", label, log)
        stateful |= lax or bool(allowed)
    if not stateful:
        yield remembering(name, TIER, allow)


def remembering(group: str, tier: int, priority: int) -> Row:
    """Meets no packet. A switch without ``allow-related`` remembers no connection, and answers to what was allowed would be dropped."""
    direction = DIRECTIONS["ingress"]
    return acl(group, direction, tier, priority, f"{direction.side} == @{group} && ip4 && ip6", "allow-related", "")


def node_rows(node: Node, priority: int) -> Iterator[Row]:
    """The kubelet must reach the pods of its node, and they it, whatever a policy says (the API's own rule)."""
    name = node_group(node.metadata.name)
    for address in node.internal_ips:
        family = "ip6" if ":" in address else "ip4"
        for direction in DIRECTIONS.values():
            match = f"{direction.side} == @{name} && {direction.field(family)} == {address}"
            yield acl(name, direction, TIER, priority, match, "allow-related", "")


def _rule(direction: Direction, namespace: str, rule: Rule, view: View) -> Iterator[str]:
    ports = matches.ports(rule.ports, view)
    if not rule.peers:
        if ports is None:
            yield "ip"
        else:
            yield from (f"{family} && ({match})" for family, match in ports.items())
        return
    for family, peer in matches.peers(direction, namespace, rule.peers, view):
        if ports is None:
            yield peer
        elif family in ports:
            yield f"{peer} && ({ports[family]})"


def acl(
    group: str,
    direction: Direction,
    tier: int,
    priority: int,
    match: str,
    action: str,
    name: str = "",
    log: Mapping[str, Value] | None = None,
) -> Row:
    """Of the port group *group*; what leaves a pod is looked at after load balancing. *name* may be long; columns of *log* are added."""
    columns: dict[str, Value] = {
        "direction": direction.ovn,
        "priority": priority,
        "match": match,
        "action": action,
        "tier": tier,
        "external_ids": {"parent": group},
        **(log or {}),
    }
    if name:
        columns["name"] = name if len(name) <= NAME_BYTES else name[: NAME_BYTES - 3] + "..."
    if direction.name == "egress":
        columns["options"] = {"apply-after-lb": "true"}
    return Row("ACL", columns, Slot(RowKey("Port_Group", group), "acls"))


def _logging(notes: Mapping[str, str], action: str, group: str, direction: Direction, *, always: bool = False) -> dict[str, Value]:
    if notes.get(ENABLE_LOG) != "true" or not (always or action in notes.get(LOG_ACTIONS, "drop").split(",")):
        return {}
    log: dict[str, Value] = {"log": True, "severity": "warning" if action == "drop" else "info"}
    if _rate(notes):
        log["meter"] = f"{group}_{direction.ovn}_meter"
    return log


def _meter(notes: Mapping[str, str], log: Mapping[str, Value]) -> Iterator[Row]:
    if name := log.get("meter"):
        yield Row("Meter", {"name": name, "unit": "pktps", "fair": False})
        band: dict[str, Value] = {"action": "drop", "rate": _rate(notes), "burst_size": 1}
        yield Row("Meter_Band", band, Slot(RowKey("Meter", str(name)), "bands"))


def _rate(notes: Mapping[str, str]) -> int:
    text = notes.get(LOG_RATE, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 2**31 else 0
