"""Requests to the API server: bytes in, bytes out, one exception for everything that goes wrong.

Every request is counted in ``Client.requests``, so that a test can say "nothing was sent".
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from importlib import metadata
from typing import Any, NamedTuple, Self

import aiohttp
import msgspec

from ovnloom.core.kube import access

MERGE_PATCH = "application/merge-patch+json"
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Sent(NamedTuple):
    """A request as the API server's authorisation sees it: ``patch`` of ``pods`` or of ``subnets.kubeovn.io/status``."""

    verb: str
    resource: str


def sent(method: str, path: str, params: Mapping[str, str] | None = None) -> Sent:
    """Names the request. For a path that is no resource, the resource is the path."""
    parts = path.strip("/").split("/")
    size, group = (2, "") if parts[0] == "api" else (3, parts[1] if len(parts) > 1 else "")
    if parts[0] not in ("api", "apis") or len(parts) <= size:
        return Sent(_VERBS.get(method, "get"), path)
    rest = parts[size:]
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        rest = rest[2:]
    resource = f"{rest[0]}.{group}" if group else rest[0]
    if len(rest) > 2:
        resource += "/" + rest[2]
    if method == "GET":
        watching = (params or {}).get("watch") == "true"
        return Sent("watch" if watching else "get" if len(rest) > 1 else "list", resource)
    return Sent("deletecollection" if method == "DELETE" and len(rest) == 1 else _VERBS[method], resource)


class Cause(msgspec.Struct, frozen=True):
    """One of the reasons an object was refused (``status.details.causes``)."""

    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(msgspec.Struct, rename="camel"):
    causes: list[Cause] | None = None
    retry_after_seconds: float = 0.0


class Status(msgspec.Struct):
    """What the API server says instead of an object (``metav1.Status``)."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


_status = msgspec.json.Decoder(Status)


class ApiError(Exception):
    """The API server refused (*status* is HTTP's), or did not answer (*status* 0: whether it acted is not known).

    *retry_after* is in seconds, 0 if the server named no time.
    """

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float = 0.0, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(f"{message} ({reason or status})")
        self.status, self.reason, self.message, self.retry_after, self.causes = status, reason, message, retry_after, causes

    @classmethod
    def from_status(cls, status: Status) -> ApiError:
        details = status.details or _Details()
        return cls(status.code, status.reason, status.message, retry_after=details.retry_after_seconds, causes=tuple(details.causes or ()))

    @classmethod
    def from_answer(cls, code: int, body: bytes, retry_after: str = "") -> ApiError:
        try:
            status = _status.decode(body)
        except msgspec.DecodeError:  # a proxy's page, or no JSON at all
            status = Status(message=body[:200].decode(errors="replace").strip() or "no explanation")
        status.code = code
        error = cls.from_status(status)
        if retry_after.isdecimal():
            error.retry_after = float(retry_after)
        return error

    @property
    def unreachable(self) -> bool:
        return self.status == 0

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """The object exists already, or changed since it was read, or is another one of the same name."""
        return self.status == 409

    @property
    def gone(self) -> bool:
        """The resource version asked for is too old to be served, or newer than all there is: list again."""
        return self.status == 410 or self.reason == "Expired" or any(cause.reason == "ResourceVersionTooLarge" for cause in self.causes)

    @property
    def too_many_requests(self) -> bool:
        return self.status == 429


def _keepalive_socket(info: Any) -> socket.socket:
    """A dead peer is noticed within half a minute, although nothing is sent on a watch."""
    family, kind, protocol = info[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def version() -> str:
    try:
        return metadata.version("ovnloom")
    except metadata.PackageNotFoundError:
        return "0"


class Client:
    """One connection pool to one API server. Made anywhere, used in one event loop, closed with ``close``."""

    def __init__(self, way: access.Access) -> None:
        self._access = way
        self._pool: aiohttp.ClientSession | None = None
        self.requests: Counter[Sent] = Counter()

    @classmethod
    def load(cls, kubeconfig: str = "") -> Self:
        """See ``access.load``. Raises ``ConfigError``."""
        return cls(access.load(kubeconfig))

    @property
    def reads(self) -> int:
        return sum(count for request, count in self.requests.items() if request.verb not in _WRITES)

    @property
    def writes(self) -> int:
        return sum(count for request, count in self.requests.items() if request.verb in _WRITES)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._pool is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._access.tls or True, socket_factory=_keepalive_socket)
            # Compression would cost the API server's CPU, which is what a cluster is short of.
            headers = {"User-Agent": f"ovnloom/{version()}", "Accept": "application/json", "Accept-Encoding": "identity"}
            self._pool = aiohttp.ClientSession(
                connector=connector, headers=headers, proxy=self._access.proxy, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._pool

    def _headers(self, **headers: str) -> dict[str, str]:
        authorization = self._access.authorization()
        if authorization:
            headers["Authorization"] = authorization
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        within: float = 30.0,
    ) -> bytes:
        """The answer's body. *within* is in seconds, for all of it. Raises ``ApiError``."""
        self.requests[sent(method, path, params)] += 1
        headers = self._headers(**({"Content-Type": content_type} if body is not None else {}))
        try:
            async with self._session().request(
                method,
                self._access.url + path,
                params=params,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=within),
                allow_redirects=False,
                server_hostname=self._access.server_name,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _silence(error) from error
        if answer.status >= 300:
            raise ApiError.from_answer(answer.status, content, answer.headers.get("Retry-After", ""))
        return content

    async def watch(self, path: str, params: Mapping[str, str], *, quiet: float = 120.0) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, until the server ends it. Close the generator (``contextlib.aclosing``).

        Raises ``ApiError``, also when nothing came for *quiet* seconds (with bookmarks something comes about every minute).
        """
        params = {**params, "watch": "true"}
        self.requests[sent("GET", path, params)] += 1
        rest = b""
        try:
            async with self._session().get(
                self._access.url + path,
                params=params,
                headers=self._headers(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=quiet),
                allow_redirects=False,
                server_hostname=self._access.server_name,
            ) as answer:
                if answer.status >= 300:
                    raise ApiError.from_answer(answer.status, await answer.read(), answer.headers.get("Retry-After", ""))
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _silence(error) from error


def _silence(error: Exception) -> ApiError:
    return ApiError(0, "Unreachable", f"{type(error).__name__}: {error}".rstrip(": "))
