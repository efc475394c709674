"""`ovnloom leader`: labels this ovn-central Pod with what its members of the databases lead.

The labels `ovn-nb-leader`, `ovn-sb-leader` and `ovn-northd-leader` ("true" or "false") are what the Services `ovn-nb`, `ovn-sb`
and `ovn-northd` select. The databases tell by themselves: a monitor (RFC 7047) on `_Server.Database` of the local server. Who of
several northds is active is in no database, only northd itself knows (`ovn-appctl status`), so it is asked every two seconds, and
at once when a database's leader changed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from ovnloom.core.errors import ConfigError
from ovnloom.core.kube.client import MERGE_PATCH, ApiError, Client

log = structlog.get_logger()

NB, SB, NORTHD = "ovn-nb-leader", "ovn-sb-leader", "ovn-northd-leader"
NORTHD_INTERVAL = 2.0  # s between two questions to northd
RETRY = 1.0  # s until a database or northd that ended is tried again
ANSWER = 5.0  # s that northd may take to answer
_json = msgspec.json.Decoder(type=dict[str, Any])


class Closed(Exception):
    """The other side ended, or speaks something else."""


async def messages(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream that puts nothing between them. Raises ``Closed`` at its end."""
    text, depth, quoted, escaped = bytearray(), 0, False, False
    while chunk := await reader.read(65536):
        for byte in chunk:
            text.append(byte)
            if escaped:
                escaped = False
            elif quoted:
                escaped, quoted = byte == 0x5C, byte != 0x22
            elif byte == 0x22:
                quoted = True
            elif byte in b"{[":
                depth += 1
            elif byte in b"}]":
                depth -= 1
                if depth == 0:
                    yield _decoded(bytes(text))
                    text.clear()
    raise Closed("the connection was closed")


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        return _json.decode(text)
    except msgspec.DecodeError as error:
        raise Closed(f"no JSON-RPC: {error}") from error


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A JSON-RPC connection to the unix socket *path*. Raises ``OSError``."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()


def _send(writer: asyncio.StreamWriter, **message: Any) -> None:
    writer.write(msgspec.json.encode(message))


async def leaderships(path: Path, database: str) -> AsyncIterator[bool]:
    """Whether the server at *path* leads *database*, now and at each change. Raises ``OSError``, ``Closed``.

    A standalone database always leads (man ovsdb-server, section 5.1: `_Server`).
    """
    async with connected(path) as (reader, writer):
        columns = ["name", "leader", "connected"]
        where = [["name", "==", database]]
        _send(writer, method="monitor_cond", id=0, params=["_Server", None, {"Database": [{"columns": columns, "where": where}]}])
        row: dict[str, Any] = {}
        async for message in messages(reader):
            if message.get("method") == "echo":
                _send(writer, id=message["id"], result=message["params"], error=None)
                continue
            update = message["params"][1] if message.get("method") == "update2" else message.get("result")
            if message.get("error") or not isinstance(update, dict):
                raise Closed(f"unexpected answer: {message.get('error') or message}")
            for change in update.get("Database", {}).values():
                row = _changed(row, change)
            yield bool(row.get("leader") and row.get("connected"))


def _changed(row: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """*row* after an ``update2`` (man ovsdb-server, section 4.1.14); a boolean that is its default is left out of a new row."""
    if "delete" in change:
        return {}
    if "modify" in change:
        return {**row, **change["modify"]}
    return dict(change.get("initial") or change.get("insert") or {})


async def northd_active(reader: AsyncIterator[dict[str, Any]], writer: asyncio.StreamWriter) -> bool:
    """Asks northd by its control socket (`unixctl`, a JSON-RPC server). Raises ``Closed``, ``TimeoutError``."""
    _send(writer, method="status", id=0, params=[])
    async with asyncio.timeout(ANSWER):
        async for message in reader:
            if message.get("error") is not None:
                raise Closed(str(message["error"]))
            return str(message.get("result", "")).strip() == "Status: active"
    raise Closed("no answer")


class Labels:
    """What is known; writes it to the Pod when that is not what was written last."""

    def __init__(self, client: Client, namespace: str, pod: str) -> None:
        self._client, self._path = client, f"/api/v1/namespaces/{namespace}/pods/{pod}"
        self._known: dict[str, bool] = {NB: False, SB: False, NORTHD: False}
        self._written: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self._changed.set()
        self.asked = asyncio.Event()
        """Set when a database's leader changed: northd's may have changed with it."""

    def set(self, label: str, value: bool) -> None:
        if self._known[label] == value:
            return
        self._known[label] = value
        self._changed.set()
        if label != NORTHD:
            self.asked.set()

    async def write(self) -> None:
        """Writes each change, for ever. What could not be written is tried again."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = {k: v for k, v in self._known.items() if self._written.get(k) is not v}
            if not wanted:
                continue
            body = msgspec.json.encode({"metadata": {"labels": {k: "true" if v else "false" for k, v in wanted.items()}}})
            try:
                await self._client.request("PATCH", self._path, body=body, content_type=MERGE_PATCH)
            except ApiError as error:
                log.warning("leader.unlabelled", labels=wanted, reason=str(error))
                await asyncio.sleep(max(error.retry_after, RETRY * (0.5 + random.random())))
                self._changed.set()
                continue
            self._written |= wanted
            log.info("leader.labelled", labels=wanted)


async def watch_database(path: Path, database: str, told: Callable[[bool], None]) -> None:
    """Tells each change, for ever; while the server is away it leads nothing."""
    while True:
        try:
            async for leads in leaderships(path, database):
                told(leads)
        except (OSError, Closed) as error:
            log.info("leader.database_away", database=database, reason=str(error))
        told(False)
        await asyncio.sleep(RETRY)


async def watch_northd(path: Path, labels: Labels) -> None:
    while True:
        try:
            async with connected(path) as (reader, writer):
                answers = messages(reader)
                while True:
                    labels.asked.clear()
                    labels.set(NORTHD, await northd_active(answers, writer))
                    try:
                        async with asyncio.timeout(NORTHD_INTERVAL):
                            await labels.asked.wait()
                    except TimeoutError:
                        pass
        except (OSError, Closed) as error:  # TimeoutError is an OSError
            log.info("leader.northd_away", reason=str(error))
        labels.set(NORTHD, False)
        await asyncio.sleep(RETRY)


def socket_path(remote: str) -> Path:
    """`unix:PATH` or `PATH`. Raises ``ConfigError``: leadership is a question to the server beside us, not to one elsewhere."""
    kind, colon, rest = remote.partition(":")
    if colon and kind != "unix":
        raise ConfigError([f"{remote}: must be the local server's socket, unix:PATH"])
    return Path(rest if colon else remote)


async def keep(client: Client, nb: str, sb: str, northd: str, *, namespace: str, pod: str) -> None:
    """Keeps the labels of *namespace*/*pod* true. Never returns. Raises ``ConfigError`` for a remote that is not here."""
    paths = socket_path(nb), socket_path(sb), socket_path(northd)
    labels = Labels(client, namespace, pod)
    async with asyncio.TaskGroup() as group:
        group.create_task(labels.write())
        group.create_task(watch_database(paths[0], "OVN_Northbound", lambda leads: labels.set(NB, leads)))
        group.create_task(watch_database(paths[1], "OVN_Southbound", lambda leads: labels.set(SB, leads)))
        group.create_task(watch_northd(paths[2], labels))


async def label(nb: str, sb: str, northd: str, *, namespace: str, pod: str, kubeconfig: str = "") -> None:
    """The command: as ``keep``, and raises ``ConfigError`` if the Pod or the way to the API server is not known."""
    if not (namespace and pod):
        raise ConfigError(["POD_NAME and POD_NAMESPACE must name the Pod that is labelled"])
    async with Client.load(kubeconfig) as client:
        await keep(client, nb, sb, northd, namespace=namespace, pod=pod)
