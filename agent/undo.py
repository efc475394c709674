"""Steps that can be taken back: what ADD has made goes again, in reverse order, if ADD does not succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

import structlog

log = structlog.get_logger()


class Undo:
    """Used as ``async with Undo() as undo``: leaving by an error, a timeout or a cancellation unwinds.

    A step is put on the stack *before* it is done, so its undo must work when the step was done by half or not at all.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    def push(self, name: str, undo: Callable[[], Awaitable[object]]) -> None:
        self._steps.append((name, undo))

    async def __aenter__(self) -> Undo:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            return
        unwinding = asyncio.ensure_future(self._unwind())
        while not unwinding.done():
            try:  # a second cancellation (the server stops) must not leave half a pod behind
                await asyncio.shield(unwinding)
            except asyncio.CancelledError:
                continue

    async def _unwind(self) -> None:
        while self._steps:
            name, undo = self._steps.pop()
            try:
                await undo()
            except (OSError, RuntimeError, TimeoutError) as error:
                log.warning("undo.failed", step=name, error=str(error))
