"""The process kube-ovn-controller: the I/O around the engine.

Reflectors fill the caches and mark keys; while this process leads, a loop asks the engine for batches, commits them and
hands to the API server what may be published. A follower keeps caches and replica warm and writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import structlog

from ovnloom.core import health
from ovnloom.core.batch import Batch, Failure
from ovnloom.core.config import Config
from ovnloom.core.desired.publish import Write
from ovnloom.core.engine import Engine
from ovnloom.core.ipam.allocator import Ipam
from ovnloom.core.kube import backoff, crds
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import ApiError, Client
from ovnloom.core.kube.events import Events
from ovnloom.core.kube.leader import Leader
from ovnloom.core.kube.objects import Kind, Object, kind_id
from ovnloom.core.kube.reflector import Reflector
from ovnloom.core.kube.writer import NotLeader, Verdict, Writer, Written
from ovnloom.core.names import CONTROLLER
from ovnloom.core.ovn import batcher
from ovnloom.core.ovn.remote import Tls
from ovnloom.core.ovn.session import Session
from ovnloom.core.plugins import PluginSet

log = structlog.get_logger()

LOCK = "ovnloom"
CLUSTER_ID = uuid5(NAMESPACE_URL, "ovnloom")  # a northbound database serves one cluster
WINDOW = 0.005  # seconds: how long a batch gathers while work keeps coming
STATUS_PAUSE = 1.0  # seconds between two writes of the status of one object


@dataclass(frozen=True, slots=True)
class Options:
    """*nb* as OVN writes remotes: ``unix:PATH`` or ``ssl:HOST:PORT,…``. *port* serves /healthz, /readyz and /metrics; 0: not."""

    nb: str
    kubeconfig: str = ""
    tls: Tls | None = None
    port: int = 0
    identity: str = ""


def union(kinds: Iterable[Kind[Object]]) -> list[Kind[Object]]:
    """One of each kind, in the order of first mention, with everybody's indexes. Raises ``ValueError`` on two structs for one kind."""
    found: dict[str, Kind[Object]] = {}
    for kind in kinds:
        other = found.setdefault(kind_id(kind), kind)
        if other.struct is not kind.struct:
            raise ValueError(f"{kind_id(kind)} is asked for as {other.struct.__name__} and as {kind.struct.__name__}")
        found[kind_id(kind)] = replace(other, indexes={**other.indexes, **kind.indexes})
    return list(found.values())


class Controller:
    def __init__(self, config: Config, plugins: PluginSet, options: Options) -> None:
        self.config, self.options = config, options
        self.kinds = union(kind for o in plugins.fan_out("resource_kinds") for kind in o.result or ())
        self.client = Client.load(options.kubeconfig)
        self.caches: dict[str, Cache[Object]] = {kind_id(kind): Cache(kind, self._changed) for kind in self.kinds}
        self.engine = Engine(plugins, self.caches, Ipam(), order=self.kinds, cluster=CLUSTER_ID)
        self.reflectors = {name: Reflector(self.client, cache) for name, cache in self.caches.items()}
        identity = options.identity or os.environ.get("POD_NAME") or socket.gethostname()
        self.leader = Leader(self.client, config.cluster.namespace, CONTROLLER, identity, started=self._lead, stopped=self._stop_leading)
        self.writer = Writer(self.client, self.caches, self.leader.may_write)
        self.events = Events(self.writer, CONTROLLER)
        self._session: Session | None = None
        self._synced = False
        self._work = asyncio.Event()
        self._status_work = asyncio.Event()
        self._leading: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._touched: set[str] = set()

    async def run(self) -> None:
        """Until cancelled. Raises ``ConfigError`` if the cluster lacks a kind."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.client.close)
            await stack.enter_async_context(health.serving(self.options.port, self.unready))
            await self._persist("the kinds", lambda: crds.check(self.client, self.kinds))
            session = self._session = Session("OVN_Northbound", self.options.nb, LOCK, tls=self.options.tls, entitled=self.leader.may_write)
            session.on_change(self._row_changed)
            session.on_resync(self._reload)
            for reflector in self.reflectors.values():
                task = asyncio.create_task(reflector.run())
                task.add_done_callback(_end_process_on_bug)
                stack.callback(task.cancel)
            await asyncio.gather(session.start(), *(reflector.synced() for reflector in self.reflectors.values()))
            stack.push_async_callback(session.stop)
            gc.collect()
            gc.freeze()
            self._synced = True
            log.info("caches.full", objects={name: len(cache) for name, cache in self.caches.items()})
            await self.leader.run()

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    def unready(self) -> list[str]:
        """What is missing for this process to lead or to take over at once, as sentences."""
        lacking = [] if self._synced else ["the caches or the copy of the northbound database are not full yet"]
        if self._session is None or not self._session.connected:
            lacking.append(f"no connection to the northbound database at {self.options.nb}")
        return lacking

    # leading

    def _lead(self) -> None:
        self.engine.load()
        self._leading = [asyncio.create_task(job) for job in (self._work_on(), self._publish_statuses(), self.events.run())]
        for task in self._leading:
            task.add_done_callback(_end_process_on_bug)
        self._wake()

    async def _stop_leading(self) -> None:
        for task in (*self._leading, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._leading, *self._tasks, return_exceptions=True)
        self._leading = []
        await self.session.drop_lock()

    async def _work_on(self) -> None:
        await self.session.take_lock()
        committed = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            await self._work.wait()
            if clock() - committed < WINDOW:
                await asyncio.sleep(WINDOW)  # under load: what comes meanwhile is part of the next transaction
            self._work.clear()
            while self.engine.busy:
                batch = self.engine.step(self.session.replica)
                self._refresh(batch)
                self._touched = {op.uuid for unit in batch.units for op in unit.ops}
                results = await self.session.commit(batch.units) if batch.units else []
                committed = clock() if batch.units else committed
                writes, failures = self.engine.done(batch, results)
                self._report(failures)
                for write in writes:
                    self._spawn(self._write(write))
                if any(r.outcome in (batcher.Outcome.AGAIN, batcher.Outcome.NOT_LOCKED) for r in results):
                    await self.session.usable()
                await asyncio.sleep(0)
            if self.engine.publisher.statuses:
                self._status_work.set()

    def _refresh(self, batch: Batch) -> None:
        for kind in batch.refresh:
            self._spawn(self._refreshed(kind))

    async def _refreshed(self, kind: str) -> None:
        await self._fresh(kind)
        self.engine.refreshed(kind)
        self._wake()

    async def _fresh(self, kind: str) -> None:
        """A list of *kind* that began after now, however long the API server takes to answer."""
        await self._persist(kind, self.reflectors[kind].refresh)

    @staticmethod
    async def _persist(what: str, ask: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                return await ask()
            except ApiError as error:
                failures += 1
                log.warning("api.failed", asked=what, reason=str(error))
                await asyncio.sleep(backoff.delay(failures, first=0.2, most=10.0))

    def _report(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            if failure.retry is not None:
                asyncio.get_running_loop().call_later(failure.retry, self._retry, failure)
            cache = self.caches.get(failure.key.kind)
            obj = cache.by_key(failure.key) if cache else None
            if cache and obj and failure.reason != "Waiting":
                log.warning("object.failed", object=str(failure.key), reason=failure.reason, sentence=failure.sentence)
                self.events.warn(cache.kind, obj, failure.reason, failure.sentence)

    def _retry(self, failure: Failure) -> None:
        self.engine.retry(failure.key)
        self._wake()

    # publishing

    async def _write(self, write: Write) -> None:
        kind = self.caches[write.key.kind].kind
        try:
            if write.verb == "create":
                written = await self.writer.create(kind, write.body)
            elif write.verb == "delete":
                written = await self.writer.delete(kind, write.key, write.uid)
            else:
                written = await self.writer.patch(kind, write.key, write.body, uid=write.uid)
        except NotLeader:
            return
        if not written.ok:
            await self._not_written(write, written)
        self.engine.publisher.wrote(write, again=not written.ok and written.verdict is not Verdict.REFUSED)
        self._wake()

    async def _not_written(self, write: Write, written: Written) -> None:
        log.warning("write.failed", object=str(write.key), verb=write.verb, verdict=written.verdict.value, reason=written.reason)
        if written.verdict is Verdict.CONFLICT:
            await self._fresh(write.key.kind)
        elif written.verdict is Verdict.RETRY:
            await asyncio.sleep(written.after)

    async def _publish_statuses(self) -> None:
        while True:
            await self._status_work.wait()
            self._status_work.clear()
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for write in self.engine.statuses(now):
                kind = self.caches[write.key.kind].kind
                written = await self.writer.patch(kind, write.key, write.body, subresource="status", uid=write.uid)
                if written.verdict is Verdict.RETRY:
                    self.engine.publisher.status_due(write.key)
            await asyncio.sleep(STATUS_PAUSE)

    # news

    def _changed(self, kind: Kind[Any], key: Any, old: Object | None, new: Object | None) -> None:
        self.engine.changed(kind, key, old, new)
        self._wake()

    def _row_changed(self, table: str, uuid: str, old: object, new: object) -> None:
        if self._leading and uuid not in self._touched and (key := self.session.replica.key_of(table, uuid)):
            self.engine.observe(key)
            self._wake()

    def _reload(self) -> None:
        if self._leading:
            self.engine.load()
            self._wake()

    def _wake(self) -> None:
        if self._leading:
            self._work.set()

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_end_process_on_bug)


def _end_process_on_bug(task: asyncio.Task[None]) -> None:
    """A loop that ended by a bug must not leave a process that looks alive."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("task.failed", exc_info=error)
        os._exit(70)
