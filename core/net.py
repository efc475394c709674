"""Addresses and networks as numbers: parsing, printing and the arithmetic that more than one part needs.

An address is a pair of its IP version (4 or 6) and a number. Text is read strictly, as the API server reads it: no
leading zeros, no zone, no blanks, no prefix length with a sign. Pairs are ``"v4,v6"``. Whatever cannot be read raises
``ValueError`` with a sentence that quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple

BITS = {4: 32, 6: 128}
_FAMILY = {4: AF_INET, 6: AF_INET6}
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)


class Address(NamedTuple):
    version: int
    value: int

    def __str__(self) -> str:
        return text(self.version, self.value)


class Network(NamedTuple):
    """A CIDR block by its *first* (network) and *last* number."""

    version: int
    first: int
    last: int
    prefix: int

    @property
    def usable(self) -> tuple[int, int]:
        """First and last number that an interface may have: without the network's and the last, but all of a /31 or
        /127 (RFC 3021, RFC 6164). A /32 or /128 has none: then the first is greater than the last."""
        if self.last - self.first == 1:
            return self.first, self.last
        return self.first + 1, self.last - 1

    @property
    def hosts(self) -> tuple[int, int]:
        """As ``usable``, but with the last address of an IPv6 block: it has no broadcast address (RFC 4291)."""
        first, last = self.usable
        return first, max(last, self.last) if self.version == 6 and first <= last else last

    @property
    def size(self) -> int:
        """How many numbers are usable."""
        first, last = self.usable
        return max(0, last - first + 1)

    def contains(self, address: Address) -> bool:
        return address.version == self.version and self.first <= address.value <= self.last

    def covers(self, other: Network) -> bool:
        return other.version == self.version and self.first <= other.first and other.last <= self.last

    def overlaps(self, other: Network) -> bool:
        return other.version == self.version and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{text(self.version, self.first)}/{self.prefix}"


class Range(NamedTuple):
    """All addresses from *first* to *last*, both included."""

    version: int
    first: int
    last: int

    def contains(self, address: Address) -> bool:
        return address.version == self.version and self.first <= address.value <= self.last

    def __str__(self) -> str:
        return f"{text(self.version, self.first)}..{text(self.version, self.last)}"


def text(version: int, value: int) -> str:
    """The usual spelling (RFC 5952): ``10.0.0.1``, ``fd00::1``. Only an IPv4-mapped address shows dots behind colons."""
    spelled = inet_ntop(_FAMILY[version], value.to_bytes(BITS[version] // 8, "big"))
    if version == 6 and "." in spelled and value >> 32 == 0:
        return f"::{value >> 16:x}:{value & 0xFFFF:x}"
    return spelled


def address(spelled: str) -> Address:
    """Reads one address.

    Raises ValueError if *spelled* is anything else.
    """
    version = 6 if ":" in spelled else 4
    try:
        packed = inet_pton(_FAMILY[version], spelled)
    except (OSError, ValueError):
        raise ValueError(f"{spelled!r} is not an IP address") from None
    return Address(version, int.from_bytes(packed, "big"))


def is_address(spelled: str) -> bool:
    try:
        address(spelled)
    except ValueError:
        return False
    return True


def network(spelled: str) -> Network:
    """Reads one CIDR block. Bits behind the prefix are dropped: ``10.0.0.7/24`` is ``10.0.0.0/24``.

    Raises ValueError if *spelled* is no block.
    """
    head, slash, prefix = spelled.partition("/")
    if not slash or not _PREFIX.fullmatch(prefix) or not is_address(head):
        raise ValueError(f"{spelled!r} is not a CIDR block such as 10.0.0.0/24")
    version, value = address(head)
    length = int(prefix)
    if length > BITS[version]:
        raise ValueError(f"{spelled!r} has a prefix longer than {BITS[version]} bits")
    mask = (1 << (BITS[version] - length)) - 1
    return Network(version, value & ~mask, value | mask, length)


SPECIAL = tuple(
    (network(block), use)
    for block, use in (
        ("0.0.0.0/32", "this host (RFC 1122)"),
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        ("169.254.0.0/16", "link-local (RFC 3927)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("255.255.255.255/32", "broadcast (RFC 919)"),
        ("::/128", "the unspecified address (RFC 4291)"),
        ("::1/128", "loopback (RFC 4291)"),
        ("::ffff:0:0/96", "IPv4-mapped (RFC 4291)"),
        ("fe80::/10", "link-local (RFC 4291)"),
        ("ff00::/8", "multicast (RFC 4291)"),
    )
)


def special(block: Network) -> str:
    """Which addresses with a meaning of their own *block* shares, in words; ``""`` if it has none of them."""
    return next((f"{reserved}, {use}" for reserved, use in SPECIAL if reserved.overlaps(block)), "")


def networks(spelled: str) -> tuple[Network, ...]:
    """Reads one CIDR block, or two of different families with a comma between; IPv4 comes first in the answer.

    Raises ValueError otherwise.
    """
    blocks = sorted(network(part) for part in spelled.split(","))
    if len(blocks) > 2 or len({block.version for block in blocks}) < len(blocks):
        raise ValueError(f"{spelled!r} holds more than one CIDR block of a family; give at most one of IPv4 and one of IPv6")
    return tuple(blocks)


def address_range(spelled: str) -> Range:
    """Reads an address or a range ``a..b``.

    Raises ValueError if an end is no address, the families differ or *a* is behind *b*.
    """
    head, dots, tail = spelled.partition("..")
    first = address(head)
    last = address(tail) if dots else first
    if first.version != last.version:
        raise ValueError(f"{spelled!r} goes from one address family to another")
    if first.value > last.value:
        raise ValueError(f"{spelled!r} ends before it starts")
    return Range(first.version, first.value, last.value)


def span(spelled: str) -> Range:
    """Reads an address, a range ``a..b`` or a CIDR block as the range of all its numbers.

    Raises ValueError if *spelled* is none of them.
    """
    if "/" in spelled:
        block = network(spelled)
        return Range(block.version, block.first, block.last)
    return address_range(spelled)


def family(spelled: str) -> str:
    """``IPv4``, ``IPv6`` or ``Dual`` for an address, a CIDR block or a pair of them; ``""`` if it is none."""
    versions: set[int] = set()
    parts = spelled.split(",")
    for part in parts:
        try:
            versions.add((network(part) if "/" in part else address(part)).version)
        except ValueError:
            return ""
    if len(parts) != len(versions):
        return ""
    return "Dual" if len(versions) == 2 else f"IPv{versions.pop()}"


def contains(cidr: str, addresses: str) -> bool:
    """Is each of the *addresses* (``"v4,v6"``) in the block of its family? What cannot be read is not."""
    try:
        blocks = networks(cidr)
        wanted = [address(part) for part in addresses.split(",")]
    except ValueError:
        return False
    return all(any(block.contains(one) for block in blocks) for one in wanted)


def overlap(one: str, other: str) -> bool:
    """Do two CIDR blocks, or pairs of them, share an address?

    Raises ValueError if a block cannot be read.
    """
    return any(a.overlaps(b) for a in networks(one) for b in networks(other))


def default_gateway(cidr: str) -> str:
    """The first usable address of each block, ``"v4,v6"`` in the order of *cidr*.

    Raises ValueError if a block cannot be read or has no usable address.
    """
    networks(cidr)
    chosen = []
    for block in (network(part) for part in cidr.split(",")):
        if not block.size:
            raise ValueError(f"{block} has no address for a gateway; give a prefix of at most {BITS[block.version] - 1}")
        chosen.append(text(block.version, block.usable[0]))
    return ",".join(chosen)


def complete_gateway(gateway: str, cidr: str) -> str:
    """*gateway* with the default one added for each block of *cidr* that it has no address for, IPv4 first.

    Raises ValueError if something cannot be read or *gateway* names a family that *cidr* lacks, or one twice.
    """
    blocks = networks(cidr)
    given = [address(part) for part in gateway.split(",") if part]
    chosen = {one.version: str(one) for one in given}
    if len(chosen) < len(given) or not chosen.keys() <= {block.version for block in blocks}:
        raise ValueError(f"gateway {gateway!r} must name one address for each CIDR block of {cidr!r} at most")
    return ",".join(chosen.get(block.version) or default_gateway(str(block)) for block in blocks)


def split(addresses: str) -> tuple[str, str]:
    """``"v4,v6"`` as (v4, v6), whatever their order, with or without prefix lengths; a missing one is ``""``.

    Both are ``""`` if *addresses* is neither an address nor a pair.
    """
    found: dict[int, str] = {}
    parts = addresses.split(",")
    for part in parts:
        if is_address(head := part.partition("/")[0]):
            found[address(head).version] = part
    return (found.get(4, ""), found.get(6, "")) if len(found) == len(parts) else ("", "")


def join(v4: str, v6: str) -> str:
    return ",".join(part for part in (v4, v6) if part)


def by_family(entries: Iterable[str]) -> tuple[list[str], list[str]]:
    """Addresses, ranges ``a..b`` and CIDR blocks as (IPv4 ones, IPv6 ones), each in the order given.

    Raises ValueError if an entry's first address cannot be read.
    """
    lists: dict[int, list[str]] = {4: [], 6: []}
    for entry in entries:
        lists[address(entry.partition("..")[0].partition("/")[0]).version].append(entry)
    return lists[4], lists[6]


def with_prefix(addresses: str, cidr: str) -> str:
    """``"10.0.0.5,fd00::5"`` with the prefix lengths of *cidr*: ``"10.0.0.5/16,fd00::5/64"``, matched by family.

    Raises ValueError if something cannot be read, a family has no block or two addresses.
    """
    prefixes = {block.version: block.prefix for block in networks(cidr)}
    parts = []
    for part in addresses.split(","):
        version = address(part).version
        if version not in prefixes:
            raise ValueError(f"{part} has no CIDR block of its own in {cidr!r}")
        parts.append(f"{part}/{prefixes.pop(version)}")
    return ",".join(parts)


def size(cidr: str) -> int:
    """How many addresses of one CIDR block are usable.

    Raises ValueError if it cannot be read.
    """
    return network(cidr).size


def count(entries: Sequence[str]) -> int:
    """How many addresses a list of addresses and ranges ``a..b`` names, doubles counted twice.

    Raises ValueError if an entry cannot be read.
    """
    return sum(entry.last - entry.first + 1 for entry in map(address_range, entries))
