"""Units of change into transactions: one for all, and if the server refuses it, the culprits are found and the rest goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ovnloom.core.ovn.apply import encode
from ovnloom.core.ovn.columns import BadValue, Schema
from ovnloom.core.ovn.connection import Answer, Status
from ovnloom.core.ovn.ops import Insert, Mutate, Ref, Unit, Update


class Outcome(Enum):
    """``AGAIN``: the database may have it, not, or in part: compare again. ``REJECTED``: the server (or its schema) says why."""

    COMMITTED = "committed"
    REJECTED = "rejected"
    AGAIN = "again"
    NOT_LOCKED = "not locked"


@dataclass(frozen=True, slots=True)
class UnitResult:
    unit: Unit
    outcome: Outcome
    reason: str = ""


class Transactor(Protocol):
    """What a batcher writes through: ``Session`` is one."""

    @property
    def schema(self) -> Schema: ...

    async def transact(self, operations: list[dict[str, Any]]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class _Job:
    place: int
    operations: list[dict[str, Any]]


async def commit(session: Transactor, units: Sequence[Unit]) -> list[UnitResult]:
    """One result for each unit, in their order. One transaction if nothing is wrong, none if nothing would change."""
    results: dict[int, UnitResult] = {}
    jobs = []
    for place, unit in enumerate(units):
        try:
            operations = encode(unit.ops, session.schema)
        except BadValue as bad:
            results[place] = UnitResult(unit, Outcome.REJECTED, str(bad))
            continue
        if operations:
            jobs.append(_Job(place, operations))
        else:
            results[place] = UnitResult(unit, Outcome.COMMITTED)
    await _commit(session, jobs, units, results)
    return [results[place] for place in range(len(units))]


async def _commit(session: Transactor, jobs: list[_Job], units: Sequence[Unit], results: dict[int, UnitResult]) -> None:
    while jobs:
        # new rows first: a change of a row that a later operation makes would meet no row, and be no error
        ordered = sorted(((op, job) for job in jobs for op in job.operations), key=lambda pair: pair[0]["op"] != "insert")
        answer = await session.transact([operation for operation, _ in ordered])
        if answer.status is Status.ERROR and len(jobs) > 1 and answer.index is None:
            # refused as a whole (a duplicate name, a dangling reference): nobody says whose fault it is
            half, order = len(jobs) // 2, _makers_first(units)
            jobs = sorted(jobs, key=lambda job: order[job.place])
            await _commit(session, jobs[:half], units, results)
            await _commit(session, jobs[half:], units, results)
            return
        charged = jobs
        if answer.status is Status.ERROR:
            charged = [jobs[0] if answer.index is None else ordered[answer.index][1]]
        missed = {job.place for (op, job), result in zip(ordered, answer.results, strict=False) if _found_nothing(op, result)}
        for job in charged:
            outcome, reason = _OUTCOMES[answer.status], answer.error
            if job.place in missed:
                outcome, reason = Outcome.AGAIN, "a row that it changes is gone"
            results[job.place] = UnitResult(units[job.place], outcome, reason)
        jobs = [job for job in jobs if job not in charged] if charged is not jobs else []


_OUTCOMES = {
    Status.DONE: Outcome.COMMITTED,
    Status.AGAIN: Outcome.AGAIN,
    Status.NOT_LOCKED: Outcome.NOT_LOCKED,
    Status.ERROR: Outcome.REJECTED,
}


def _found_nothing(operation: dict[str, Any], result: Any) -> bool:
    """A change whose row does not exist: no error for the server, which did the rest of the transaction."""
    return operation["op"] in ("update", "mutate") and isinstance(result, dict) and result.get("count") == 0


def _makers_first(units: Sequence[Unit]) -> dict[int, int]:
    """Each unit's rank in an order in which a unit that refers to a row comes after the one that inserts it, should they be parted."""
    makers = {op.uuid: place for place, unit in enumerate(units) for op in unit.ops if isinstance(op, Insert)}
    order: dict[int, None] = {}
    for place in range(len(units)):
        stack = [place]
        seen = {place}
        while stack:
            needs = {makers[uuid] for uuid in _needed(units[stack[-1]]) if uuid in makers} - order.keys() - seen
            if needs:
                seen |= needs
                stack += sorted(needs, reverse=True)
            else:
                order[stack.pop()] = None
    return {place: rank for rank, place in enumerate(order)}


def _needed(unit: Unit) -> set[str]:
    found: set[str] = set()
    for op in unit.ops:
        if not isinstance(op, Insert):
            found.add(op.uuid)
        if isinstance(op, Insert | Update):
            for value in op.columns.values():
                found |= _refs(value)
        elif isinstance(op, Mutate):
            found |= _refs(op.insert)
    return found


def _refs(value: object) -> set[str]:
    elements = value if isinstance(value, tuple | frozenset | set) else (value,)
    return {element.uuid for element in elements if isinstance(element, Ref)}
