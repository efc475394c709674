from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from ovnloom.core.kube.client import Client
from tests.functional.apiserver import ApiServer, apiserver

__all__ = ["apiserver"]

_numbers = itertools.count()


@pytest.fixture
async def client(apiserver: ApiServer) -> AsyncIterator[Client]:
    async with Client.load(str(apiserver.kubeconfig)) as client:
        yield client


@pytest.fixture
def namespace(apiserver: ApiServer) -> Iterator[str]:
    """A namespace of the test's own."""
    yield apiserver.namespace(f"test-{next(_numbers)}")
