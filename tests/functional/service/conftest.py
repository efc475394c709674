from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ovnloom.core.ovn.session import Session
from tests.functional.ovn_server import Ovn, ovn
from tests.functional.service.bridge import Bridge

__all__ = ["ovn"]


@pytest.fixture
async def bridge(ovn: Ovn) -> AsyncIterator[Bridge]:
    """A cluster of one node whose rows are in a real northbound database, which ovn-northd compiles."""
    ovn.northd()
    session = Session("OVN_Northbound", ovn.remote("nb"))
    await session.start()
    yield Bridge(ovn, session)
    await session.stop()
