"""What plugins say should exist. Values only: core merges, compares and writes.

For OVN: ``Row`` (I own this row), ``Extend`` (keys in somebody's map column), ``Member`` (an element of somebody's set).
For Kubernetes: ``Annotation``, ``Default``, ``Finalizer`` and ``Child``.
For addressing: ``Pool`` (a range of addresses that core hands out from).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from ovnloom.core.kube.objects import Key


class RowKey(NamedTuple):
    """A northbound row by table and natural key. As a column's value it is a reference to that row."""

    table: str
    key: str

    def __str__(self) -> str:
        return f"{self.table}/{self.key}"


class Slot(NamedTuple):
    """The column of a parent row that holds its children (``Logical_Switch.ports``)."""

    parent: RowKey
    column: str


Atom: TypeAlias = str | int | float | bool | RowKey
# A column's value: an atom, a set (tuple or frozenset of atoms), or a map of text to text.
Value: TypeAlias = Atom | tuple[Atom, ...] | frozenset[Atom] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A row that exists because its object exists. Its natural key is the table's, over *columns* and *within*.

    A column that is not named is left at the table's default: a row of ours is exactly what is said here,
    volatile columns apart. *within* is needed for tables whose rows live only as children.
    """

    table: str
    columns: Mapping[str, Value]
    within: Slot | None = None


@dataclass(frozen=True, slots=True)
class Extend:
    """Keys in a map column of a row that somebody owns (maybe not this plugin)."""

    target: RowKey
    column: str
    entries: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Member:
    """One element of a set column of a row that somebody owns."""

    target: RowKey
    column: str
    element: Atom


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation of *target*, published after the rows of the contributing object are committed."""

    target: Key
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Default:
    """A field of ``spec`` of *target* that its author left out."""

    target: Key
    field: str
    value: object


@dataclass(frozen=True, slots=True)
class Finalizer:
    """Keeps *target* from going away. Left out, it is taken off."""

    target: Key
    name: str = "kubeovn.io/kube-ovn-controller"


@dataclass(frozen=True, slots=True)
class Child:
    """An object of Kubernetes that exists because the contributing object does.

    *manifest* is the whole object without ``status``. *once*: made when it is missing and then left to its users,
    never changed or deleted (a default Subnet).
    """

    key: Key
    manifest: Mapping[str, object] = field(hash=False)
    once: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses that core hands out: *cidr* and *gateway* are ``v4``, ``v6`` or ``v4,v6``; *exclude* addresses or ``a..b``."""

    name: str
    cidr: str
    gateway: str
    exclude: tuple[str, ...] = ()


Contribution: TypeAlias = Row | Extend | Member | Annotation | Default | Finalizer | Child | Pool


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """Which addresses an object wants.

    *port* is the port's name: a lease is known by it. *pools* are tried in order. *addresses* asks for these (one per
    family at most); empty: whatever is free. *field* is where its author asked for them. *recorded*: the object says
    itself that it holds them already (after a restart they are taken before anything new is handed out). *sticky*: keep
    the lease when the object is made again under the same name (a StatefulSet's pod).
    """

    port: str
    pools: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    mac: str = ""
    field: str = ""
    recorded: bool = False
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """Addresses that are held. *owner* and *uid* name the object that holds them."""

    port: str
    pool: str
    v4: str
    v6: str
    mac: str
    owner: Key
    uid: str

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(a for a in (self.v4, self.v6) if a)

    @property
    def text(self) -> str:
        """``v4``, ``v6`` or ``v4,v6``."""
        return ",".join(self.addresses)
