"""The thread that talks to the database: ovsdbapp's connection over an ``ovs`` session that keeps no rows of its own.

Updates go as they come to the event loop; so do answers, after the updates that the server sent before them. ``ovs``
and ``ovsdbapp`` are untyped: this module and ``jsonrpc.py`` are all that core lets them touch.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

import ovs.db.idl
import ovs.poller
import ovs.stream
from ovsdbapp.backend.ovs_idl import Backend
from ovsdbapp.backend.ovs_idl import connection as ovsdbapp_connection
from ovsdbapp.backend.ovs_idl.command import BaseCommand
from ovsdbapp.backend.ovs_idl.transaction import Transaction

from ovnloom.core.ovn import jsonrpc

BACKOFF = (1000, 2000)  # milliseconds between two attempts to connect
_WORLD = ("cluster error", "I/O error", "timed out", "aborted")  # what may work the next time
_NO_TXN = "00000000-0000-0000-0000-000000000000"
_PRIVATE = ("__parse_update", "__clear", "__send_lock_request", "__send_unlock_request", "__do_send_lock_request", "__parse_lock_notify")
if missing := [name for name in _PRIVATE if not hasattr(ovs.db.idl.Idl, f"_Idl{name}")]:
    raise ImportError(f"this version of ovs is built otherwise: Idl has no {', '.join(missing)}; ovs 3.5 to 4.0 are known to work")


class Status(Enum):
    """What became of a transaction. ``AGAIN``: nobody knows (the connection broke), or the cluster could not take it."""

    DONE = "done"
    AGAIN = "again"
    NOT_LOCKED = "not locked"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Answer:
    """*error* is in the server's words. *index* is the operation it is about, ``None`` if it came with the commit."""

    status: Status
    results: Sequence[Any] = ()
    error: str = ""
    index: int | None = None


class Listener(Protocol):
    """Who hears of the session; called in the connection's thread, in the order in which the server spoke."""

    def loaded(self, updates: Any) -> None: ...
    def updated(self, updates: Any) -> None: ...
    def state(self, connected: bool, locked: bool) -> None: ...
    def entitled(self) -> bool: ...


class Idl(ovs.db.idl.Idl):  # type: ignore[misc]  # ovs is untyped
    """Connects, monitors and locks as its base does, and passes updates on instead of building rows.

    The base's own names (``_Idl__…``) are overridden because it offers no hook in front of its parser.
    """

    _session: Any

    def __init__(self, remote: str, helper: Any, listener: Listener, *, lock: str | None, probe: float, leader_only: bool) -> None:
        super().__init__(remote, helper, probe_interval=int(probe * 1000), leader_only=leader_only)
        self._session = jsonrpc.Session.instead_of(self._session)
        self._session.reconnect.set_backoff(*BACKOFF)
        self._listener = listener
        self._fresh = False
        self._told = (False, False)
        self.wants_lock = False
        self.requests = 0
        self.lock_name = lock  # set_lock() would ask for it, and wait in line

    def run(self) -> bool:
        changed = bool(super().run())
        self._tell()
        return changed

    def _tell(self) -> None:
        now = (self.up, bool(self.has_lock))
        if now != self._told:
            self._told = now
            self._listener.state(*now)

    @property
    def up(self) -> bool:
        """Connected, and everything there is has been passed on."""
        return bool(self._session.is_connected()) and self.state == self.IDL_S_MONITORING and self._session.get_seqno() == self._last_seqno

    def take_lock(self) -> None:
        """Takes the lock from whoever holds it, now or as soon as there is a connection."""
        self.wants_lock = True
        if self._session.is_connected() and not self.has_lock:
            self._Idl__send_lock_request()

    def drop_lock(self) -> None:
        self.wants_lock = False
        if self.has_lock:
            self._Idl__send_unlock_request()
            self._tell()

    def reload(self) -> None:
        """Connects anew and loads everything, whatever the server could tell from its history."""
        self.last_id = _NO_TXN
        self.force_reconnect()

    def _Idl__clear(self) -> None:
        self._fresh = True

    def _Idl__parse_update(self, update: Any, version: str, tables: Any = None) -> None:
        if tables:
            super()._Idl__parse_update(update, version, tables)
        elif self._fresh:
            self._fresh = False
            self._listener.loaded(update)
        else:
            self._listener.updated(update)

    def _Idl__send_lock_request(self) -> None:
        if self.wants_lock and self._listener.entitled():
            self._lock_request_id = self._Idl__do_send_lock_request("steal")
        else:
            self.has_lock = False

    def _Idl__parse_lock_notify(self, params: Any, new_has_lock: bool) -> None:
        super()._Idl__parse_lock_notify(params, new_has_lock)
        if not new_has_lock and params and params[0] == self.lock_name:
            self.wants_lock = False
            self._Idl__send_unlock_request()  # else the lock would come back when the thief is gone


class _Recorded(ovs.db.idl.Transaction):  # type: ignore[misc]  # ovs is untyped
    """Keeps the reply, of which its base remembers only the first error."""

    reply: Any = None

    def _process_reply(self, msg: Any) -> None:
        super()._process_reply(msg)
        self.reply = msg

    def answer(self, status: str, *, locked: bool) -> Answer:
        if status in (self.SUCCESS, self.UNCHANGED):
            return Answer(Status.DONE, self.reply.result[1 if locked else 0 :] if self.reply else ())
        if status == self.NOT_LOCKED:
            return Answer(Status.NOT_LOCKED)
        if status != self.ERROR:
            return Answer(Status.AGAIN)
        if not isinstance(results := self.reply.result, list):
            again = self.reply.error == "canceled"  # the server is losing the database
            return Answer(Status.AGAIN) if again else Answer(Status.ERROR, error=_words(self.reply.error))
        first = 1 if locked else 0
        for index, result in enumerate(results[first:]):
            if isinstance(result, dict) and "error" in result:
                if result["error"] in _WORLD:
                    return Answer(Status.AGAIN, error=_words(result))
                return Answer(Status.ERROR, error=_words(result), index=None if index == len(self._operations) else index)
        return Answer(Status.ERROR, error=_words(results))


def _words(error: Any) -> str:
    if isinstance(error, dict):
        return ": ".join(str(error[name]) for name in ("error", "details") if error.get(name))
    return str(error)


class Apply(BaseCommand):  # type: ignore[misc]  # ovsdbapp is untyped
    """Prepared operations, whatever they do."""

    def __init__(self, api: Any, operations: Iterable[dict[str, Any]]) -> None:
        super().__init__(api)
        self.operations = operations

    def run_idl(self, txn: Any) -> None:
        for operation in self.operations:
            txn.add_op(operation)


class Outbox:
    """Takes the place of ovsdbapp's result queue: puts a job's result where *deliver* says, without a waiting thread."""

    def __init__(self, deliver: Callable[[Any], None]) -> None:
        self.put = deliver


class Job:
    """Something done in the connection's thread, between transactions."""

    def __init__(self, work: Callable[[], None], deliver: Callable[[Any], None]) -> None:
        self.do_commit, self.results = work, Outbox(deliver)


class Attempt(Transaction):  # type: ignore[misc]  # ovsdbapp is untyped
    """A transaction that is tried once: what failed for a changed or lost database has to be composed anew."""

    def do_commit(self) -> Answer:
        idl = self.api.idl
        txn = _Recorded(idl)
        try:
            for command in self.commands:
                command.run_idl(txn)
            status = txn.commit()
        finally:
            if idl.txn is txn:
                txn.abort()
        idl.requests += status == txn.INCOMPLETE
        while status == txn.INCOMPLETE:
            idl.run()
            if (status := txn.commit()) == txn.INCOMPLETE:
                if not idl.up or not self.ovsdb_connection.is_running:
                    return Answer(Status.AGAIN)
                self.ovsdb_connection.wait_for_news()
        return txn.answer(status, locked=bool(idl.lock_name))


class Api(Backend):  # type: ignore[misc]  # ovsdbapp is untyped
    """Its base keeps one connection for all objects of a class; here each has its own."""

    ovsdb_connection: Any = None
    lookup_table: ClassVar[dict[str, Any]] = {}

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, start=False, auto_index=False)

    def create_transaction(self, check_error: bool = True, log_errors: bool = False, **_: Any) -> Attempt:
        return Attempt(self, self.ovsdb_connection, check_error=check_error, log_errors=log_errors)


class Connection(ovsdbapp_connection.Connection):  # type: ignore[misc]  # ovsdbapp is untyped
    """ovsdbapp's thread, started without waiting for a server. At most one job may be submitted at a time."""

    def __init__(self, idl: Idl, name: str) -> None:
        super().__init__(idl, timeout=0)
        self._name = name

    def start(self) -> bool:
        self.poller = ovs.poller.Poller()
        self.is_running = True
        self.thread = threading.Thread(target=self.run, name=self._name, daemon=True)
        self.thread.start()
        return True

    def submit(self, job: Job | Attempt) -> None:
        """Never blocks: the queue is empty, because the last job has been answered."""
        self.txns.put(job)

    def wait_for_news(self) -> None:
        """Blocks until the server says something or ``stop`` is called."""
        poller = ovs.poller.Poller()
        self.idl.wait(poller)
        poller.fd_wait(self.txns.alert_fileno, select.POLLIN)
        poller.block()


def make(
    remote: str,
    schema: dict[str, Any],
    columns: dict[str, list[str]],
    listener: Listener,
    *,
    lock: str | None,
    probe: float,
    leader_only: bool,
) -> Api:
    """An API whose connection is not yet started. *columns* by table are those to monitor."""
    helper = ovs.db.idl.SchemaHelper(None, schema)
    for table, names in columns.items():
        helper.register_columns(table, names)
    idl = Idl(remote, helper, listener, lock=lock, probe=probe, leader_only=leader_only)
    return Api(Connection(idl, f"ovsdb-{schema['name']}"))


def use_tls(key: str, certificate: str, ca: str) -> None:
    """``ovs`` knows one set of files for a whole process."""
    ovs.stream.Stream.ssl_set_private_key_file(key)
    ovs.stream.Stream.ssl_set_certificate_file(certificate)
    ovs.stream.Stream.ssl_set_ca_cert_file(ca)
