"""Subnet -> the ACLs of its switch: ``private`` with ``allowSubnets``, and ``acls`` with ``allowEWTraffic``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ovnloom.core import net
from ovnloom.core.desired.model import Row, RowKey, Slot, Value
from ovnloom.core.errors import shown
from ovnloom.core.kube.kinds import Subnet, SubnetSpec
from ovnloom.core.ovn.priorities import Band, register

TIER = 2
EAST_WEST = register(Band("ACL", "within-subnet", 1900, "acl")).priority
FROM_ALLOWED = register(Band("ACL", "into-private-subnet", 1001, "acl")).priority
SHUT = FROM_ALLOWED - 1
DIRECTIONS = ("to-lport", "from-lport")
ACTIONS = ("allow-related", "allow-stateless", "allow", "drop", "reject", "pass")
LAST_PRIORITY = 32767


def problems(subnet: Subnet) -> Iterator[str]:
    """What is wrong with the fields that are served here."""
    for index, one in enumerate(subnet.spec.acls):
        field = f"spec.acls[{index}]"
        if one.direction not in DIRECTIONS:
            yield f"{field}.direction: {shown(one.direction)} is unknown; choose to-lport or from-lport"
        if one.action not in ACTIONS:
            yield f"{field}.action: {shown(one.action)} is unknown; choose one of {', '.join(ACTIONS)}"
        if not 0 <= one.priority <= LAST_PRIORITY:
            yield f"{field}.priority: {one.priority} is not possible; choose one from 0 to {LAST_PRIORITY}"
        if not one.match.strip():
            yield f"{field}.match: is empty; write what packets are meant in OVN's words, like ip4.src == 10.0.0.0/24"


def switch_rows(subnet: Subnet, nodes: str, from_nodes: int) -> Iterator[Row]:
    """*nodes* is the block of the nodes' Subnet, ``v4``, ``v6`` or ``v4,v6``: they always get in, with the priority *from_nodes*."""
    spec = subnet.spec
    if not (spec.private or spec.acls) or not _complete(spec):
        return
    blocks = net.networks(spec.cidr_block)
    name = subnet.metadata.name
    yield from _private(name, spec, blocks, nodes, from_nodes) if spec.private else _given(name, spec, blocks)


def _complete(spec: SubnetSpec) -> bool:
    """Before its defaults are filled in there is no switch, and what waits for one would keep them from being written."""
    cidr = ",".join(map(str, net.networks(spec.cidr_block))) if spec.cidr_block else ""
    return bool(cidr and spec.vpc) and spec.cidr_block == cidr and spec.gateway == net.complete_gateway(spec.gateway, cidr)


def _private(name: str, spec: SubnetSpec, blocks: tuple[net.Network, ...], nodes: str, from_nodes: int) -> Iterator[Row]:
    log: Mapping[str, Value] = {"log": True, "severity": "warning", "name": name}
    yield _acl(name, "to-lport", SHUT, "ip", "drop", log)
    known = {block.version: block for block in net.networks(nodes)} if nodes else {}
    for block in blocks:
        family = f"ip{block.version}"
        if node := known.get(block.version):
            yield _acl(name, "to-lport", from_nodes, f"{family}.src == {node}", "allow-related")
        yield _acl(name, "to-lport", FROM_ALLOWED, _between(family, block, block), "allow-related")
        for other in dict.fromkeys(map(net.network, spec.allow_subnets)):
            if other.version == block.version:
                match = f"({_between(family, block, other)}) || ({_between(family, other, block)})"
                yield _acl(name, "to-lport", FROM_ALLOWED, match, "allow-related")


def _given(name: str, spec: SubnetSpec, blocks: tuple[net.Network, ...]) -> Iterator[Row]:
    for direction in DIRECTIONS if spec.allow_ew_traffic else ():
        for block in blocks:
            yield _acl(name, direction, EAST_WEST, _between(f"ip{block.version}", block, block), "allow")
    for one in dict.fromkeys(spec.acls):
        yield _acl(name, one.direction, one.priority, one.match, one.action)


def _between(family: str, source: net.Network, target: net.Network) -> str:
    return f"{family}.src == {source} && {family}.dst == {target}"


def _acl(switch: str, direction: str, priority: int, match: str, action: str, more: Mapping[str, Value] | None = None) -> Row:
    columns: dict[str, Value] = {
        "direction": direction,
        "priority": priority,
        "match": match,
        "action": action,
        "tier": TIER,
        "external_ids": {"parent": switch, "subnet": switch},
        **(more or {}),
    }
    return Row("ACL", columns, Slot(RowKey("Logical_Switch", switch), "acls"))
