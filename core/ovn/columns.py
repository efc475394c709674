"""Types of tables and columns as the server declares them, and values from and to its JSON (RFC 7047 5.1).

A value of the server becomes an atom, a ``set`` (also of at most one element), or a ``dict``; a reference becomes the
UUID as text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from ovnloom.core.ovn import ops

Atom: TypeAlias = str | int | float | bool
Value: TypeAlias = Atom | Set[Atom] | Mapping[Atom, Atom]

_DEFAULTS: Mapping[str, Atom] = {
    "string": "",
    "integer": 0,
    "real": 0.0,
    "boolean": False,
    "uuid": "00000000-0000-0000-0000-000000000000",
}
_EMPTY_SET: frozenset[Atom] = frozenset()
_EMPTY_MAP: Mapping[Atom, Atom] = {}


class BadValue(ValueError):
    """A value or column that this server's schema has no place for."""


@dataclass(frozen=True, slots=True)
class Column:
    """*kind* is ``atom``, ``set`` or ``map``. *references*: the table that elements refer to. *many*: more than one fits in."""

    name: str
    kind: str
    key: str
    many: bool
    references: str = ""
    strong: bool = False

    @property
    def is_set(self) -> bool:
        return self.kind == "set"

    @property
    def is_map(self) -> bool:
        return self.kind == "map"

    @property
    def default(self) -> Value:
        if self.kind == "atom":
            return _DEFAULTS[self.key]
        return _EMPTY_SET if self.kind == "set" else _EMPTY_MAP

    def decode(self, json: Any) -> Value:
        """A value from the server's JSON."""
        if self.kind == "atom":
            return cast("Atom", json[1]) if self.key == "uuid" else cast("Atom", json)
        if self.kind == "map":
            return dict(json[1])
        elements: Iterable[Any] = json[1] if isinstance(json, list) and json[0] == "set" else (json,)
        return {element[1] for element in elements} if self.key == "uuid" else set(elements)

    def encode(self, value: ops.Value) -> Any:
        """*value* in the server's JSON. A single element is fine where a set is expected. Raises ``BadValue``."""
        if self.kind == "map":
            return self._entries(value)
        if self.kind == "set":
            return self._elements(value)
        if isinstance(value, Mapping | tuple | frozenset | set):
            raise BadValue(f"column {self.name} holds exactly one value, not {value!r}")
        return self._atom(value)

    def encode_change(self, value: ops.Elements | ops.Entries) -> Any:
        """What a mutation inserts or deletes. Of a map, what is no pair is a key, for a deletion whatever its value."""
        if self.kind == "map":
            return self._entries(value)
        if self.kind != "set":
            raise BadValue(f"column {self.name} holds one value: it is updated, not mutated")
        return self._elements(value)

    def _elements(self, value: object) -> Any:
        if isinstance(value, Mapping):
            raise BadValue(f"column {self.name} is no map: {dict(value)!r}")
        elements = value if isinstance(value, tuple | frozenset | set) else (value,)
        return ["set", [self._atom(element) for element in elements]]

    def _entries(self, value: object) -> Any:
        if isinstance(value, Mapping):
            return ["map", [[key, value[key]] for key in value]]
        if not isinstance(value, tuple | frozenset | set | list):
            raise BadValue(f"column {self.name} is a map, {value!r} is none")
        if all(isinstance(entry, tuple) and len(entry) == 2 for entry in value):
            return ["map", [list(entry) for entry in value]]
        return ["set", list(value)]

    def plain(self, value: ops.Value) -> Value:
        """*value* in the form the replica has it, for comparison."""
        if self.kind == "set" and not isinstance(value, tuple | frozenset | set):
            return {value} if not isinstance(value, Mapping) else set(value)
        return set(value) if isinstance(value, tuple) else cast("Value", value)

    def _atom(self, value: object) -> Any:
        return ["uuid", str(value)] if self.key == "uuid" else value


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the server. *columns* are all it has, those that are not replicated too."""

    name: str
    columns: Mapping[str, Column]
    root: bool

    def column(self, name: str) -> Column:
        if (column := self.columns.get(name)) is None:
            raise BadValue(f"table {self.name} of this server has no column {name!r}")
        return column


class Schema:
    """The tables of one database of a server."""

    def __init__(self, json: Mapping[str, Any]) -> None:
        self.name: str = json["name"]
        self.version: str = json.get("version", "")
        self.tables: dict[str, Table] = {
            name: Table(name, {c: _column(c, spec["type"]) for c, spec in table["columns"].items()}, table.get("isRoot", False))
            for name, table in json["tables"].items()
        }

    def table(self, name: str) -> Table:
        """Raises ``BadValue`` if this server has no such table."""
        if (table := self.tables.get(name)) is None:
            raise BadValue(f"database {self.name} {self.version} of this server has no table {name!r}")
        return table

    def known(self, tables: Collection[str]) -> list[Table]:
        """Those of *tables* that this server has."""
        return [self.tables[name] for name in tables if name in self.tables]


def _column(name: str, spec: Any) -> Column:
    if isinstance(spec, str):
        return Column(name, "atom", spec, many=False)
    key = spec["key"] if isinstance(spec["key"], dict) else {"type": spec["key"]}
    most = spec.get("max", 1)
    kind = "map" if "value" in spec else "atom" if spec.get("min", 1) == 1 and most == 1 else "set"
    table = key.get("refTable", "")
    return Column(
        name, kind, key["type"], many=most != 1, references=table, strong=bool(table) and key.get("refType", "strong") == "strong"
    )
