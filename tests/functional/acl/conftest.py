from __future__ import annotations

from tests.functional.ovn.conftest import connect, limit
from tests.functional.ovn_server import ovn

__all__ = ["connect", "limit", "ovn"]
