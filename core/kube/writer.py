"""Writes to the API server. No write leaves without the right to write, and each answer is in the cache before the caller goes on.

What the API server says to a write is a value, because it belongs to one object. Two writes of the same field of the
same object must not be under way at once: their order would be anybody's guess. That is the caller's to see to.
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import MERGE_PATCH, ApiError, Client, Status
from ovnloom.core.kube.objects import Key, Kind, kind_id
from ovnloom.core.kube.wire import decode

log = structlog.get_logger()

CONCURRENT = 16  # with 64 the API server began to close watches
PAUSE = 1.0  # seconds, where the API server names none


class NotLeader(Exception):
    """The lease ran out before the write was sent: it was not, and another process may lead now."""


class Verdict(enum.Enum):
    OK = "ok"
    GONE = "gone"  # there is no such object (any more), or another one of that name
    CONFLICT = "conflict"  # it exists already, or it is not at the resource version that was named
    RETRY = "retry"  # not now; or no answer, so it may have been done
    REFUSED = "refused"  # the API server does not accept it, and would not the next time


@dataclass(frozen=True, slots=True)
class Written:
    """*after* is in seconds and counts for RETRY; *reason* is the API server's sentence if the verdict is not OK."""

    verdict: Verdict
    after: float = 0.0
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.verdict is Verdict.OK


_UID = re.compile(r"\bUID in (the )?precondition\b")
_OK = Written(Verdict.OK)
_kind_of = msgspec.json.Decoder(Status)


class Writer:
    """*caches* by ``kind_id``; answers for other kinds are dropped. *may_write* is ``Leader.may_write``, or always true."""

    def __init__(self, client: Client, caches: Mapping[str, Cache[Any]], may_write: Callable[[], bool]) -> None:
        self._client, self._caches, self._may_write = client, caches, may_write
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def patch(
        self,
        kind: Kind[Any],
        key: Key,
        merge_patch: Mapping[str, Any],
        *,
        subresource: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> Written:
        """An RFC 7386 merge patch. *uid*: only this very object; *resource_version*: only if it was not changed since.

        Raises ``NotLeader``.
        """
        only = {name: value for name, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        if only:
            merge_patch = {**merge_patch, "metadata": {**merge_patch.get("metadata", {}), **only}}
        path = kind.path(key.namespace, key.name, subresource)
        return await self._write(kind, "PATCH", path, merge_patch, content_type=MERGE_PATCH)

    async def create(self, kind: Kind[Any], manifest: Mapping[str, Any]) -> Written:
        """*manifest* without ``apiVersion`` and ``kind``, or with the right ones. Raises ``NotLeader``."""
        manifest = {**manifest, "apiVersion": kind.api_version, "kind": kind.kind}
        return await self._write(kind, "POST", kind.path(manifest["metadata"].get("namespace", "")), manifest)

    async def delete(self, kind: Kind[Any], key: Key, uid: str) -> Written:
        """Deletes this very object; GONE if there is none or another one. Raises ``NotLeader``."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        return await self._write(kind, "DELETE", kind.path(key.namespace, key.name), options)

    async def _write(
        self, kind: Kind[Any], method: str, path: str, body: Mapping[str, Any], *, content_type: str = "application/json"
    ) -> Written:
        encoded = msgspec.json.encode(body)
        async with self._slots:
            if not self._may_write():
                raise NotLeader(f"{method} {path}: the lease ran out")
            try:
                answer = await self._client.request(method, path, body=encoded, content_type=content_type)
            except ApiError as error:
                return _verdict(error)
        self._fold(kind, answer)
        return _OK

    def _fold(self, kind: Kind[Any], answer: bytes) -> None:
        cache = self._caches.get(kind_id(kind))
        if cache is None or _kind_of.decode(answer).kind == "Status":  # some deletions are answered by a Status
            return
        try:
            obj = decode(cache.kind, answer)
        except msgspec.ValidationError as error:  # the watch brings it too, and complains there
            log.debug("answer.unreadable", kind=kind_id(kind), reason=str(error))
            return
        if not cache.kind.field_selector or cache.get(obj.metadata.namespace, obj.metadata.name) is not None:
            cache.upsert(obj)


def _verdict(error: ApiError) -> Written:
    if error.not_found or _another_uid(error):
        return Written(Verdict.GONE, reason=error.message)
    if error.conflict:
        return Written(Verdict.CONFLICT, reason=error.message)
    if error.unreachable or error.too_many_requests or error.status in (401, 408) or error.status >= 500:
        return Written(Verdict.RETRY, after=error.retry_after or PAUSE, reason=error.message)
    return Written(Verdict.REFUSED, reason=error.message)


def _another_uid(error: ApiError) -> bool:
    """A delete says so by a conflict, an update by the field, both only in words."""
    if error.conflict:
        return _UID.search(error.message) is not None
    return error.status == 422 and any(cause.field == "metadata.uid" for cause in error.causes)
