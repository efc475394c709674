from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ovnloom.agent.undo import Undo


class Steps:
    """Notes what is undone, after a moment, as real undos take one."""

    def __init__(self) -> None:
        self.undone: list[str] = []

    def step(self, name: str, error: Exception | None = None) -> tuple[str, Callable[[], Awaitable[None]]]:
        async def undo() -> None:
            await asyncio.sleep(0.01)
            self.undone.append(name)
            if error:
                raise error

        return name, undo


async def test_success_undoes_nothing() -> None:
    steps = Steps()
    async with Undo() as undo:
        undo.push(*steps.step("a"))
    assert steps.undone == []


async def test_an_error_undoes_in_reverse_and_is_raised() -> None:
    steps = Steps()
    with pytest.raises(RuntimeError, match="third"):
        async with Undo() as undo:
            undo.push(*steps.step("a"))
            undo.push(*steps.step("b"))
            raise RuntimeError("third")
    assert steps.undone == ["b", "a"]


async def test_an_undo_that_fails_does_not_keep_the_others() -> None:
    steps = Steps()
    with pytest.raises(RuntimeError, match="first"):
        async with Undo() as undo:
            undo.push(*steps.step("a"))
            undo.push(*steps.step("b", OSError("gone")))
            raise RuntimeError("first")
    assert steps.undone == ["b", "a"]


async def test_a_second_cancellation_does_not_interrupt_the_unwinding() -> None:
    steps = Steps()

    async def work() -> None:
        async with Undo() as undo:
            undo.push(*steps.step("a"))
            undo.push(*steps.step("b"))
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.undone == ["b", "a"]
