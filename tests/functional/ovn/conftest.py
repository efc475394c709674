from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from ovnloom.core.ovn.session import Session
from tests.functional.ovn_server import Ovn, cluster, nb, ovn

__all__ = ["cluster", "nb", "ovn"]

Open: TypeAlias = Callable[..., Coroutine[Any, Any, Session]]


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
