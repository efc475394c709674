"""One row of the replica, and how it differs from what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from ovnloom.core.desired.model import RowKey
from ovnloom.core.ovn.columns import Atom, Column, Table, Value

# Per changed column: of a set the elements that came or went, of a map the former value of each changed key
# (None: it was not there), else the former value.
Delta: TypeAlias = Mapping[str, Any]


class Row(Mapping[str, Any]):
    """*columns* are those that differ from their default; ``row["name"]`` knows the defaults too.

    As a mapping it has all columns that are replicated.
    """

    __slots__ = ("columns", "key", "type", "uuid")

    def __init__(self, table: Table, uuid: str, columns: dict[str, Value]) -> None:
        self.type, self.uuid = table, uuid
        self.columns = columns
        self.key: RowKey | None = None

    @property
    def table(self) -> str:
        return self.type.name

    def __getitem__(self, column: str) -> Any:
        """Raises ``KeyError`` if this server's table has no such column, or it is not replicated."""
        value = self.columns.get(column)
        return self.type.columns[column].default if value is None else value

    def __contains__(self, column: object) -> bool:
        return column in self.type.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.type.columns)

    def __len__(self) -> int:
        return len(self.type.columns)

    def __repr__(self) -> str:
        return f"<{self.table} {self.uuid} {self.columns}>"


class Before(Row):
    """A row as it was before the last change; valid while the change is being told. *changed* names the columns.

    Nothing is copied to make one: a set of 10,000 ports is not rebuilt because one came, unless it is asked for.
    """

    __slots__ = ("_delta", "_now", "changed")

    def __init__(self, now: Row, delta: Delta) -> None:
        self.type, self.uuid, self.key = now.type, now.uuid, now.key
        self._now, self._delta = now, delta
        self.changed = frozenset(delta)

    def __getattr__(self, name: str) -> Any:
        if name != "columns":
            raise AttributeError(name)
        former = {column: self[column] for column in self._now.columns.keys() | self.changed}
        self.columns = {column: value for column, value in former.items() if value != self.type.columns[column].default}
        return self.columns

    def __getitem__(self, column: str) -> Any:
        now = self._now[column]
        if column not in self.changed:
            return now
        delta = self._delta[column]
        if isinstance(now, set | frozenset):
            return now ^ cast("frozenset[Atom]", delta)
        if isinstance(now, Mapping):
            former = {**now, **delta}
            return {key: value for key, value in former.items() if value is not None}
        return delta

    def touched(self, column: str) -> frozenset[Atom]:
        """Elements (or keys of a map) in *column* that came, went or changed. Empty for a single value."""
        delta = self._delta.get(column)
        return frozenset(delta) if isinstance(delta, frozenset | Mapping) else frozenset()


def flip(columns: dict[str, Value], column: Column, json: Any) -> Any:
    """Applies one column of an ``update3`` to *columns*; answers the delta.

    A column with room for several gets a symmetric difference (ovsdb-server(7), 4.1.14), another one its new value.
    """
    name, change = column.name, column.decode(json)
    if column.kind == "atom":
        former = columns.get(name, column.default)
        _store(columns, column, change)
        return former
    if column.kind == "set":
        now = cast("set[Atom]", columns.get(name, set()))
        flipped = frozenset(cast("set[Atom]", change)) if column.many else frozenset(now ^ cast("set[Atom]", change))
        now ^= flipped
        _store(columns, column, now)
        return flipped
    entries = cast("dict[Atom, Atom]", columns.get(name, {}))
    changed = cast("dict[Atom, Atom]", change)
    if not column.many:
        _store(columns, column, changed)
        return _map_difference(entries, changed)
    was = {key: entries.get(key) for key in changed}
    for key, value in changed.items():
        if entries.get(key) == value:
            del entries[key]
        else:
            entries[key] = value
    _store(columns, column, entries)
    return was


def difference(row: Row, columns: Mapping[str, Value]) -> Delta:
    """How *row* differs from one with *columns*."""
    delta: dict[str, Any] = {}
    for name in row.columns.keys() | columns.keys():
        former, now = row.columns.get(name), columns.get(name)
        if former == now:
            continue
        column = row.type.columns[name]
        if column.kind == "set":
            delta[name] = frozenset(cast("set[Atom]", former or set()) ^ cast("set[Atom]", now or set()))
        elif column.kind == "map":
            delta[name] = _map_difference(cast("dict[Atom, Atom]", former or {}), cast("dict[Atom, Atom]", now or {}))
        else:
            delta[name] = column.default if former is None else former
    return delta


def _map_difference(former: Mapping[Atom, Atom], now: Mapping[Atom, Atom]) -> dict[Atom, Atom | None]:
    return {key: former.get(key) for key in former.keys() | now.keys() if former.get(key) != now.get(key)}


def _store(columns: dict[str, Value], column: Column, value: Value) -> None:
    if value == column.default:
        columns.pop(column.name, None)
    else:
        columns[column.name] = value
