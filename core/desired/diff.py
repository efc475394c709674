"""Desired rows against the replica: the operations that make the northbound database say what the store says.

Pure. A row that we own is made exactly as said, volatile columns apart; of what others put into sets, only what is ours
to say is ever removed. A place whose row, parent or referenced row does not exist yet is held until it does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovnloom.core.desired.model import Atom, Row, RowKey, Value
from ovnloom.core.desired.store import Desired, Spot, Store, Voice
from ovnloom.core.kube.objects import Key
from ovnloom.core.names import VENDOR
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Op, Ref, Unit, Update
from ovnloom.core.ovn.schema import row_uuid, table_of

if TYPE_CHECKING:
    from ovnloom.core.ovn.replica import Replica

OWNER = "ovnloom"  # the key in external_ids that says whose a row is: <plugin>/<object uid>

Label = Callable[[Key, str], str]


@dataclass(slots=True)
class Diff:
    """*settled* places are as they should be already, *held* ones wait for the row they are filed under."""

    units: list[Unit] = field(default_factory=list)
    spots: dict[Key, dict[Spot, None]] = field(default_factory=dict)
    held: dict[RowKey, dict[Spot, Key]] = field(default_factory=lambda: defaultdict(dict))
    settled: dict[Spot, Key] = field(default_factory=dict)
    refused: list[tuple[Key, str]] = field(default_factory=list)


class _Missing(Exception):
    """A row that this place needs does not exist."""

    def __init__(self, row: RowKey) -> None:
        self.row = row


class _Foreign(Exception):
    """The row exists and is somebody else's."""


def differences(spots: Mapping[Spot, Key], store: Store, replica: Replica, label: Label) -> Diff:
    """One unit for each object that *spots* are charged to."""
    return _Comparison(store, replica, label).run(spots)


def owned_strays(store: Store, replica: Replica, enabled: set[str], untouchable: set[str]) -> Iterator[RowKey]:
    """Rows that carry our label and that nobody says, but not those whose plugin could not speak for its object."""
    for table, uuid, owner in replica.owned():
        key = replica.key_of(table, uuid)
        if key and key not in store.rows and (owner.partition("/")[0] not in enabled or owner not in untouchable):
            yield key


class _Comparison:
    def __init__(self, store: Store, replica: Replica, label: Label) -> None:
        self._store, self._replica, self._label = store, replica, label
        self._new: dict[RowKey, str] = {}  # rows that this batch inserts
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
            ops = list(self._element(spot) if spot.column else self._row(spot.row, todo, key))
        except _Missing as missing:
            waiting[spot] = (key, missing.row)
            return
        except _Foreign:
            self._diff.refused.append((key, f"{spot.row} exists and belongs to somebody else; remove it or choose another name"))
            return
        if ops:
            self._ops[key] += ops
            self._diff.spots.setdefault(key, {})[spot] = None
        else:
            self._diff.settled[spot] = key

    # whole rows

    def _row(self, key: RowKey, todo: dict[Spot, Key], charged: Key) -> Iterator[Op]:
        desired = self._store.rows.get(key)
        uuid = self._replica.by_key(key)
        if desired is None or (owner := desired.owner) is None:
            if uuid is not None and self._ours(key.table, uuid):
                yield from self._removal(key.table, uuid)
            return
        voice, row = owner
        if uuid is None:
            yield from self._insertion(key, row, voice)
            todo.update(dict.fromkeys(self._elements(key, desired), charged))
        else:
            yield from self._update(key, uuid, row, voice, desired)

    def _insertion(self, key: RowKey, row: Row, voice: Voice) -> Iterator[Op]:
        columns = {name: self._value(value) for name, value in self._columns(row, voice).items()}
        parent = self._need(row.within.parent) if row.within else None
        uuid = row_uuid(key)
        for column, derive in table_of(row.table).sticky.items():
            columns.setdefault(column, derive(key.key))
        self._new[key] = uuid
        yield Insert(row.table, uuid, columns)
        if row.within and parent:
            yield Mutate(row.within.parent.table, parent, row.within.column, insert=(Ref(uuid),))

    def _removal(self, table: str, uuid: str) -> Iterator[Op]:
        parents = list(self._replica.parents(table, uuid))
        for parent_table, parent, column in parents:
            yield Mutate(parent_table, parent, column, delete=(Ref(uuid),))
        if not parents:
            yield Delete(table, uuid)

    def _update(self, key: RowKey, uuid: str, row: Row, voice: Voice, desired: Desired) -> Iterator[Op]:
        held = self._replica.get(key.table, uuid)
        if held is None or not self._may_take(held):
            raise _Foreign
        spec, wanted = table_of(key.table), self._columns(row, voice)
        changed: dict[str, Any] = {}
        for column, type_ in self._replica.columns(key.table).items():
            if column in spec.volatile or column in spec.children or (column in spec.sticky and column not in wanted):
                continue
            if any(name == column for name, _ in (*desired.members, *desired.entries)) or (type_.references and type_.is_set):
                yield from self._merged(key, uuid, column, wanted.get(column, ()), held[column], desired)
                continue
            value = self._value(wanted[column]) if column in wanted else type_.default
            if type_.plain(value) != held[column]:
                changed[column] = value
        if changed:
            yield Update(key.table, uuid, changed)
        if row.within:
            parent = self._need(row.within.parent)
            found = False
            for parent_table, other, column in list(self._replica.parents(key.table, uuid)):
                if (other, column) == (parent, row.within.column):
                    found = True
                else:
                    yield Mutate(parent_table, other, column, delete=(Ref(uuid),))
            if not found:
                yield Mutate(row.within.parent.table, parent, row.within.column, insert=(Ref(uuid),))

    def _merged(self, key: RowKey, uuid: str, column: str, said: Value, held: Any, desired: Desired) -> Iterator[Op]:
        """A column that more than the row's owner speaks about: elements and keys, one by one."""
        if isinstance(held, Mapping):
            entries = dict(said) if isinstance(said, Mapping) else {}
            entries |= {name: next(iter(voices.values())) for (where, name), voices in desired.entries.items() if where == column}
            gone = tuple((name, value) for name, value in held.items() if entries.get(name) != value)
            new = tuple((name, value) for name, value in entries.items() if held.get(name) != value)
        else:
            elements = {self._found(e) for e in (*_atoms(said), *desired.elements(column))} - {None}
            plain = {e.uuid if isinstance(e, Ref) else e for e in elements}
            references = self._replica.columns(key.table)[column].references
            gone = tuple(
                Ref(e) if references else e for e in sorted(held - plain) if not references or self._ours(references, e)
            )
            new = tuple(e for e in elements if (e.uuid if isinstance(e, Ref) else e) not in held)
        if gone or new:
            yield Mutate(key.table, uuid, column, insert=new, delete=gone)

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
        held = self._replica.get(spot.row.table, uuid)
        if member:
            element = self._atom(spot.element)
            plain = element.uuid if isinstance(element, Ref) else element
            if held is None or plain not in held[spot.column]:
                yield Mutate(spot.row.table, uuid, spot.column, insert=(element,))
        elif voices is not None or held is not None and isinstance(held[spot.column], Mapping):
            name, now = str(spot.element), held[spot.column].get(str(spot.element)) if held else None
            value = next(iter(voices.values())) if voices else None
            if now != value:
                gone = ((name, now),) if now is not None else ()
                yield Mutate(spot.row.table, uuid, spot.column, insert=((name, value),) if value is not None else (), delete=gone)
        elif held is not None and (element := self._found(spot.element)) is not None:
            plain = element.uuid if isinstance(element, Ref) else element
            if plain in held[spot.column]:
                yield Mutate(spot.row.table, uuid, spot.column, delete=(element,))

    # values

    def _columns(self, row: Row, voice: Voice) -> dict[str, Value]:
        columns = dict(row.columns)
        if "external_ids" in self._replica.columns(row.table):
            said: Any = columns.get("external_ids", {})
            columns["external_ids"] = {**said, "vendor": VENDOR, OWNER: self._label(voice.object, voice.plugin)}
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

    @staticmethod
    def _elements(key: RowKey, desired: Desired) -> Iterable[Spot]:
        return [Spot(key, column, element) for column, element in (*desired.members, *desired.entries)]

    def _ours(self, table: str, uuid: str) -> bool:
        row = self._replica.get(table, uuid)
        return row is not None and "external_ids" in row and OWNER in row["external_ids"]

    def _may_take(self, row: Mapping[str, Any]) -> bool:
        """Ours, or one that Kube-OVN left: adopted in place."""
        return "external_ids" not in row or row["external_ids"].get("vendor") == VENDOR


def _atoms(value: Value) -> Iterable[Atom]:
    if isinstance(value, RowKey) or not isinstance(value, tuple | frozenset):
        return (value,)  # type: ignore[return-value]  # a map never gets here
    return value
