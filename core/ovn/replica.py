"""What the northbound database holds, in the event loop, with the indexes that a diff needs: natural key, parent, owner.

Fed with the raw updates of ``monitor_cond_since`` (ovsdb-server(7)). Every change costs time in proportion to itself,
never to the table or to the set that it is in. Rows hold only columns that differ from their default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, cast

from ovnloom.core.desired.model import RowKey
from ovnloom.core.desired.model import Value as DesiredValue
from ovnloom.core.ovn.columns import Atom, Column, Schema, Table, Value
from ovnloom.core.ovn.rows import Before, Delta, Row, difference, flip
from ovnloom.core.ovn.schema import OWNER, SLOTS, TABLES, key_columns, natural_key

Updates: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
Listener: TypeAlias = Callable[[str, str, Row | None, Row | None], None]


class OutOfSync(RuntimeError):
    """An update does not fit what is here. Only loading everything anew helps."""


class Place(NamedTuple):
    """Where a row is held: in *column* of the row *uuid* of *table*."""

    table: str
    uuid: str
    column: str


class Owned(NamedTuple):
    """A row that bears our label."""

    table: str
    uuid: str
    owner: str


class _Change(NamedTuple):
    table: str
    uuid: str
    old: Row | None
    new: Row | None


def _parents_first() -> tuple[str, ...]:
    order: dict[str, None] = {}
    while len(order) < len(TABLES):
        order |= {name: None for name, table in TABLES.items() if all(holder.table in order for holder in table.held_by)}
    return tuple(order)


_ORDER = _parents_first()
_KEY_COLUMNS = {name: key_columns(name) for name in TABLES}


class Replica:
    def __init__(self, schema: Schema, tables: Mapping[str, Table]) -> None:
        self.schema = schema
        self._types = tables
        self._rows: dict[str, dict[str, Row]] = {name: {} for name in tables}
        self._by_key: dict[RowKey, str] = {}
        self._twins: dict[RowKey, list[str]] = {}
        self._places: dict[str, dict[Place, None]] = {}
        self._owned: dict[str, dict[tuple[str, str], None]] = {}
        self._owner: dict[str, str] = {}
        self._unkeyed: dict[str, dict[str, None]] = {}  # rows whose natural key may have changed
        self._listeners: list[Listener] = []

    # reading

    def table(self, name: str) -> Mapping[str, Row]:
        """The rows of a table by UUID. Raises ``KeyError`` if it is not replicated."""
        return MappingProxyType(self._rows[name])

    def get(self, table: str, uuid: str) -> Row | None:
        return self._rows[table].get(uuid)

    def by_key(self, key: RowKey) -> str | None:
        """The UUID of the row with that natural key; the oldest here, if there are several."""
        return self._by_key.get(key)

    def all_by_key(self, key: RowKey) -> tuple[str, ...]:
        """All rows that claim that natural key: the schema does not forbid two switches of one name."""
        first = self._by_key.get(key)
        return () if first is None else (first, *self._twins.get(key, ()))

    def key_of(self, table: str, uuid: str) -> RowKey | None:
        """``None`` if there is no such row, or if its parent is unknown and part of the key."""
        row = self._rows[table].get(uuid)
        return row.key if row else None

    def parents(self, table: str, uuid: str) -> tuple[Place, ...]:
        """Where the row is held; empty for a row of a root table."""
        holders = {holder.table for holder in TABLES[table].held_by}
        return tuple(place for place in self._places.get(uuid, ()) if place.table in holders)

    def contains(self, table: str, uuid: str, column: str, element: object) -> bool:
        """Whether *element* is in the set (or a key of the map, or the value) in *column*. False if there is no such row."""
        row = self._rows[table].get(uuid)
        if row is None:
            return False
        value = row[column]
        return element in value if isinstance(value, set | frozenset | dict) else element == value

    def columns(self, table: str) -> Mapping[str, Column]:
        """The columns that are replicated, with their types."""
        return self._types[table].columns

    def owned(self, owner: str | None = None) -> Iterator[Owned]:
        """The rows whose ``external_ids`` name *owner*, or any owner."""
        for name in (owner,) if owner is not None else tuple(self._owned):
            yield from [Owned(table, uuid, name) for table, uuid in self._owned.get(name, ())]

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    def listen(self, listener: Listener) -> None:
        """Called with table, UUID, old and new row (``None``: none) after an update is applied as a whole.

        *old* of a changed row is a view that is valid during the call only.
        """
        self._listeners.append(listener)

    # writing

    def load(self, updates: Updates) -> None:
        """Everything there is. Listeners hear what differs from before."""
        changes: list[_Change] = []
        for name, rows in self._rows.items():
            fresh = updates.get(name, {})
            changes += [self._delete(name, uuid) for uuid in rows.keys() - fresh.keys()]
            for uuid, update in fresh.items():
                known = rows.get(uuid)
                changes += [self._insert(name, uuid, update)] if known is None else self._replace(known, update)
        self._finish(changes)

    def apply(self, updates: Updates) -> None:
        """One notification. Raises ``OutOfSync``, then only ``load`` mends what is here."""
        self._finish([self._one(name, uuid, update) for name, rows in updates.items() for uuid, update in rows.items()])

    def _one(self, name: str, uuid: str, update: Mapping[str, Any]) -> _Change:
        row = self._rows[name].get(uuid)
        if "insert" in update or "initial" in update:
            if row is not None:
                raise OutOfSync(f"{name} {uuid} is new to the server, not here")
            return self._insert(name, uuid, update)
        if row is None:
            raise OutOfSync(f"{name} {uuid} is known to the server, not here")
        return self._modify(row, update["modify"]) if "modify" in update else self._delete(name, uuid)

    def _insert(self, name: str, uuid: str, update: Mapping[str, Any]) -> _Change:
        types = self._types[name]
        row = self._rows[name][uuid] = Row(types, uuid, _decode(types, update))
        for column in SLOTS[name]:
            for child in cast("set[str]", row.columns.get(column, ())):
                self._hold(row, column, child)
        self._label(row)
        self._stale(name, uuid)
        return _Change(name, uuid, None, row)

    def _modify(self, row: Row, update: Mapping[str, Any]) -> _Change:
        return self._changed(row, {name: flip(row.columns, row.type.columns[name], json) for name, json in update.items()})

    def _replace(self, row: Row, update: Mapping[str, Any]) -> list[_Change]:
        columns = _decode(row.type, update)
        delta = difference(row, columns)
        if not delta:
            return []
        row.columns = columns
        return [self._changed(row, delta)]

    def _changed(self, row: Row, delta: Delta) -> _Change:
        name = row.table
        for column in SLOTS[name].keys() & delta.keys():
            now = cast("set[str]", row.columns.get(column, ()))
            for child in cast("frozenset[str]", delta[column]):
                (self._hold if child in now else self._release)(row, column, child)
        if "external_ids" in delta:
            self._label(row)
        if _KEY_COLUMNS[name] & delta.keys():
            self._stale(name, row.uuid)
        return _Change(name, row.uuid, Before(row, delta), row)

    def _delete(self, name: str, uuid: str) -> _Change:
        row = self._rows[name].pop(uuid)
        for column in SLOTS[name]:
            for child in cast("set[str]", row.columns.get(column, ())):
                self._release(row, column, child)
        self._unlabel(row)
        self._unindex(row)
        return _Change(name, uuid, row, None)

    def _finish(self, changes: list[_Change]) -> None:
        self._index_keys()
        for change in changes:
            for listener in self._listeners:
                listener(*change)

    # indexes

    def _hold(self, row: Row, column: str, child: str) -> None:
        self._places.setdefault(child, {})[Place(row.table, row.uuid, column)] = None
        self._stale(SLOTS[row.table][column], child)

    def _release(self, row: Row, column: str, child: str) -> None:
        places = self._places.get(child, {})
        places.pop(Place(row.table, row.uuid, column), None)
        if not places:
            self._places.pop(child, None)
        self._stale(SLOTS[row.table][column], child)

    def _label(self, row: Row) -> None:
        ids = row.columns.get("external_ids")
        owner = ids.get(OWNER) if isinstance(ids, dict) else None
        if owner == self._owner.get(row.uuid):
            return
        self._unlabel(row)
        if owner:
            self._owner[row.uuid] = str(owner)
            self._owned.setdefault(str(owner), {})[row.table, row.uuid] = None

    def _unlabel(self, row: Row) -> None:
        if (owner := self._owner.pop(row.uuid, None)) is not None:
            owned = self._owned[owner]
            del owned[row.table, row.uuid]
            if not owned:
                del self._owned[owner]

    def _stale(self, name: str, uuid: str) -> None:
        self._unkeyed.setdefault(name, {})[uuid] = None

    def _index_keys(self) -> None:
        for name in _ORDER:  # a parent's key is part of its children's
            for uuid in self._unkeyed.pop(name, ()):
                if (row := self._rows.get(name, {}).get(uuid)) is None or (key := self._key(row)) == row.key:
                    continue
                self._unindex(row)
                self._index(row, key)
                for column, child in SLOTS[name].items():
                    if TABLES[child].by_parent:
                        for held in cast("set[str]", row.columns.get(column, ())):
                            self._stale(child, held)

    def _key(self, row: Row) -> RowKey | None:
        parent = None
        if TABLES[row.table].by_parent:
            place = next(iter(self.parents(row.table, row.uuid)), None)
            parent = self.key_of(place.table, place.uuid) if place else None
            if parent is None:
                return None
        return RowKey(row.table, natural_key(row.table, cast("Mapping[str, DesiredValue]", row.columns), parent))

    def _index(self, row: Row, key: RowKey | None) -> None:
        row.key = key
        if key is not None and self._by_key.setdefault(key, row.uuid) != row.uuid:
            self._twins.setdefault(key, []).append(row.uuid)

    def _unindex(self, row: Row) -> None:
        """Forgets where the row was found. It keeps its last key, for who hears of its end."""
        if (key := row.key) is None:
            return
        twins = self._twins.get(key, [])
        if self._by_key.get(key) != row.uuid:
            twins.remove(row.uuid)
        elif twins:
            self._by_key[key] = twins.pop(0)
        else:
            del self._by_key[key]
        if not twins:
            self._twins.pop(key, None)


def _decode(types: Table, update: Mapping[str, Any]) -> dict[str, Value | Atom]:
    columns = types.columns
    content = update["initial"] if "initial" in update else update["insert"]
    return {(column := columns[name]).name: column.decode(json) for name, json in content.items()}
