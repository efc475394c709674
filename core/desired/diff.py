"""Desired rows against the replica: the operations that make the northbound database say what the store says.

Pure. A row that we own is made exactly as said, volatile columns apart; of what others put into sets, only what is ours
to say is ever removed. A place whose row, parent or referenced row does not exist yet is held until it does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovnloom.core.desired.model import Atom, Row, RowKey, Slot, Value
from ovnloom.core.desired.store import Desired, Spot, Store, Voice
from ovnloom.core.kube.objects import Key
from ovnloom.core.names import VENDOR
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Op, Ref, Unit, Update
from ovnloom.core.ovn.schema import OWNER, SLOTS, TABLES, row_uuid

if TYPE_CHECKING:
    from uuid import UUID

    from ovnloom.core.ovn.columns import Column
    from ovnloom.core.ovn.replica import Place, Replica
    from ovnloom.core.ovn.rows import Row as Held

Label = Callable[[Key, str], str]

OWNERS = "external_ids"  # the column with a row's label; a table without it has rows that are known by their UUID


@dataclass(slots=True)
class Diff:
    """*settled* places are as they should be already, *held* ones wait for the row they are filed under. In *unpruned* ones
    something is left that nobody says (yet)."""

    units: list[Unit] = field(default_factory=list)
    spots: dict[Key, dict[Spot, None]] = field(default_factory=dict)
    held: dict[RowKey, dict[Spot, Key]] = field(default_factory=lambda: defaultdict(dict))
    settled: dict[Spot, Key] = field(default_factory=dict)
    unpruned: dict[Spot, Key] = field(default_factory=dict)
    refused: list[tuple[Key, str]] = field(default_factory=list)


class _Missing(Exception):
    """A row that this place needs does not exist."""

    def __init__(self, row: RowKey) -> None:
        self.row = row


class _Foreign(Exception):
    """The row exists and is somebody else's."""


def differences(spots: Mapping[Spot, Key], store: Store, replica: Replica, label: Label, cluster: UUID, *, cautious: bool = False) -> Diff:
    """One unit for each object that *spots* are charged to. *cluster* makes the UUIDs of new rows this cluster's own.

    *cautious*: not everybody has spoken yet, so elements and keys that nobody says are left.
    """
    return _Comparison(store, replica, label, cluster, cautious=cautious).run(spots)


def owned_strays(store: Store, replica: Replica, enabled: set[str], untouchable: set[str], cluster: UUID) -> Iterator[RowKey]:
    """Rows that are ours and that nobody says, but not those whose plugin could not speak for its object."""
    for table, uuid, owner in replica.owned():
        if owner.partition("/")[0] in enabled and owner in untouchable:
            continue
        key = replica.key_of(table, uuid)
        if key and ((desired := store.rows.get(key)) is None or desired.owner is None):
            yield key
    if untouchable:  # of rows without a label nobody can tell whose they are
        return
    for table in TABLES:
        if OWNERS not in replica.columns(table):
            for uuid in replica.table(table):
                key = replica.key_of(table, uuid)
                if key and row_uuid(key, cluster) == uuid and ((desired := store.rows.get(key)) is None or desired.owner is None):
                    yield key


class _Comparison:
    def __init__(self, store: Store, replica: Replica, label: Label, cluster: UUID, *, cautious: bool) -> None:
        self._cautious, self._left = cautious, False
        self._store, self._replica, self._label, self._cluster = store, replica, label, cluster
        self._new: dict[RowKey, str] = {}  # rows that this batch inserts
        self._going: set[str] = set()  # rows that it removes: there is no need to empty them first
        self._ops: dict[Key, list[Op]] = defaultdict(list)
        self._diff = Diff()

    def run(self, spots: Mapping[Spot, Key]) -> Diff:
        todo = dict(spots)
        # whole rows first, and again while rows that others waited for come into being
        rows = {spot: key for spot, key in todo.items() if not spot.column}
        waiting: dict[Spot, tuple[Key, RowKey]] = {}
        while rows:
            before = len(self._new)
            waiting = {}
            for spot, key in rows.items():
                self._attempt(spot, key, waiting, todo)
            rows = {spot: key for spot, (key, _) in waiting.items()} if len(self._new) > before else {}
        for spot, (key, missing) in waiting.items():
            self._diff.held[missing][spot] = key
        for spot, key in todo.items():
            if spot.column:
                self._attempt(spot, key, waiting := {}, todo)
                for _, (_, missing) in waiting.items():
                    self._diff.held[missing][spot] = key
        self._diff.units = [Unit(key, tuple(ops)) for key, ops in self._ops.items()]
        return self._diff

    def _attempt(self, spot: Spot, key: Key, waiting: dict[Spot, tuple[Key, RowKey]], todo: dict[Spot, Key]) -> None:
        try:
            ops = list(self._element(spot) if spot.column else self._row(spot.row, todo))
        except _Missing as missing:
            waiting[spot] = (key, missing.row)
            return
        except _Foreign:
            self._diff.refused.append((key, f"{spot.row} exists and belongs to somebody else; remove it or choose another name"))
            return
        if self._left:
            self._diff.unpruned[spot], self._left = key, False
        if ops:
            self._ops[key] += ops
            self._diff.spots.setdefault(key, {})[spot] = None
        else:
            self._diff.settled[spot] = key

    # whole rows

    def _row(self, key: RowKey, todo: dict[Spot, Key]) -> Iterator[Op]:
        desired = self._store.rows.get(key)
        uuid = self._replica.by_key(key)
        if desired is None or (owner := desired.owner) is None:
            if uuid is not None and self._ours(key.table, uuid):
                yield from self._removal(key.table, uuid)
            return
        voice, row = owner
        if uuid is None:
            yield from self._insertion(key, row, voice)
            for spot, by in _elements(key, desired):
                todo.setdefault(spot, by)
        else:
            yield from self._update(key, uuid, row, voice, desired)

    def _insertion(self, key: RowKey, row: Row, voice: Voice) -> Iterator[Op]:
        columns = {name: self._value(value) for name, value in self._columns(row, voice).items()}
        parent = self._need(row.within.parent) if row.within else None
        for column, derive in TABLES[row.table].sticky.items():
            columns.setdefault(column, derive(key.key))
        uuid = row_uuid(key, self._cluster)
        self._new[key] = uuid
        yield Insert(row.table, uuid, columns)
        if row.within and parent:
            yield Mutate(row.within.parent.table, parent, row.within.column, insert=(Ref(uuid),))

    def _removal(self, table: str, uuid: str) -> Iterator[Op]:
        places = self._replica.parents(table, uuid)
        self._going.add(uuid)
        for place in places:
            if place.uuid not in self._going:
                yield Mutate(place.table, place.uuid, place.column, delete=(Ref(uuid),))
        if not places:  # children go with the last reference to them
            yield Delete(table, uuid)

    def _update(self, key: RowKey, uuid: str, row: Row, voice: Voice, desired: Desired) -> Iterator[Op]:
        held = self._replica.get(key.table, uuid)
        if held is None or not self._may_take(held):
            raise _Foreign
        wanted, shared = self._columns(row, voice), {name for name, _ in (*desired.members, *desired.entries)}
        changed: dict[str, Any] = {}
        for name, column in self._replica.columns(key.table).items():
            if name in TABLES[key.table].volatile or name in SLOTS[key.table]:
                continue
            # whose elements others may have put there
            shared_by_nature = column.many and (column.references or (self._cautious and (column.is_map or name not in wanted)))
            if name in shared or shared_by_nature:
                yield from self._merged(key, uuid, column, wanted.get(name, ()), held[name], desired)
            elif (value := self._settled(key.table, column, wanted, held)) is not None:
                changed[name] = value
        if changed:
            yield Update(key.table, uuid, changed)
        if row.within:
            yield from self._placing(uuid, row.within, self._replica.parents(key.table, uuid))

    def _settled(self, table: str, column: Column, wanted: Mapping[str, Value], held: Held) -> Any:
        """The value that *column* should get, or ``None`` if it is as it should be."""
        value: Any = self._value(wanted[column.name]) if column.name in wanted else column.default
        now, sticky = held[column.name], TABLES[table].sticky
        if column.name in sticky and now != column.default:
            return None
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            value = {**value, **{k: v for k, v in now.items() if f"{column.name}:{k}" in sticky}}
        return value if column.plain(value) != now else None

    def _placing(self, uuid: str, slot: Slot, places: Iterable[Place]) -> Iterator[Op]:
        parent, found = self._need(slot.parent), False
        for place in places:
            if (place.uuid, place.column) == (parent, slot.column):
                found = True
            else:
                yield Mutate(place.table, place.uuid, place.column, delete=(Ref(uuid),))
        if not found:
            yield Mutate(slot.parent.table, parent, slot.column, insert=(Ref(uuid),))

    def _merged(self, key: RowKey, uuid: str, column: Column, said: Value, held: Any, desired: Desired) -> Iterator[Op]:
        """A column that more than the row's owner speaks about: elements and keys, one by one."""
        name = column.name
        if isinstance(held, Mapping):
            entries = dict(said) if isinstance(said, Mapping) else {}
            entries |= {key_: next(iter(voices.values())) for (where, key_), voices in desired.entries.items() if where == name}
            gone = tuple(k for k, value in held.items() if entries.get(k) != value and (k in entries or self._prunes()))
            new: Any = {k: value for k, value in entries.items() if held.get(k) != value}
        else:
            elements = {self._found(e) for e in (*_atoms(said), *desired.elements(name))} - {None}
            gone = tuple(
                Ref(e) if column.references else e
                for e in sorted(held - elements)
                if (not column.references or self._ours(column.references, e)) and self._prunes()
            )
            new = tuple(e for e in elements if e not in held)
        if gone or new:
            yield Mutate(key.table, uuid, name, insert=new, delete=gone)

    def _prunes(self) -> bool:
        """Asked for each element that nobody says."""
        self._left |= self._cautious
        return not self._cautious

    # elements of columns

    def _element(self, spot: Spot) -> Iterator[Op]:
        desired = self._store.rows.get(spot.row)
        place = (spot.column, spot.element)
        member = desired is not None and place in desired.members
        voices = desired.entries.get(place) if desired else None  # type: ignore[arg-type]
        uuid = self._new.get(spot.row) or self._replica.by_key(spot.row)
        if uuid is None:
            if member or voices:
                raise _Missing(spot.row)
            return
        if uuid in self._going:
            return
        row = self._replica.get(spot.row.table, uuid)
        held: Any = row[spot.column] if row else self._replica.columns(spot.row.table)[spot.column].default
        if isinstance(held, Mapping):
            name, value = str(spot.element), next(iter(voices.values())) if voices else None
            if held.get(name) != value:
                new = {name: value} if value is not None else {}
                yield Mutate(spot.row.table, uuid, spot.column, insert=new, delete=(name,) if name in held else ())
        elif member:
            if (element := self._atom(spot.element)) not in held:
                yield Mutate(spot.row.table, uuid, spot.column, insert=(element,))
        elif (element := self._found(spot.element)) in held and element is not None:
            yield Mutate(spot.row.table, uuid, spot.column, delete=(element,))

    # values

    def _columns(self, row: Row, voice: Voice) -> dict[str, Value]:
        columns = dict(row.columns)
        if OWNERS in self._replica.columns(row.table):
            said: Any = columns.get(OWNERS, {})
            columns[OWNERS] = {**said, "vendor": VENDOR, OWNER: self._label(voice.object, voice.plugin)}
        return columns

    def _value(self, value: Value) -> Any:
        if isinstance(value, Mapping):
            return value
        if isinstance(value, RowKey) or not isinstance(value, tuple | frozenset):
            return self._atom(value)
        return frozenset(self._atom(atom) for atom in value)

    def _atom(self, atom: Atom) -> Any:
        return Ref(self._need(atom)) if isinstance(atom, RowKey) else atom

    def _need(self, row: RowKey) -> str:
        uuid = self._new.get(row) or self._replica.by_key(row)
        if uuid is None:
            raise _Missing(row)
        return uuid

    def _found(self, atom: Atom) -> Any:
        """As ``_atom``; ``None`` if the row does not exist."""
        if not isinstance(atom, RowKey):
            return atom
        uuid = self._new.get(atom) or self._replica.by_key(atom)
        return Ref(uuid) if uuid else None

    def _ours(self, table: str, uuid: str) -> bool:
        row = self._replica.get(table, uuid)
        if row is None or OWNERS in row.type.columns:
            return row is not None and OWNER in row.columns.get(OWNERS, ())  # type: ignore[operator]  # a map
        return row.key is not None and row_uuid(row.key, self._cluster) == uuid

    def _may_take(self, row: Held) -> bool:
        """Ours, or one that Kube-OVN left: adopted in place."""
        if OWNERS not in row.type.columns:
            return self._ours(row.table, row.uuid)
        ids: Any = row[OWNERS]
        return bool(ids.get("vendor") == VENDOR)


def _elements(key: RowKey, desired: Desired) -> Iterator[tuple[Spot, Key]]:
    """What is said about elements of the row, and by which object."""
    for (column, element), voices in desired.members.items():
        yield Spot(key, column, element), next(iter(voices)).object
    for (column, name), said in desired.entries.items():
        yield Spot(key, column, name), next(iter(said)).object


def _atoms(value: Value) -> Iterable[Atom]:
    if isinstance(value, RowKey) or not isinstance(value, tuple | frozenset):
        return (value,)  # type: ignore[return-value]  # a map never gets here
    return value
