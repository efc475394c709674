"""What is desired, by object and plugin, and merged by what it is about.

A row has one owner; keys and elements come from anybody. Two owners of one row, or of one key with different values,
is a fault of the younger: the older one's word stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ovnloom.core.desired.model import (
    Annotation,
    Atom,
    Child,
    Contribution,
    Default,
    Extend,
    Finalizer,
    Member,
    Pool,
    Row,
    RowKey,
)
from ovnloom.core.kube.objects import Key
from ovnloom.core.ovn.schema import natural_key

K = TypeVar("K")
V = TypeVar("V")


class Spot(NamedTuple):
    """A place in the northbound database that may differ: a whole row, or one element (or map key) of a column."""

    row: RowKey
    column: str = ""
    element: Atom = ""


class Voice(NamedTuple):
    """Who says something."""

    object: Key
    plugin: str


class Note(NamedTuple):
    """A published field: an annotation, a defaulted field of ``spec``, or a finalizer."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Clash:
    """Two voices about one thing."""

    what: str
    older: Voice
    younger: Voice


@dataclass(slots=True)
class Changes:
    """What a replacement may have changed."""

    spots: dict[Spot, None]
    targets: dict[Key, None]  # objects whose notes changed
    withdrawn: dict[Key, set[Note]]  # notes that nobody says any more
    children: dict[Key, None]
    pools: dict[str, None]
    clashes: list[Clash]


@dataclass(slots=True)
class Desired:
    """Everything said about one row. The first of *owners* counts."""

    owners: dict[Voice, Row]
    entries: dict[tuple[str, str], dict[Voice, str]]
    members: dict[tuple[str, Atom], dict[Voice, None]]

    @property
    def owner(self) -> tuple[Voice, Row] | None:
        return next(iter(self.owners.items()), None)

    def elements(self, column: str) -> Iterator[Atom]:
        return (element for (name, element) in self.members if name == column)

    def __bool__(self) -> bool:
        return bool(self.owners or self.entries or self.members)


def row_key(row: Row) -> RowKey:
    return RowKey(row.table, natural_key(row.table, row.columns, row.within.parent if row.within else None))


class Store:
    def __init__(self) -> None:
        self._said: dict[Key, dict[str, tuple[Contribution, ...]]] = {}
        self.rows: dict[RowKey, Desired] = {}
        self.notes: dict[Key, dict[Note, dict[Voice, object]]] = {}
        self.children: dict[Key, dict[Voice, Child]] = {}
        self.pools: dict[str, dict[Voice, Pool]] = {}

    def said(self, obj: Key) -> Mapping[str, tuple[Contribution, ...]]:
        """What each plugin said because of *obj*."""
        return self._said.get(obj, {})

    def spots(self, obj: Key) -> list[Spot]:
        """The rows that exist because of *obj*."""
        return [Spot(row_key(one)) for said in self.said(obj).values() for one in said if isinstance(one, Row)]

    def objects(self) -> Iterable[Key]:
        return tuple(self._said)

    def replace(self, obj: Key, plugin: str, contributions: tuple[Contribution, ...]) -> Changes:
        """*plugin* now says exactly *contributions* because of *obj*."""
        changes = Changes({}, {}, {}, {}, {}, [])
        said = self._said.setdefault(obj, {})
        before = said.get(plugin, ())
        if before != contributions:
            voice = Voice(obj, plugin)
            for old in before:
                if old not in contributions:
                    self._take(voice, old, changes)
            for new in contributions:
                if new not in before:
                    self._add(voice, new, changes)
        if contributions:
            said[plugin] = contributions
        else:
            said.pop(plugin, None)
        if not said:
            del self._said[obj]
        return changes

    def owner(self, row: RowKey) -> Key | None:
        desired = self.rows.get(row)
        return desired.owner[0].object if desired and desired.owner else None

    def _add(self, voice: Voice, said: Contribution, changes: Changes) -> None:
        match said:
            case Row():
                key = row_key(said)
                desired = self._desired(key)
                if desired.owner and desired.owner[0] != voice:
                    changes.clashes.append(Clash(str(key), desired.owner[0], voice))
                desired.owners[voice] = said
                changes.spots[Spot(key)] = None
            case Extend(target, column, entries):
                for name, value in entries.items():
                    voices = self._desired(target).entries.setdefault((column, name), {})
                    changes.clashes += [Clash(f"{target}.{column}:{name}", v, voice) for v, other in voices.items() if other != value][:1]
                    voices[voice] = value
                    changes.spots[Spot(target, column, name)] = None
            case Member(target, column, element):
                self._desired(target).members.setdefault((column, element), {})[voice] = None
                changes.spots[Spot(target, column, element)] = None
            case Child(key):
                self.children.setdefault(key, {})[voice] = said
                changes.children[key] = None
            case Pool(name):
                self.pools.setdefault(name, {})[voice] = said
                changes.pools[name] = None
            case Annotation() | Default() | Finalizer():
                self.notes.setdefault(said.target, {}).setdefault(_note(said), {})[voice] = getattr(said, "value", "")
                changes.targets[said.target] = None

    def _take(self, voice: Voice, said: Contribution, changes: Changes) -> None:
        match said:
            case Row():
                key = row_key(said)
                self._desired(key).owners.pop(voice, None)
                changes.spots[Spot(key)] = None
                self._tidy(key)
            case Extend(target, column, entries):
                for name in entries:
                    _drop(self._desired(target).entries, (column, name), voice)
                    changes.spots[Spot(target, column, name)] = None
                self._tidy(target)
            case Member(target, column, element):
                _drop(self._desired(target).members, (column, element), voice)
                changes.spots[Spot(target, column, element)] = None
                self._tidy(target)
            case Child(key):
                _drop(self.children, key, voice)
                if not said.once:
                    changes.children[key] = None
            case Pool(name):
                _drop(self.pools, name, voice)
                changes.pools[name] = None
            case Annotation() | Default() | Finalizer():
                notes, note = self.notes.get(said.target, {}), _note(said)
                _drop(notes, note, voice)
                if note not in notes:
                    changes.withdrawn.setdefault(said.target, set()).add(note)
                if not notes:
                    self.notes.pop(said.target, None)
                changes.targets[said.target] = None

    def _desired(self, key: RowKey) -> Desired:
        desired = self.rows.get(key)
        if desired is None:
            desired = self.rows[key] = Desired({}, {}, {})
        return desired

    def _tidy(self, key: RowKey) -> None:
        if not self.rows[key]:
            del self.rows[key]


def _note(said: Annotation | Default | Finalizer) -> Note:
    match said:
        case Annotation(key=key):
            return Note("annotation", key)
        case Default(field=field):
            return Note("default", field)
        case Finalizer(name=name):
            return Note("finalizer", name)


def _drop(table: dict[K, dict[Voice, V]], key: K, voice: Voice) -> None:
    voices = table.get(key)
    if voices is not None:
        voices.pop(voice, None)
        if not voices:
            del table[key]
