"""Who leads: the holder of a Lease (``coordination.k8s.io/v1``), one process at a time.

No clock is compared with another machine's. A standby measures, by its own monotonic clock, how long the Lease has not
changed; the leader may write for a shorter time after it last *asked* for a renewal that was granted. A released Lease
is taken at once, because its release is watched. Steps follow the leader election of Kubernetes' own components.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import MERGE_PATCH, ApiError, Client
from ovnloom.core.kube.objects import Key, Kind, Object
from ovnloom.core.kube.reflector import Reflector
from ovnloom.core.kube.wire import decode

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: a leader that is silent for *lease* is deposed, one that cannot renew for *renew* stops; it renews every *retry*."""

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease > self.renew > self.retry > 0:
            raise ValueError(
                f"lease ({self.lease} s) must be longer than renew ({self.renew} s), and that longer than retry ({self.retry} s)"
            )


class LeaseSpec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Object):
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease", Lease)


class Leader:
    """Runs for the Lease *namespace*/*name* under *identity*, which no other living process has: whoever finds it there goes on leading.

    *started* is called when it leads. When it does not any more, *stopped* is awaited: it ends what must not go on.
    After that it runs again, or, if ``run`` was cancelled, gives the Lease back, so that a standby leads at once.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        started: Callable[[], None],
        stopped: Callable[[], Awaitable[None]],
        terms: Terms | None = None,
    ) -> None:
        self._client, self._namespace, self._name, self.identity = client, namespace, name, identity
        self._started, self._stopped, self._terms = started, stopped, terms or Terms()
        self._kind = dataclasses.replace(LEASES, field_selector=f"metadata.name={name}")
        self._cache: Cache[Lease] = Cache(self._kind, self._seen)
        self._reflector = Reflector(client, self._cache, namespace=namespace, page=1)
        self._changed = asyncio.Event()
        self._changed_at = time.monotonic()
        self._log = log.bind(lease=f"{namespace}/{name}", identity=identity)
        self.deadline = 0.0  # of time.monotonic(): until then, nobody else leads

    def may_write(self) -> bool:
        return time.monotonic() < self.deadline

    @property
    def holder(self) -> str:
        """Who leads, as far as is known; empty: nobody."""
        lease = self._cache.get(self._namespace, self._name)
        return (lease.spec.holder_identity or "") if lease else ""

    async def run(self) -> None:
        """Never returns. Cancel it to give the Lease back."""
        watching = asyncio.create_task(self._reflector.run())
        try:
            await self._reflector.synced()
            while True:
                await self._acquire()
                await self._lead()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._release()

    def _seen(self, kind: Kind[Any], key: Key, old: Object | None, new: Object | None) -> None:
        self._changed_at = time.monotonic()
        self._changed.set()

    async def _change(self, seconds: float) -> None:
        """Returns when the Lease changes, at the latest after *seconds*."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _free_in(self) -> float:
        """Seconds until the Lease may be taken, unless it changes."""
        lease = self._cache.get(self._namespace, self._name)
        if lease is None or lease.spec.holder_identity in (None, "", self.identity):
            return 0.0
        return self._changed_at + (lease.spec.lease_duration_seconds or self._terms.lease) - time.monotonic()

    async def _acquire(self) -> None:
        while True:
            self._changed.clear()
            wait = self._free_in()
            if wait <= 0:
                if await self._attempt():
                    return
                wait = self._terms.retry
            await self._change(wait)

    async def _lead(self) -> None:
        self._log.info("lease.held")
        why = "the process ends"
        try:
            self._started()
            why = await self._renew_until_lost()
        finally:
            self.deadline = 0.0
            self._log.info("lease.left", reason=why)
            await self._stopped()

    async def _renew_until_lost(self) -> str:
        while True:
            await self._change(min(self._terms.retry, max(0.0, self.deadline - time.monotonic())))
            self._changed.clear()
            if self.holder not in ("", self.identity):
                return f"{self.holder} took it"
            if not self.may_write():
                return f"it could not be renewed for {self._terms.renew:g} s"
            await self._attempt()

    async def _attempt(self) -> bool:
        """Asks for the Lease, on condition that it is still as it was last seen."""
        asked = time.monotonic()
        lease = self._cache.get(self._namespace, self._name)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {"holderIdentity": self.identity, "leaseDurationSeconds": max(1, round(self._terms.lease)), "renewTime": now}
        if self.holder != self.identity:
            spec |= {"acquireTime": now, "leaseTransitions": (lease.spec.lease_transitions or 0) + 1 if lease else 0}
        try:
            await self._send(lease, spec)
        except ApiError as error:
            self._log.info("lease.not_granted", reason=str(error))
            await self._look_again(error)
            return False
        self.deadline = asked + self._terms.renew
        self._changed.clear()  # the change was ours
        return True

    async def _send(self, lease: Lease | None, spec: dict[str, Any]) -> None:
        if lease is None:
            method, path, kind = "POST", self._kind.path(self._namespace), "application/json"
            body: dict[str, Any] = {"apiVersion": self._kind.api_version, "kind": "Lease", "metadata": {"name": self._name}, "spec": spec}
        else:
            method, path, kind = "PATCH", self._kind.path(self._namespace, self._name), MERGE_PATCH
            body = {"metadata": {"resourceVersion": lease.metadata.resource_version}, "spec": spec}
        answer = await self._client.request(method, path, body=msgspec.json.encode(body), content_type=kind, within=self._terms.renew / 2)
        self._cache.upsert(decode(self._kind, answer))

    async def _look_again(self, error: ApiError) -> None:
        if not (error.conflict or error.not_found):
            return
        try:
            await self._reflector.refresh()
        except ApiError as failed:
            self._log.info("lease.unknown", reason=str(failed))

    async def _release(self) -> None:
        lease = self._cache.get(self._namespace, self._name)
        if lease is None or self.holder != self.identity:
            return
        try:
            await self._send(lease, {"holderIdentity": None, "leaseDurationSeconds": 1})
            self._log.info("lease.released")
        except ApiError as error:
            self._log.info("lease.not_released", reason=str(error))
