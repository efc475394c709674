"""A session with an OVSDB server: a replica that is kept current, and transactions.

One connection does both, so the server's news of a commit comes before its answer: when ``transact`` returns, the
replica contains what was committed. A lost connection is made anew; then everything is loaded again, listeners hear
what differs, and ``on_resync`` is called.

The lock is OVSDB's own (ovsdb-server(7), 4.1.8-4.1.10). It is taken from whoever holds it, because being entitled to
it is decided elsewhere; each transaction asserts it. Who was robbed of it does not ask for it again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import structlog

from ovnloom.core.ovn import batcher, connection
from ovnloom.core.ovn.columns import Schema, Table
from ovnloom.core.ovn.connection import Answer, Status
from ovnloom.core.ovn.ops import Unit
from ovnloom.core.ovn.remote import Tls, endpoints, fetch_schema
from ovnloom.core.ovn.replica import Listener, OutOfSync, Replica
from ovnloom.core.ovn.schema import TABLES

__all__ = ["Answer", "Session", "Status", "Tls"]

log = structlog.get_logger()

Notice: TypeAlias = Callable[[], None]


class Session:
    """*remote* as OVN writes it. *tables* of ``schema.py`` to replicate, ``None``: all the server has.

    With *lock*, nothing is written before ``take_lock``. After a reconnection it is taken again if it was held and
    *entitled* says so (called in another thread: it may only read). *probe* is in seconds.
    """

    def __init__(
        self,
        database: str,
        remote: str,
        lock: str | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        tls: Tls | None = None,
        tables: Collection[str] | None = None,
        *,
        entitled: Callable[[], bool] = lambda: True,
        leader_only: bool = True,
        probe: float = 10.0,
    ) -> None:
        endpoints(remote)
        self._database, self._remote, self._lock, self._tls = database, remote, lock, tls
        self._wanted = TABLES.keys() if tables is None else set(tables)
        self._loop = loop or asyncio.get_running_loop()
        self._entitled, self._leader_only, self._probe = entitled, leader_only, probe
        self._api: connection.Api | None = None
        self._replica: Replica | None = None
        self._loaded, self._holding = asyncio.Event(), asyncio.Event()
        self._turn = asyncio.Lock()
        self._answer: asyncio.Future[Any] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._was_loaded = self._stopped = self._broken = False
        self._changes: list[Listener] = []
        self._resyncs: list[Notice] = []
        self._locks: list[Callable[[bool], None]] = []

    # state

    @property
    def replica(self) -> Replica:
        if self._replica is None:
            raise RuntimeError("the session is not started")
        return self._replica

    @property
    def schema(self) -> Schema:
        return self.replica.schema

    @property
    def connected(self) -> bool:
        """Whether the replica is as new as the server."""
        return self._loaded.is_set()

    @property
    def locked(self) -> bool:
        """Whether the server says that we hold the lock."""
        return self._holding.is_set()

    @property
    def requests(self) -> int:
        """How many ``transact`` requests were sent."""
        return self._api.ovsdb_connection.idl.requests if self._api else 0

    def on_change(self, callback: Listener) -> None:
        """As ``Replica.listen``; what is there when the session starts is no change."""
        self._changes.append(callback)

    def on_resync(self, callback: Notice) -> None:
        """Called when the replica was loaded again after a lost connection."""
        self._resyncs.append(callback)

    def on_lock(self, callback: Callable[[bool], None]) -> None:
        """Called when the lock is won (true) or lost."""
        self._locks.append(callback)

    # life

    async def start(self) -> None:
        """Returns when the replica is loaded; waits for a server as long as it takes."""
        json = await fetch_schema(self._remote, self._database, self._tls)
        schema = Schema(json)
        tables = {table.name: _replicated(table) for table in schema.known(self._wanted)}
        self._replica = Replica(schema, tables)
        if self._tls:
            connection.use_tls(self._tls.key, self._tls.certificate, self._tls.ca)
        self._api = connection.make(
            self._remote,
            json,
            {name: list(table.columns) for name, table in tables.items()},
            _Inbox(self),
            lock=self._lock,
            probe=self._probe,
            leader_only=self._leader_only,
        )
        self._api.ovsdb_connection.start()
        await self._loaded.wait()
        for callback in self._changes:
            self._replica.listen(callback)

    async def stop(self) -> None:
        """Ends the connection. Who waits for an answer gets ``AGAIN``."""
        if self._stopped or self._api is None:
            return
        self._stopped = True
        await asyncio.to_thread(self._api.ovsdb_connection.stop)
        self._loaded.set()
        self._deliver(Answer(Status.AGAIN))

    async def usable(self) -> None:
        """Returns when transactions can be sent: the replica is current and the lock, if any, is ours."""
        await self._loaded.wait()
        if self._lock:
            await self._holding.wait()

    async def take_lock(self) -> None:
        """Takes the lock from whoever has it; returns when it is ours."""
        await self._do(connection.Idl.take_lock)
        await self._holding.wait()

    async def drop_lock(self) -> None:
        """Gives the lock back; returns when nothing is written any more."""
        await self._do(connection.Idl.drop_lock)

    # writing

    async def transact(self, operations: Sequence[dict[str, Any]]) -> Answer:
        """One transaction of operations as RFC 7047 5.2 has them; none is sent for no operations.

        ``AGAIN`` comes when the replica is current again, so that the caller can compare at once. A caller that is
        cancelled does not stop a transaction that is under way.
        """
        if not operations:
            return Answer(Status.DONE)
        api = self._started()
        transaction = api.create_transaction()
        transaction.add(connection.Apply(api, operations))
        answer: Answer = await self._submit(transaction)
        if answer.status is Status.AGAIN:
            await self._loaded.wait()
        return answer

    async def commit(self, units: Sequence[Unit]) -> list[batcher.UnitResult]:
        """*units* in one transaction if the server agrees; see ``batcher``."""
        return await batcher.commit(self, units)

    async def _do(self, work: Callable[[connection.Idl], None]) -> None:
        idl = self._started().ovsdb_connection.idl
        await self._submit(connection.Job(lambda: work(idl), self._post_answer))

    async def _submit(self, job: connection.Attempt | connection.Job) -> Any:
        """A caller that is cancelled leaves: the job keeps its turn until it is answered."""
        task = self._loop.create_task(self._take_turn(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _take_turn(self, job: connection.Attempt | connection.Job) -> Any:
        async with self._turn:
            if self._stopped:
                return Answer(Status.AGAIN)
            self._answer = self._loop.create_future()
            job.results = connection.Outbox(self._post_answer)
            self._started().ovsdb_connection.submit(job)
            return await self._answer

    def _started(self) -> connection.Api:
        if self._api is None:
            raise RuntimeError("the session is not started")
        return self._api

    def _post_answer(self, answer: Any) -> None:
        self._loop.call_soon_threadsafe(self._deliver, answer)

    def _deliver(self, answer: Any) -> None:
        if self._answer is None or self._answer.done():
            return
        if isinstance(raised := getattr(answer, "ex", None), BaseException):
            self._answer.set_exception(raised)
        else:
            self._answer.set_result(answer)

    # what the connection says

    def _load(self, updates: Any) -> None:
        self._broken = False
        self.replica.load(updates)

    def _update(self, updates: Any) -> None:
        if self._broken:
            return
        try:
            self.replica.apply(updates)
        except OutOfSync as reason:
            log.error("replica.out_of_sync", reason=str(reason))
            self._broken = True
            self._loaded.clear()
            task = self._loop.create_task(self._do(connection.Idl.reload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _state(self, connected: bool, locked: bool) -> None:
        if connected and not self._loaded.is_set() and not self._broken:
            self._loaded.set()
            if self._was_loaded:
                log.info("replica.resynced", rows=len(self.replica))
                for resynced in self._resyncs:
                    resynced()
            self._was_loaded = True
        elif not connected and self._loaded.is_set():
            log.warning("ovsdb.disconnected", database=self._database, remote=self._remote)
            self._loaded.clear()
        if locked != self.locked:
            (self._holding.set if locked else self._holding.clear)()
            for told in self._locks:
                told(locked)


class _Inbox:
    """From the connection's thread to the loop, in order."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._post = session._loop.call_soon_threadsafe
        self.entitled = session._entitled

    def loaded(self, updates: Any) -> None:
        self._post(self._session._load, updates)

    def updated(self, updates: Any) -> None:
        self._post(self._session._update, updates)

    def state(self, connected: bool, locked: bool) -> None:
        self._post(self._session._state, connected, locked)


def _replicated(table: Table) -> Table:
    """*table* without its volatile columns."""
    kept = {name: column for name, column in table.columns.items() if name not in TABLES[table.name].volatile}
    return Table(table.name, kept, table.root)
