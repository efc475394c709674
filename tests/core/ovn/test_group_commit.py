"""Idle: at once. Busy: what gathers meanwhile is one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ovnloom.core.kube.objects import Key
from ovnloom.core.ovn.batcher import GroupCommit, Outcome, UnitResult
from ovnloom.core.ovn.ops import Unit


class Gate:
    """Takes batches and answers them when it is opened."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()

    async def send(self, units: Sequence[Unit]) -> list[UnitResult]:
        self.batches.append([unit.key.name for unit in units])
        await self.open.wait()
        return [UnitResult(unit, Outcome.COMMITTED) for unit in units]


def _units(*names: str) -> list[Unit]:
    return [Unit(Key("pods", "d", name)) for name in names]


async def test_what_comes_while_one_is_under_way_is_one_batch() -> None:
    gate = Gate()
    group = GroupCommit(gate.send)
    tasks = [asyncio.create_task(group.submit(_units("a")))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(group.submit(_units(f"b{n}", f"c{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(*tasks)
    assert gate.batches == [["a"], [name for n in range(10) for name in (f"b{n}", f"c{n}")]]
    assert [[r.unit.key.name for r in result] for result in results] == [["a"], *([f"b{n}", f"c{n}"] for n in range(10))]


async def test_what_comes_shortly_after_one_waits_for_company() -> None:
    gate = Gate()
    gate.open.set()
    group = GroupCommit(gate.send, window=0.05)
    await group.submit(_units("a"))
    early = asyncio.create_task(group.submit(_units("b")))
    await asyncio.sleep(0)
    late = asyncio.create_task(group.submit(_units("c")))
    await asyncio.gather(early, late)
    assert gate.batches == [["a"], ["b", "c"]]


async def test_nobody_waits_for_nothing_and_a_cancelled_one_does_not_hurt() -> None:
    gate = Gate()
    group = GroupCommit(gate.send)
    assert await group.submit([]) == [] and gate.batches == []
    gone, stays = (asyncio.create_task(group.submit(_units(name))) for name in "ab")
    await asyncio.sleep(0)
    gone.cancel()
    gate.open.set()
    assert [r.outcome for r in await stays] == [Outcome.COMMITTED]


async def test_an_error_reaches_everybody() -> None:
    async def send(units: Sequence[Unit]) -> list[UnitResult]:
        raise RuntimeError("the session is not started")

    group = GroupCommit(send)
    tasks = [asyncio.create_task(group.submit(_units(name))) for name in "ab"]
    for task in tasks:
        with pytest.raises(RuntimeError, match="not started"):
            await task
