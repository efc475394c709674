"""Waiting for a state without polling: who changes the state says so, and the waiters whose wish came true go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Signal:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiters: dict[asyncio.Future[Any], Callable[[], Any]] = {}
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Has *listener* called at every change."""
        self._listeners.append(listener)

    def changed(self) -> None:
        for listener in self._listeners:
            listener()
        for future, wish in list(self._waiters.items()):
            if future.done():
                continue
            try:
                found = wish()
            except Exception as error:  # the wish says that it can never come true: told to its owner, not to who changed the state
                future.set_exception(error)
                continue
            if found is not None:
                future.set_result(found)

    async def until(self, wish: Callable[[], T | None]) -> T:
        """What *wish* returns, as soon as that is not ``None``. What it raises is raised here."""
        if (found := wish()) is not None:
            return found
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiters[future] = wish
        try:
            return await future
        finally:
            del self._waiters[future]
