"""Events: sentences for users beside the object they are about (``kubectl describe``). Best effort, never in anybody's way.

They carry what other people wrote (an annotation that is no address), so the text is cleaned and its amount is limited.
"""

from __future__ import annotations

import asyncio
import socket
import time
import unicodedata
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

import structlog

from ovnloom.core.kube.objects import Key, Kind, Object, kind_id
from ovnloom.core.kube.writer import NotLeader, Verdict, Writer

log = structlog.get_logger()

EVENTS = Kind("", "v1", "events", "Event", Object)
MESSAGE_BYTES = 1024  # more the API does not take
REPEAT = 60.0  # seconds between two updates of the count of one event
BURST, REFILL = 10, 30.0  # new events of one object at once; seconds until it may have one more
REMEMBERED, WAITING = 4096, 512  # events that are known by heart; events that wait to be written

V = TypeVar("V")


def clean(sentence: str, most: int = MESSAGE_BYTES) -> str:
    """*sentence* on one line, without characters that are not seen (control, direction, surrogates), at most *most* bytes of UTF-8."""
    seen = (" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in sentence[: 4 * most])
    text = " ".join("".join(seen).split())
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    return encoded[: most - 3].decode(errors="ignore") + "…"


class _Id(NamedTuple):
    uid: str
    reason: str
    message: str


@dataclass(slots=True)
class _Known:
    """An event that was written, or is about to be. *count* is how often it happened, *told* when that was last queued."""

    namespace: str
    manifest: dict[str, Any]
    told: float
    count: int = 1
    name: str = ""  # none: it does not exist yet


@dataclass(slots=True)
class _Tokens:
    at: float
    left: float = float(BURST)

    def take(self, now: float) -> bool:
        self.left = min(float(BURST), self.left + (now - self.at) / REFILL)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class _Recent(Generic[V]):
    """A mapping that forgets what was not used for longest."""

    entries: OrderedDict[Any, V] = field(default_factory=OrderedDict)

    def get(self, key: Any) -> V | None:
        if key in self.entries:
            self.entries.move_to_end(key)
        return self.entries.get(key)

    def put(self, key: Any, value: V) -> V:
        self.entries[key] = value
        if len(self.entries) > REMEMBERED:
            self.entries.popitem(last=False)
        return value


class Events:
    """``warn`` only takes note; ``run`` writes, one at a time, through *writer*. *component* is who says it."""

    def __init__(self, writer: Writer, component: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer, self._component, self._clock = writer, component, clock
        self._instance = socket.gethostname()[:128]
        self._known: _Recent[_Known] = _Recent()
        self._tokens: _Recent[_Tokens] = _Recent()
        self._waiting: OrderedDict[_Id, _Known] = OrderedDict()
        self._wake = asyncio.Event()
        self.dropped = 0  # not written because there were too many

    def warn(self, kind: Kind[Any], obj: Object, reason: str, sentence: str) -> None:
        """A Warning about *obj*. *reason* is one word in CamelCase. The same again is counted, not written again."""
        message, now = clean(sentence), self._clock()
        event = _Id(obj.metadata.uid or str(Key(kind_id(kind), obj.metadata.namespace, obj.metadata.name)), reason, message)
        known = self._known.get(event)
        if known is not None:
            known.count += 1
            if now - known.told < REPEAT:
                return
            known.told = now
        elif not self._allowed(event.uid, now):
            self.dropped += 1
            return
        else:
            known = self._known.put(event, self._new(kind, obj, reason, message, now))
        if len(self._waiting) >= WAITING:
            self.dropped += 1
            return
        self._waiting[event] = known
        self._wake.set()

    def _allowed(self, uid: str, now: float) -> bool:
        return (self._tokens.get(uid) or self._tokens.put(uid, _Tokens(now))).take(now)

    def _new(self, kind: Kind[Any], obj: Object, reason: str, message: str, now: float) -> _Known:
        meta = obj.metadata
        namespace = meta.namespace or "default"
        manifest = {
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
            },
            "type": "Warning",
            "reason": clean(reason, 128),
            "message": message,
            "source": {"component": self._component, "host": self._instance},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": _now(),
        }
        return _Known(namespace, manifest, now)

    async def run(self) -> None:
        """Writes what was noted, for ever."""
        while True:
            while self._waiting:
                _, known = self._waiting.popitem(last=False)
                try:
                    await self._write(known)
                except NotLeader:
                    self._waiting.clear()
            self._wake.clear()
            await self._wake.wait()

    async def _write(self, known: _Known) -> None:
        told = {"count": known.count, "lastTimestamp": _now()}
        if known.name:
            key = Key(kind_id(EVENTS), known.namespace, known.name)
            written = await self._writer.patch(EVENTS, key, told)
            if written.verdict is Verdict.GONE:  # the API server forgets events after an hour
                known.name = ""
        if not known.name:
            name = f"{known.manifest['involvedObject']['name'][:200].rstrip('.-')}.{uuid.uuid4().hex[:16]}"
            metadata = {"name": name, "namespace": known.namespace}
            written = await self._writer.create(EVENTS, {**known.manifest, "metadata": metadata, **told})
            if written.ok:
                known.name = name
        if not written.ok:
            log.info(
                "event.unwritten", object=known.manifest["involvedObject"]["name"], message=known.manifest["message"], reason=written.reason
            )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
