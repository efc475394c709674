from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest

from ovnloom.core.ovn.session import Session
from tests.functional.ovn_server import Ovn, cluster, nb, ovn

__all__ = ["cluster", "nb", "ovn"]

Open: TypeAlias = Callable[..., Coroutine[Any, Any, Session]]


LIMIT = 120  # seconds


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """A session that waits for what never comes fails its test instead of stopping all of them."""

    def late(*_: object) -> None:
        raise TimeoutError(f"still waiting after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    """Opens sessions with the northbound database at a remote, which end with the test."""
    sessions: list[Session] = []

    async def connect(remote: str, **options: Any) -> Session:
        session = Session("OVN_Northbound", remote, **options)
        sessions.append(session)
        await session.start()
        return session

    yield connect
    for session in sessions:
        await session.stop()


@pytest.fixture
async def session(nb: Ovn, connect: Open) -> Session:
    """Without a lock, on an empty northbound database."""
    return await connect(nb.remote("nb"))
