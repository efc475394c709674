"""After any history the replica is what a fresh one would be: rows, natural keys, parents, owners."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from ovnloom.core.ovn.batcher import Outcome
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Op, Ref, Update
from ovnloom.core.ovn.replica import Replica
from tests.functional.ovn.conftest import Open
from tests.functional.ovn.words import content, unit
from tests.functional.ovn_server import Ovn

pytestmark = pytest.mark.ovn

HELD = {
    "Logical_Switch_Port": ("Logical_Switch", "ports"),
    "QoS": ("Logical_Switch", "qos_rules"),
    "Logical_Router_Port": ("Logical_Router", "ports"),
    "Gateway_Chassis": ("Logical_Router_Port", "gateway_chassis"),
    "Logical_Router_Policy": ("Logical_Router", "policies"),
    "Logical_Router_Static_Route": ("Logical_Router", "static_routes"),
}
ROOTS = ("Logical_Switch", "Logical_Router", "Port_Group", "Address_Set")


class Play:
    """Random changes of what a replica shows."""

    def __init__(self, replica: Replica, random: Random) -> None:
        self.replica, self.random = replica, random

    def some(self, table: str) -> str | None:
        rows = sorted(self.replica.table(table))
        return self.random.choice(rows) if rows else None

    def ops(self) -> list[Op]:
        act = self.random.choice(
            (self.insert, self.insert, self.child, self.child, self.child, self.move, self.change, self.change, self.delete)
        )
        return act()

    def columns(self, table: str) -> dict[str, Any]:
        pick = self.random.choice
        found: dict[str, Any] = {"external_ids": {"ovnloom": f"a/{pick('123')}", "x": pick("yz")} if pick((True, False)) else {}}
        for name, column in self.replica.columns(table).items():
            if name == "name":
                found[name] = f"n{self.random.randrange(40)}"
            elif name == "addresses":
                found[name] = frozenset(pick(("", "unknown", "router", "dynamic")) for _ in range(3)) if table != "Address_Set" else ()
            elif name == "priority":
                found[name] = pick((0, 1, 2))
            elif name in ("tag", "enabled", "policy"):
                found[name] = pick(((), {"tag": 5, "enabled": True, "policy": "src-ip"}[name]))
            elif name == "options":
                found[name] = {key: pick("12") for key in "abc" if pick((True, False))}
            elif name in ("direction", "action"):
                found[name] = {"direction": "to-lport", "action": {} if table == "QoS" else "allow"}[name]
            elif (
                name == "ports"
                and column.references == "Logical_Switch_Port"
                and table == "Port_Group"
                and (port := self.some(column.references))
            ):
                found[name] = (Ref(port),)
        return found

    def insert(self) -> list[Op]:
        table = self.random.choice(ROOTS)
        return [Insert(table, self.uuid(), self.columns(table))]

    def child(self) -> list[Op]:
        table = self.random.choice(list(HELD))
        parent_table, column = HELD[table]
        if (parent := self.some(parent_table)) is None:
            return []
        uuid = self.uuid()
        return [Insert(table, uuid, self.columns(table)), Mutate(parent_table, parent, column, insert=(Ref(uuid),))]

    def move(self) -> list[Op]:
        table = self.random.choice(list(HELD))
        parent_table, column = HELD[table]
        child, target = self.some(table), self.some(parent_table)
        if child is None or target is None:
            return []
        leave = [Mutate(p.table, p.uuid, p.column, delete=(Ref(child),)) for p in self.replica.parents(table, child) if p.uuid != target]
        return [*leave, Mutate(parent_table, target, column, insert=(Ref(child),))]

    def change(self) -> list[Op]:
        table = self.random.choice((*ROOTS, *HELD))
        uuid = self.some(table)
        columns = self.columns(table)
        names = self.random.sample(sorted(columns), self.random.randint(1, len(columns)))
        return [Update(table, uuid, {name: columns[name] for name in names})] if uuid else []

    def delete(self) -> list[Op]:
        table = self.random.choice((*ROOTS, *HELD))
        if (uuid := self.some(table)) is None:
            return []
        if table in ROOTS:
            return [Delete(table, uuid)]
        return [Mutate(p.table, p.uuid, p.column, delete=(Ref(uuid),)) for p in self.replica.parents(table, uuid)]

    def uuid(self) -> str:
        number = f"{self.random.getrandbits(128):032x}"
        return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))


@pytest.mark.parametrize("seed", range(4))
async def test_any_history(nb: Ovn, connect: Open, seed: int) -> None:
    writer = await connect(nb.remote("nb"))
    watcher = await connect(nb.remote("nb"))
    play = Play(writer.replica, Random(seed))
    committed = 0
    for round_ in range(400):
        (result,) = await writer.commit([unit("it", *play.ops())])
        committed += result.outcome is Outcome.COMMITTED
        assert result.outcome is Outcome.COMMITTED or "constraint violation" in result.reason, result.reason
        if round_ % 100 == 99:
            fresh = await connect(nb.remote("nb"))
            assert content(writer) == content(fresh)
            watcher.replica.load({})
            watcher.replica.load(_all(fresh.replica))
            assert content(watcher) == content(fresh)
    assert committed > 200 and len(writer.replica) > 20


def _all(replica: Replica) -> dict[str, dict[str, Any]]:
    """*replica* as a server would send it."""
    found: dict[str, dict[str, Any]] = {}
    for table in (*ROOTS, *HELD):
        types = replica.columns(table)
        found[table] = {
            uuid: {"initial": {name: types[name].encode(value) for name, value in row.columns.items()}}  # type: ignore[arg-type]
            for uuid, row in replica.table(table).items()
        }
    return found
