"""Short ways to say common changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ovnloom.core.desired.model import RowKey, Slot
from ovnloom.core.kube.objects import Key
from ovnloom.core.ovn.batcher import Outcome, UnitResult
from ovnloom.core.ovn.ops import Insert, Mutate, Op, Ref, Unit
from ovnloom.core.ovn.schema import natural_key, row_uuid
from ovnloom.core.ovn.session import Session

SWITCH = RowKey("Logical_Switch", "s")
ROUTER = RowKey("Logical_Router", "r")


def unit(name: str, *ops: Op) -> Unit:
    return Unit(Key("things", "", name), ops)


def make(table: str, columns: Mapping[str, Any], within: Slot | None = None) -> tuple[Op, ...]:
    """A row under the UUID of its natural key, and its parent's reference to it."""
    uuid = row_uuid(RowKey(table, natural_key(table, columns, within.parent if within else None)))
    held = (Mutate(within.parent.table, row_uuid(within.parent), within.column, insert=(Ref(uuid),)),) if within else ()
    return (Insert(table, uuid, columns), *held)


def port(name: str, **columns: Any) -> tuple[Op, ...]:
    return make("Logical_Switch_Port", {"name": name, **columns}, Slot(SWITCH, "ports"))


def port_uuid(name: str) -> str:
    return row_uuid(RowKey("Logical_Switch_Port", name))


async def commit(session: Session, *ops: Op) -> UnitResult:
    (result,) = await session.commit([unit("it", *ops)])
    return result


async def done(session: Session, *ops: Op) -> None:
    result = await commit(session, *ops)
    assert result.outcome is Outcome.COMMITTED, result.reason


async def with_switch(session: Session) -> Session:
    await done(session, *make("Logical_Switch", {"name": SWITCH.key}))
    return session


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """For what a test wants to see and nobody announces."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def content(session: Session) -> dict[str, Any]:
    """Everything a replica holds: rows, keys, parents, owners."""
    replica, found = session.replica, {}
    for table in replica.schema.known(replica.schema.tables.keys()):
        try:
            rows = replica.table(table.name)
        except KeyError:
            continue
        for uuid, row in rows.items():
            key = replica.key_of(table.name, uuid)
            found[f"{table.name} {uuid}"] = (
                dict(row.columns),
                key,
                sorted(replica.parents(table.name, uuid)),
                uuid in (replica.all_by_key(key) if key else ()),
            )
    return {**found, "owned": sorted(replica.owned())}
