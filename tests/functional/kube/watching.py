"""What the tests of this folder share: pods, a list of what a sink heard, a running reflector, waiting for something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import Client
from ovnloom.core.kube.kinds import PODS, Pod
from ovnloom.core.kube.objects import Key, Kind, Object
from ovnloom.core.kube.reflector import Reflector
from ovnloom.core.kube.writer import Writer

T = TypeVar("T", bound=Object)


class Heard(NamedTuple):
    key: Key
    old: Object | None
    new: Object | None


class Ears(list[Heard]):
    """A sink that remembers."""

    def __call__(self, kind: Kind[Any], key: Key, old: Object | None, new: Object | None) -> None:
        self.append(Heard(key, old, new))

    def names(self) -> list[str]:
        return [f"{'+' if h.old is None else '-' if h.new is None else '~'}{h.key.name}" for h in self]


def pod(namespace: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def pod_key(namespace: str, name: str) -> Key:
    return Key("pods", namespace, name)


async def make_pods(client: Client, namespace: str, *names: str) -> None:
    writer = Writer(client, {}, lambda: True)
    for written in await asyncio.gather(*(writer.create(PODS, pod(namespace, name)) for name in names)):
        assert written.ok, written


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Waits for *condition*; a test that fails says where."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # a test asks the outside
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(reflector: Reflector[T]) -> AsyncIterator[None]:
    """Runs it; the block starts when the cache is complete."""
    task = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(20):
            await reflector.synced()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task  # raises what it died of


def pods_of(namespace: str, client: Client, ears: Ears | None = None, **options: Any) -> tuple[Cache[Pod], Reflector[Pod]]:
    cache: Cache[Pod] = Cache(PODS, ears)
    return cache, Reflector(client, cache, namespace=namespace, **options)
