"""The local Open vSwitch database: what of it the agent reads, kept current in the event loop, and one way to write.

The session lives in a thread of ovsdbapp's; it hands every change to the loop as frozen values. A commit's answer
comes after the changes it made, so whoever awaits ``commit`` finds them here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import structlog
from ovs.db.idl import SchemaHelper
from ovsdbapp import exceptions
from ovsdbapp.backend.ovs_idl.command import BaseCommand
from ovsdbapp.backend.ovs_idl.connection import Connection, OvsdbIdl
from ovsdbapp.backend.ovs_idl.transaction import Transaction

from ovnloom.agent.signal import Signal

log = structlog.get_logger()

Operation: TypeAlias = Mapping[str, Any]

_MAP = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}
_OPTIONAL = {"type": {"key": "string", "min": 0, "max": 1}}
_NUMBER = {"type": {"key": "integer", "min": 0, "max": 1}}


def _references(table: str) -> dict[str, Any]:
    return {"type": {"key": {"type": "uuid", "refTable": table}, "min": 0, "max": "unlimited"}}


_TEXT = {"type": "string"}
_COLUMNS: dict[str, dict[str, Any]] = {
    "Open_vSwitch": {"external_ids": _MAP, "bridges": _references("Bridge")},
    "Bridge": {"name": _TEXT, "ports": _references("Port"), "external_ids": _MAP},
    "Port": {"name": _TEXT, "interfaces": _references("Interface")},
    "Interface": {"name": _TEXT, "type": _TEXT, "mac": _OPTIONAL, "mtu_request": _NUMBER, "external_ids": _MAP, "error": _OPTIONAL},
}
# The columns that are read, as ovs-vswitchd.conf.db(5) types them; the server is asked for no others.
_SCHEMA: dict[str, Any] = {"name": "Open_vSwitch", "version": "8.0.0", "tables": {}}
_SCHEMA["tables"] = {table: {"columns": columns} for table, columns in _COLUMNS.items()}


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    uuid: str
    type: str = ""
    mac: str = ""
    error: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)
    mtu_request: int = 0


@dataclass(frozen=True, slots=True)
class Bridge:
    name: str
    uuid: str
    ports: frozenset[str] = frozenset()  # their uuids
    external_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Port:
    name: str
    uuid: str


ATTEMPT = 2.0  # seconds of waiting for a first connection, after which it is asked whether to go on


class SwitchError(RuntimeError):
    """The local switch refused a transaction, or was not there to take it."""


class Switch:
    """A view on the local switch. Everything but the session's thread belongs to the event loop."""

    def __init__(self, endpoint: str, *, timeout: float = 10.0) -> None:
        self.endpoint, self.timeout = endpoint, timeout
        self.connected = False
        self.external_ids: Mapping[str, str] = {}
        self.interfaces: dict[str, Interface] = {}
        self.ports: dict[str, Port] = {}
        self.bridges: dict[str, Bridge] = {}
        self.changes = Signal()
        self.commits = 0
        self._names: dict[tuple[str, str], str] = {}
        self._session: _Session | None = None
        self._connection: Connection | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ovsdb-commit")
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to connect, and goes on until it succeeds. Nothing here waits for that: see ``connected`` and ``changes``."""
        self._session = _Session(self, asyncio.get_running_loop())
        self._connection = Connection(self._session, timeout=ATTEMPT)
        self._starting = asyncio.create_task(self._connect(self._connection))

    async def _connect(self, connection: Connection) -> None:
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._writer, connection.start)
            except exceptions.TimeoutException:
                log.warning("switch.absent", endpoint=self.endpoint)

    async def stop(self) -> None:
        if self._starting:
            self._starting.cancel()
        if self._connection and self._connection.is_running:
            await asyncio.to_thread(self._connection.stop, 2.0)
        self._writer.shutdown(wait=False, cancel_futures=True)

    async def commit(self, operations: Sequence[Operation]) -> None:
        """Sends *operations* (RFC 7047, section 5.2) as one transaction. Raises ``SwitchError``."""
        if not operations:
            return
        if not self.connected or self._connection is None:
            raise SwitchError(f"no connection to the local switch at {self.endpoint}")
        self.commits += 1
        transaction = Transaction(self._session_api(), self._connection, timeout=self.timeout, check_error=True, log_errors=False)
        transaction.add(_Operations(self._session_api(), operations))
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, transaction.commit)
        except (RuntimeError, exceptions.TimeoutException) as error:
            raise SwitchError(f"the local switch refused: {error}") from error

    def _session_api(self) -> _Api:
        assert self._session is not None
        return _Api(self._session)

    @property
    def userspace(self) -> bool:
        """Whether packets pass through ovs-vswitchd itself rather than the kernel's module."""
        return self.external_ids.get("ovn-bridge-datapath-type") == "netdev"

    def by_iface_id(self, iface_id: str) -> list[Interface]:
        return [i for i in self.interfaces.values() if i.external_ids.get("iface-id") == iface_id]

    def bridge_of(self, port: str) -> str:
        """The name of the bridge that *port* is on, or ``""``."""
        held = self.ports.get(port)
        return next((name for name, bridge in self.bridges.items() if held.uuid in bridge.ports), "") if held else ""

    # called in the loop, by the session

    def _apply(self, connected: bool, changes: Iterable[tuple[str, str, Any]]) -> None:
        for table, uuid, value in changes:
            self._forget(table, uuid)
            if value is None:
                continue
            if table == "Open_vSwitch":
                self.external_ids = value
            else:
                self._names[table, uuid] = value.name
                self._table(table)[value.name] = value
        if self.connected != connected:
            log.info("switch.connected" if connected else "switch.lost", endpoint=self.endpoint)
        self.connected = connected
        self.changes.changed()

    def _table(self, table: str) -> dict[str, Any]:
        tables: dict[str, dict[str, Any]] = {"Interface": self.interfaces, "Port": self.ports, "Bridge": self.bridges}
        return tables[table]

    def _forget(self, table: str, uuid: str) -> None:
        name = self._names.pop((table, uuid), None)
        # a port that is made again under its old name: the new row may have been seen before the old one went
        if name is not None and all(other != name for (t, _), other in self._names.items() if t == table):
            self._table(table).pop(name, None)


class _Session(OvsdbIdl):  # type: ignore[misc]  # the library is untyped
    """Runs in ovsdbapp's thread."""

    def __init__(self, switch: Switch, loop: asyncio.AbstractEventLoop) -> None:
        helper = SchemaHelper(schema_json=_SCHEMA)
        for table, columns in _COLUMNS.items():
            helper.register_columns(table, list(columns))
        super().__init__(switch.endpoint, helper)
        # The default waits up to 8 s between attempts: too long for a pod that starts while the switch is restarted.
        self._session.reconnect.set_backoff(100, 1000)
        self._session.reconnect.set_probe_interval(0)  # a unix socket tells when its peer is gone
        self._switch, self._loop = switch, loop
        self._dirty: dict[tuple[str, Any], Any] = {}
        self._known: set[tuple[str, Any]] = set()
        self._was_connected = False

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        self._dirty[row._table.name, row.uuid] = row

    def run(self) -> bool:
        changed: bool = super().run()
        connected = self._session.is_connected() and self.state == self.IDL_S_MONITORING
        if self._dirty or changed or connected != self._was_connected:
            self._was_connected = connected
            self._publish(connected)
        return changed

    def _publish(self, connected: bool) -> None:
        present = {(table, uuid) for table, content in self.tables.items() for uuid in content.rows}
        # rows that went while we were away give no event: compare
        changes = [(table, str(uuid), None) for table, uuid in self._known - present]
        fresh = [key for key in {**self._dirty, **dict.fromkeys(present - self._known)} if key in present]
        changes += [(table, str(uuid), _value(table, self.tables[table].rows[uuid])) for table, uuid in fresh]
        self._dirty.clear()
        self._known = present
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._switch._apply, connected, changes)


def _value(table: str, row: Any) -> Any:
    if table == "Open_vSwitch":
        return dict(row.external_ids)
    if table == "Bridge":
        return Bridge(row.name, str(row.uuid), frozenset(str(port.uuid) for port in row.ports), dict(row.external_ids))
    if table == "Port":
        return Port(row.name, str(row.uuid))
    texts = ("".join(row.mac), "".join(row.error), dict(row.external_ids))
    return Interface(row.name, str(row.uuid), row.type, *texts, mtu_request=sum(row.mtu_request))


class _Api:
    """What ovsdbapp's commands and transactions want to know of an API object."""

    def __init__(self, idl: _Session) -> None:
        self.idl = idl


class _Operations(BaseCommand):  # type: ignore[misc]  # the library is untyped
    """The one command: operations as they are."""

    def __init__(self, api: _Api, operations: Sequence[Operation]) -> None:
        super().__init__(api)
        self.operations = operations

    def run_idl(self, txn: Any) -> None:
        for operation in self.operations:
            txn.add_op(dict(operation))


def add_port(bridge: str, name: str, *, type: str = "", mac: str = "", external_ids: Mapping[str, str]) -> list[Operation]:
    """Operations that make a port with one interface of the same name."""
    interface = {"name": name, "type": type, "external_ids": ["map", [list(item) for item in sorted(external_ids.items())]]}
    if mac:
        interface["mac"] = mac
    return [
        {"op": "insert", "table": "Interface", "row": interface, "uuid-name": "interface"},
        {"op": "insert", "table": "Port", "row": {"name": name, "interfaces": ["named-uuid", "interface"]}, "uuid-name": "port"},
        {"op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]], "mutations": [["ports", "insert", ["named-uuid", "port"]]]},
        next_cfg(),
    ]


def remove_port(bridge: str, uuid: str) -> Operation:
    """Takes the port *uuid* off *bridge*; its row and its interface's go with it."""
    return {"op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]], "mutations": [["ports", "delete", ["uuid", uuid]]]}


def remove_bridge(uuid: str) -> Operation:
    return {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["bridges", "delete", ["uuid", uuid]]]}


def set_keys(table: str, where: list[Any], column: str, entries: Mapping[str, str]) -> Operation:
    """Sets keys of a map column and leaves its others."""
    keys, pairs = sorted(entries), [[key, entries[key]] for key in sorted(entries)]
    mutations = [[column, "delete", ["set", keys]], [column, "insert", ["map", pairs]]]
    return {"op": "mutate", "table": table, "where": where, "mutations": mutations}


def next_cfg() -> Operation:
    """Tells ovs-vswitchd that the configuration changed, as ovs-vsctl does."""
    return {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}
