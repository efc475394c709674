"""Operations as the JSON of a ``transact`` request (RFC 7047 5.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ovnloom.core.ovn.columns import Schema
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Op, Update, Value


def encode(ops: Iterable[Op], schema: Schema) -> list[dict[str, Any]]:
    """What would change nothing is left out. Raises ``BadValue`` for a table or column this server has not, or a wrong shape."""
    return list(_encoded(ops, schema))


def _encoded(ops: Iterable[Op], schema: Schema) -> Iterator[dict[str, Any]]:
    for op in ops:
        match op:
            case Insert(table, uuid, columns):
                yield {"op": "insert", "table": table, "uuid": uuid, "row": _row(table, columns, schema)}
            case Update(table, uuid, columns):
                if columns:
                    yield {"op": "update", "table": table, "where": _is(uuid), "row": _row(table, columns, schema)}
            case Mutate(table, uuid):
                if mutations := _mutations(op, schema):
                    yield {"op": "mutate", "table": table, "where": _is(uuid), "mutations": mutations}
            case Delete(table, uuid):
                schema.table(table)
                yield {"op": "delete", "table": table, "where": _is(uuid)}


def _row(table: str, columns: Mapping[str, Value], schema: Schema) -> dict[str, Any]:
    types = schema.table(table)
    return {name: types.column(name).encode(value) for name, value in columns.items()}


def _mutations(op: Mutate, schema: Schema) -> list[list[Any]]:
    column = schema.table(op.table).column(op.column)
    changes = (("delete", op.delete), ("insert", op.insert))
    return [[column.name, verb, column.encode_change(value)] for verb, value in changes if value]


def _is(uuid: str) -> list[list[Any]]:
    return [["_uuid", "==", ["uuid", str(uuid)]]]
