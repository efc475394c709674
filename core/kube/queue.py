"""Keys that wait to be worked on: each at most once, with a growing delay for those that fail.

A key, not an event: whoever takes one looks at the object as it is then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ovnloom.core.kube import backoff
from ovnloom.core.kube.objects import Key

FIRST, MOST = 0.2, 60.0  # seconds


class KeyQueue:
    """For one consumer in the same event loop."""

    def __init__(self, *, pause: Callable[[int], float] = lambda failures: backoff.delay(failures, first=FIRST, most=MOST)) -> None:
        self._pause = pause
        self._ready: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._later: dict[Key, asyncio.TimerHandle] = {}  # asked for by add_after
        self._retry: dict[Key, asyncio.TimerHandle] = {}  # asked for by fail
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def add(self, key: Key) -> None:
        """*key* is ready now, and a retry that waits for it is not needed any more."""
        self._cancel(self._retry, key)
        self._ready[key] = None
        self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """*key* gets ready in *seconds*, or earlier if that was asked for before. An ``add`` meanwhile does not take this back."""
        waiting = self._later.get(key)
        due = asyncio.get_running_loop().time() + seconds
        if waiting is None or due < waiting.when():
            self._cancel(self._later, key)
            self._later[key] = asyncio.get_running_loop().call_at(due, self._due, self._later, key)

    def fail(self, key: Key) -> float:
        """*key* gets ready again after a delay that doubles with each failure in a row. Returns it, in seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = self._pause(self._failures[key])
        self._cancel(self._retry, key)
        self._retry[key] = asyncio.get_running_loop().call_later(seconds, self._due, self._retry, key)
        return seconds

    def failures(self, key: Key) -> int:
        """How often *key* failed in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """*key* went well, or is gone: its failures are, too."""
        self._failures.pop(key, None)
        self._cancel(self._retry, key)

    async def get_batch(self) -> list[Key]:
        """All that is ready, in the order it got ready; waits until there is something."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        batch = list(self._ready)
        self._ready.clear()
        return batch

    def close(self) -> None:
        """Forgets everything that waits."""
        for timers in (self._later, self._retry):
            for key in list(timers):
                self._cancel(timers, key)
        self._ready.clear()
        self._failures.clear()

    def _due(self, timers: dict[Key, asyncio.TimerHandle], key: Key) -> None:
        del timers[key]
        self.add(key)

    def _cancel(self, timers: dict[Key, asyncio.TimerHandle], key: Key) -> None:
        timer = timers.pop(key, None)
        if timer is not None:
            timer.cancel()
