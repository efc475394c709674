"""Peers and ports as OVN match text. Only parsed numbers and addresses, and names of our own sets, ever get into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ovnloom.core.view import View
from ovnloom.plugins.acl.model import PROTOCOLS, Peer, Port

FAMILIES = (("ip4", "_v4", 4), ("ip6", "_v6", 6))


@dataclass(frozen=True, slots=True)
class Direction:
    """*side* of the policy's pods in a match, and the field of an address header in which the peer stands."""

    name: str
    ovn: str  # ACL.direction
    side: str
    peer: str

    def field(self, family: str) -> str:
        return f"{family}.{self.peer}"


DIRECTIONS = {
    "ingress": Direction("ingress", "to-lport", "outport", "src"),
    "egress": Direction("egress", "from-lport", "inport", "dst"),
}


def peers(direction: Direction, namespace: str, found: Iterable[Peer], view: View) -> Iterator[tuple[str, str]]:
    """(family, match) for the peers of a rule: one for the sets and whole blocks of each family, one for each block with exceptions."""
    members = no_members()
    for peer in found:
        if peer.ip_block:
            network = peer.ip_block.network
            if network is None:
                continue
            family = f"ip{network.version}"
            if exceptions := peer.ip_block.exceptions:
                field = direction.field(family)
                yield family, f"{field} == {network} && {field} != {{{', '.join(map(str, exceptions))}}}"
            else:
                members[family].append(str(network))
        else:
            add_set(members, view.address_set(namespace=namespace, namespaces=peer.namespace_selector, pods=peer.pod_selector))
    yield from any_of(direction, members)


def no_members() -> dict[str, list[str]]:
    return {family: [] for family, _, _ in FAMILIES}


def add_set(members: dict[str, list[str]], name: str) -> None:
    """*name* is that of an address set of ours, without the family."""
    for family, suffix, _ in FAMILIES:
        members[family].append(f"${name}{suffix}")


def any_of(direction: Direction, members: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """(family, match) where the peer is one of *members*: names of sets, addresses, blocks."""
    for family, elements in members.items():
        if elements:
            yield family, f"{direction.field(family)} == {{{', '.join(dict.fromkeys(elements))}}}"


def ports(found: Iterable[Port], view: View) -> dict[str, str] | None:
    """The match of the ports for each family; ``None`` if every port will do. A family without a match means: none of its packets.

    A named port is the destination pod's own: it is a number together with the pods that give it that number.
    """
    plain: dict[str, None] = {}
    named: dict[str, dict[str, None]] = {"ip4": {}, "ip6": {}}
    numbers: dict[str, set[int]] = {}
    some = False
    for port in found:
        some = True
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is None:
            continue
        if port.port is None:
            plain[protocol] = None
        elif isinstance(port.port, int) and port.end_port:
            plain[f"{port.port} <= {protocol}.dst <= {port.end_port}"] = None
        elif isinstance(port.port, int):
            numbers.setdefault(protocol, set()).add(port.port)
        else:
            sets = view.numbered_sets("Address_Set", (port.port, port.protocol), namespaces={})
            for number, name in sets.items():
                for family, suffix, _ in FAMILIES:
                    named[family][f"({family}.dst == ${name}{suffix} && {protocol}.dst == {number})"] = None
    if not some:
        return None
    for protocol, values in numbers.items():
        plain[f"{protocol}.dst == {{{', '.join(map(str, sorted(values)))}}}"] = None
    terms = {family: [*(_grouped(term) for term in plain), *named[family]] for family, _, _ in FAMILIES}
    return {family: " || ".join(found) for family, found in terms.items() if found}


def _grouped(term: str) -> str:
    return f"({term})" if " " in term else term
