"""SecurityGroup (kubeovn.io/v1): the object, its rows, and what it means for the pods that name it in an annotation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256

import msgspec

from ovnloom.core import net
from ovnloom.core.desired.model import Contribution, Extend, Lease, Member, Row, RowKey
from ovnloom.core.errors import shown
from ovnloom.core.kube.kinds import SUBNETS, Pod
from ovnloom.core.kube.objects import Kind, Object
from ovnloom.core.names import ANNOTATION, group, pod_port
from ovnloom.core.ovn.priorities import Band, register
from ovnloom.core.view import View
from ovnloom.plugins.acl.matches import DIRECTIONS, FAMILIES, Direction
from ovnloom.plugins.acl.rows import acl, digested

SECURITY_GROUPS = ANNOTATION + "security_groups"  # on pods: names with commas between
DEFAULT = "default-securitygroup"  # of every pod in a Vpc that is not the default one
DENY_ALL = "kubeovn_deny_all"

FIRST_TIER = 2  # OVN's, of ``spec.tier`` 0
TOP = register(Band("ACL", "security-group-from", 18484, "acl")).priority  # of a rule of priority 0
BASE = register(Band("ACL", "security-group-base", 2005, "acl")).priority
SAME_GROUP = register(Band("ACL", "same-security-group", 2004, "acl")).priority
DENIED = register(Band("ACL", "outside-security-group", 2003, "acl")).priority
LAST_PRIORITY, LAST_PORT = 16384, 65535

NEIGHBOURS = "icmp6.type == {{{types}}} && icmp6.code == 0 && ip.ttl == 255"
VRRP = "ip.proto == 112"
ALWAYS = {
    "ingress": (
        "arp",
        NEIGHBOURS.format(types="130, 134, 135, 136"),
        "udp.src == 67 && udp.dst == 68 && ip4",
        "udp.src == 547 && udp.dst == 546 && ip6",
        VRRP,
    ),
    "egress": (
        "arp",
        NEIGHBOURS.format(types="130, 133, 135, 136"),
        "udp.src == 68 && udp.dst == 67 && ip4",
        "udp.src == 546 && udp.dst == 547 && ip6",
        VRRP,
    ),
}


class Rule(msgspec.Struct, rename="camel"):
    ip_version: str = ""
    protocol: str = ""
    priority: int = 0
    remote_type: str = ""
    remote_address: str = ""
    remote_security_group: str = ""
    local_address: str = ""
    port_range_min: int = 0
    port_range_max: int = 0
    source_port_range_min: int = 0
    source_port_range_max: int = 0
    policy: str = ""


class Spec(msgspec.Struct, rename="camel"):
    tier: int = 0
    allow_same_group_traffic: bool = False
    ingress_rules: list[Rule] = []
    egress_rules: list[Rule] = []

    @property
    def directions(self) -> tuple[tuple[str, list[Rule]], ...]:
        return ("ingress", self.ingress_rules), ("egress", self.egress_rules)


class SecurityGroup(Object):
    spec: Spec = msgspec.field(default_factory=Spec)
    status: msgspec.Raw = msgspec.Raw(b"{}")


GROUPS: Kind[SecurityGroup] = Kind("kubeovn.io", "v1", "security-groups", "SecurityGroup", SecurityGroup, namespaced=False, optional=True)


def group_name(name: str) -> str:
    """``ovn.sg.<name>`` with dots for dashes; a digest follows where the name has dots itself."""
    plain = f"ovn.sg.{name}"
    return digested(plain, name) if "." in name else group(plain)


DENY_ALL_GROUP = "ovn.sg.kubeovn.deny.all"


def problems(found: SecurityGroup) -> Iterator[str]:
    """All faults of *found*."""
    if found.spec.tier not in (0, 1):
        yield f"spec.tier: {found.spec.tier} is unknown; choose 0 or 1"
    for which, rules in found.spec.directions:
        for index, rule in enumerate(rules):
            yield from _faults(f"spec.{which}Rules[{index}]", rule, found.spec.tier)


def _faults(field: str, rule: Rule, tier: int) -> Iterator[str]:
    words = {
        "ipVersion": (rule.ip_version, ("ipv4", "ipv6")),
        "protocol": (rule.protocol, ("all", "icmp", "tcp", "udp")),
        "policy": (rule.policy, ("allow", "drop", "pass") if tier == 0 else ("allow", "drop")),
        "remoteType": (rule.remote_type, ("address", "securityGroup")),
    }
    for name, (value, valid) in words.items():
        if value not in valid:
            yield f"{field}.{name}: {shown(value)} is not possible; choose {' or '.join(valid)}"
    if not 1 <= rule.priority <= LAST_PRIORITY:
        yield f"{field}.priority: {rule.priority} is not possible; choose one from 1 to {LAST_PRIORITY}"
    version = 6 if rule.ip_version == "ipv6" else 4
    for name, text in (("remoteAddress", rule.remote_address), ("localAddress", rule.local_address)):
        if text or (name == "remoteAddress" and rule.remote_type == "address"):
            block = _block(text)
            if block is None or block.version != version:
                yield f"{field}.{name}: {shown(text)} is no address or CIDR block of {shown(rule.ip_version)}"
    if rule.remote_type == "securityGroup" and not rule.remote_security_group:
        yield f"{field}.remoteSecurityGroup: is missing; name a SecurityGroup"
    spans = [
        ("portRange", rule.port_range_min, rule.port_range_max),
        ("sourcePortRange", rule.source_port_range_min, rule.source_port_range_max),
    ]
    for name, low, high in spans if rule.protocol in ("tcp", "udp") else ():
        if not 1 <= low <= high <= LAST_PORT and (name == "portRange" or (low, high) != (0, 0)):
            yield f"{field}.{name}Min: {low} to {high} is no range of ports; give 1 to {LAST_PORT}, the smaller one as Min"


def _block(text: str) -> net.Network | None:
    try:
        return net.network(text if "/" in text else f"{text}/{128 if ':' in text else 32}")
    except ValueError:
        return None


def group_rows(found: SecurityGroup, view: View) -> Iterator[Row]:
    name, title = group_name(found.metadata.name), found.metadata.name
    tier = FIRST_TIER + found.spec.tier
    yield Row("Port_Group", {"name": name, "external_ids": {"type": "security_group", "sg": title}})
    for _, suffix, _ in FAMILIES:
        yield Row("Address_Set", {"name": _associated(name, suffix), "external_ids": {"sg": title}})
    for which, rules in found.spec.directions:
        direction = DIRECTIONS[which]
        side = f"{direction.side} == @{name}"
        for match in ALWAYS[which]:
            yield _acl(name, direction, tier, BASE, f"{side} && {match}", "allow-related")
        for family, suffix, _ in FAMILIES if found.spec.allow_same_group_traffic else ():
            match = f"{side} && {family} && {direction.field(family)} == ${_associated(name, suffix)}"
            yield _acl(name, direction, tier, SAME_GROUP, match, "allow-related")
        for rule in rules:
            if rule.remote_type == "securityGroup" and view.get(GROUPS, rule.remote_security_group) is None:
                continue  # nobody is in it
            action = "allow-related" if rule.policy == "allow" else rule.policy
            yield _acl(name, direction, tier, TOP - rule.priority, f"{side} && {_match(direction, rule)}", action)


def _match(direction: Direction, rule: Rule) -> str:
    family, suffix = ("ip6", "_v6") if rule.ip_version == "ipv6" else ("ip4", "_v4")
    local = "dst" if direction.peer == "src" else "src"
    if rule.remote_type == "securityGroup":
        remote = f"${_associated(group_name(rule.remote_security_group), suffix)}"
    else:
        remote = _written(rule.remote_address)
    parts = [family, f"{direction.field(family)} == {remote}"]
    if rule.local_address:
        parts.append(f"{family}.{local} == {_written(rule.local_address)}")
    if rule.protocol == "icmp":
        parts.append("icmp6" if family == "ip6" else "icmp4")
    elif rule.protocol in ("tcp", "udp"):
        parts.append(f"{rule.port_range_min} <= {rule.protocol}.dst <= {rule.port_range_max}")
        if rule.source_port_range_min:
            parts.append(f"{rule.source_port_range_min} <= {rule.protocol}.src <= {rule.source_port_range_max}")
    return " && ".join(parts)


def deny_all() -> Iterator[Row]:
    """Whoever is in any group is shut off, but for what its groups allow."""
    yield Row("Port_Group", {"name": DENY_ALL_GROUP, "external_ids": {"type": "security_group", "sg": DENY_ALL}})
    for tier in (FIRST_TIER, FIRST_TIER + 1):
        for direction in DIRECTIONS.values():
            yield _acl(DENY_ALL_GROUP, direction, tier, DENIED, f"{direction.side} == @{DENY_ALL_GROUP} && ip", "drop")


def pod_rows(pod: Pod, view: View, default_vpc: str) -> Iterator[Contribution]:
    meta = pod.metadata
    lease = view.lease(pod_port(meta.namespace, meta.name))
    if lease is None or lease.uid != meta.uid or not (named := list(_groups(meta.annotations, lease, view, default_vpc))):
        return
    port = RowKey("Logical_Switch_Port", lease.port)
    associated = {f"associated_sg_{name}": "true" for name in named}
    yield Extend(port, "external_ids", {"security_groups": "/".join(named), **associated})
    yield Member(RowKey("Port_Group", DENY_ALL_GROUP), "ports", port)
    for name in map(group_name, named):
        yield Member(RowKey("Port_Group", name), "ports", port)
        for suffix, address in (("_v4", lease.v4), ("_v6", lease.v6)):
            if address:
                yield Member(RowKey("Address_Set", _associated(name, suffix)), "addresses", address)


def _groups(annotations: Mapping[str, str], lease: Lease, view: View, default_vpc: str) -> Iterable[str]:
    """Names of the groups there are, each once."""
    asked = [name.strip() for name in annotations.get(SECURITY_GROUPS, "").split(",") if name.strip()]
    subnet = view.get(SUBNETS, lease.pool)
    if subnet and subnet.spec.vpc != default_vpc:
        asked.append(DEFAULT)
    return (name for name in dict.fromkeys(asked) if view.get(GROUPS, name))


def status(found: SecurityGroup, faults: Iterable[str]) -> Mapping[str, object]:
    done = not list(faults)
    digests = [sha256(msgspec.json.encode(rules)).hexdigest()[:32] for _, rules in found.spec.directions]
    wanted: dict[str, object] = {"ingressLastSyncSuccess": done, "egressLastSyncSuccess": done}
    if done:
        wanted |= {
            "portGroup": group_name(found.metadata.name),
            "allowSameGroupTraffic": found.spec.allow_same_group_traffic,
            "ingressMd5": digests[0],
            "egressMd5": digests[1],
        }
    return wanted


def _associated(group: str, suffix: str) -> str:
    return f"{group}.associated.{suffix[1:]}"


def _written(text: str) -> str:
    """An address or block as numbers: nothing else of *text* is left."""
    block = _block(text)
    assert block is not None  # validated
    return str(block) if "/" in text else str(net.address(text))


def _acl(group: str, direction: Direction, tier: int, priority: int, match: str, action: str) -> Row:
    """Rules see the address that the pod speaks to, not the endpoint of a Service behind it."""
    row = acl(group, direction, tier, priority, match, action)
    return replace(row, columns={name: value for name, value in row.columns.items() if name != "options"})
