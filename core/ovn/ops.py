"""The words in which a change of the northbound database is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ovnloom.core.kube.objects import Key


class Ref(str):
    """A reference to a row, by its UUID. Equal to the same UUID as the replica holds it."""

    __slots__ = ()

    @property
    def uuid(self) -> str:
        return str(self)


Atom: TypeAlias = str | int | float | bool | Ref
Elements: TypeAlias = frozenset[Atom] | tuple[Atom, ...]
Entries: TypeAlias = Mapping[str, str] | tuple[tuple[str, str], ...] | frozenset[tuple[str, str]]
Value: TypeAlias = Atom | Elements | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row, under a UUID chosen beforehand."""

    table: str
    uuid: str
    columns: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Update:
    """Whole columns of a row get new values."""

    table: str
    uuid: str
    columns: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Mutate:
    """Elements leave a set, or keys a map, and then others join.

    A map takes a mapping or pairs; keys alone leave it whatever their value. A key whose value changes is in both:
    *insert* does nothing to a key that is there already (RFC 7047 5.1).
    """

    table: str
    uuid: str
    column: str
    insert: Elements | Entries = ()
    delete: Elements | Entries = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """A row goes. A parent's reference to it must go in the same transaction."""

    table: str
    uuid: str


Op: TypeAlias = Insert | Update | Mutate | Delete


@dataclass(frozen=True, slots=True)
class Unit:
    """Operations that stand or fall together, done for the object *key*."""

    key: Key
    ops: tuple[Op, ...] = field(default=())
