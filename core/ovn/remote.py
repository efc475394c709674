"""Where a database is, as OVN writes it (``tcp:HOST:PORT``, ``ssl:HOST:PORT``, ``unix:PATH``, several by commas), and its schema."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from ovnloom.core.ovn.jsonrpc import READ, BadMessage, Frames

log = structlog.get_logger()

ATTEMPT = 5.0  # seconds for one server to answer
FIRST_PAUSE, LAST_PAUSE = 0.5, 4.0  # seconds between two rounds over all servers


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files: our key and certificate, and the authority that signed the server's."""

    key: str
    certificate: str
    ca: str


def endpoints(remote: str) -> list[str]:
    """Raises ``ValueError`` for what is no list of remotes."""
    found = [part.strip() for part in remote.split(",") if part.strip()]
    for endpoint in found:
        scheme, _, rest = endpoint.partition(":")
        good = bool(rest) if scheme == "unix" else scheme in ("tcp", "ssl") and rest.rpartition(":")[2].isdigit()
        if not good:
            raise ValueError(f"{endpoint!r} is no remote such as unix:/run/ovn/ovnnb_db.sock, tcp:10.0.0.1:6641 or ssl:10.0.0.1:6641")
    if not found:
        raise ValueError("no remote is given")
    return found


async def fetch_schema(remote: str, database: str, tls: Tls | None) -> dict[str, Any]:
    """What the first server that answers says about *database*; waits until one does."""
    pause, complained = FIRST_PAUSE, False
    while True:
        reasons = []
        for endpoint in endpoints(remote):
            try:
                async with asyncio.timeout(ATTEMPT):
                    return await _ask(endpoint, database, tls)
            except (OSError, TimeoutError, BadMessage) as error:
                reasons.append(f"{endpoint}: {error or type(error).__name__}")
        if not complained:
            log.warning("ovsdb.unreachable", database=database, reasons=reasons)
            complained = True
        await asyncio.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE)


async def _ask(endpoint: str, database: str, tls: Tls | None) -> dict[str, Any]:
    reader, writer = await _open(endpoint, tls)
    try:
        writer.write(msgspec.json.encode({"method": "get_schema", "params": [database], "id": 0}))
        frames = Frames()
        while (reply := frames.next()) is None:
            if not (data := await reader.read(READ)):
                raise ConnectionError("the server closed the connection")
            frames.feed(data)
    finally:
        writer.close()
    if not isinstance(reply.get("result"), dict):
        raise ConnectionError(f"it does not serve {database}: {reply.get('error')}")
    schema: dict[str, Any] = reply["result"]
    return schema


async def _open(endpoint: str, tls: Tls | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    scheme, _, rest = endpoint.partition(":")
    if scheme == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port), ssl=_context(tls) if scheme == "ssl" else None)


def _context(tls: Tls | None) -> ssl.SSLContext:
    """As OVN does it: the authority decides, the server's name does not."""
    if tls is None:
        raise ValueError("an ssl: remote needs key, certificate and authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(tls.ca)
    context.load_cert_chain(tls.certificate, tls.key)
    return context
