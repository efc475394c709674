"""Waiting for what has no event to wait for: a socket that answers, a program that is up."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 0.1


class TooLate(Exception):
    """Something did not become ready in time."""


def until(probe: Callable[[], bool], what: str, seconds: float) -> None:
    """Asks *probe* until it says yes. Raises ``TooLate`` after *seconds*."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TooLate(f"{what}: not within {seconds:.0f} s")
        time.sleep(INTERVAL)
