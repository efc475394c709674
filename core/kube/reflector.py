"""Keeps a cache like the API server's collection: a paged list, then a watch that is taken up again where it ended.

Lists are consistent (no ``resourceVersion`` is asked for), so none is older than what was known when it was asked for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, TypeVar

import msgspec
import structlog

from ovnloom.core.kube import backoff
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import ApiError, Client
from ovnloom.core.kube.objects import Object, key_of, kind_id
from ovnloom.core.kube.wire import Event, Page, Unreadable, decode_event, decode_page

T = TypeVar("T", bound=Object)

log = structlog.get_logger()

PAGE = 500
CALM = 10.0  # seconds that a watch without events must have lasted for its end not to count as a failure


class Reflector(Generic[T]):
    """``run`` never returns; cancel it. What it finds goes into *cache*, and from there to the cache's sink.

    *namespace* narrows it to one. *watch_seconds* is how long the server is asked to keep a watch, ±20 %.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache[T],
        *,
        namespace: str = "",
        page: int = PAGE,
        watch_seconds: float = 300.0,
        quiet_seconds: float = 120.0,
        pause: Callable[[int], float] = lambda failures: backoff.delay(failures, first=0.5, most=30.0),
    ) -> None:
        self._client, self._cache, self._kind = client, cache, cache.kind
        self._path = cache.kind.path(namespace)
        self._selection = {"fieldSelector": cache.kind.field_selector} if cache.kind.field_selector else {}
        self._page, self._watch_seconds, self._quiet, self._pause = page, watch_seconds, quiet_seconds, pause
        self._synced = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._absent = False
        self._log = log.bind(kind=kind_id(cache.kind))

    async def synced(self) -> None:
        """Returns once the cache holds a complete list, or the API server says that it does not serve the kind and need not."""
        await self._synced.wait()

    async def refresh(self) -> None:
        """Brings the cache to at least this moment, by one consistent list. Raises ``ApiError``.

        All who ask while one is under way share the next one: it starts after each of them asked.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._refresh_after(self._running))
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())  # maybe nobody waits any more
        await asyncio.shield(self._next)

    async def _refresh_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        known = self._cache.resource_version
        pages = await self._list()
        unreadable = [one for page in pages for one in page.unreadable]
        version = pages[0].version
        if version < known:
            self._log.warning("list.rewound", version=version, known=known)
        self._complain(unreadable)
        objects = [obj for page in pages for obj in page.items]
        self._cache.replace(objects, version, reset=version < known, keep={one.key for one in unreadable})
        self._synced.set()

    async def _list(self) -> list[Page[T]]:
        pages: list[Page[T]] = []
        token = ""
        while True:
            params = {**self._selection, "limit": str(self._page), **({"continue": token} if token else {})}
            try:
                page = self._decode_page(await self._client.request("GET", self._path, params=params))
            except ApiError as error:
                if not (token and error.gone):
                    raise
                pages, token = [], ""  # the snapshot that the pages are of was compacted away
                continue
            pages.append(page)
            token = page.token
            if not token:
                return pages

    def _decode_page(self, body: bytes) -> Page[T]:
        try:
            return decode_page(self._kind, body)
        except msgspec.DecodeError as error:
            raise ApiError(0, "Garbled", f"a list that is none: {error}") from error

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        failures, list_first = 0, not self._synced.is_set()
        while True:
            began, known = clock(), self._cache.resource_version
            error: ApiError | None = None
            try:
                if list_first:
                    await self.refresh()
                    list_first, known = False, self._cache.resource_version
                self._absent = False
                await self._watch()
            except ApiError as caught:
                error = caught
                list_first = list_first or error.gone or error.not_found
                if error.not_found and self._kind.optional:
                    self._synced.set()
            if clock() - began >= CALM or self._cache.resource_version > known:
                failures = 0  # it lasted, or it brought something
            self._tell(error)
            # One end of a watch is normal, and so is one that is too old to be taken up: no pause before the first try.
            if failures or not (error is None or error.gone):
                await asyncio.sleep(self._pause(max(failures, 1)))
            failures += 1

    def _tell(self, error: ApiError | None) -> None:
        if error is None or error.gone:
            self._log.debug("watch.ended", reason=str(error or "time is up"))
        elif not error.not_found:
            self._log.warning("watch.failed", reason=str(error))
        elif not self._absent:
            self._absent = True
            say = self._log.info if self._kind.optional else self._log.warning
            say("kind.absent", reason="the API server does not serve it (yet); asking again until it does")

    async def _watch(self) -> None:
        opened = self._cache.resource_version
        params = {
            **self._selection,
            "allowWatchBookmarks": "true",
            "resourceVersion": str(opened),
            "timeoutSeconds": str(max(1, round(self._watch_seconds * random.uniform(0.8, 1.2)))),
        }
        async with aclosing(self._client.watch(self._path, params, quiet=self._quiet)) as lines:
            async for line in lines:
                self._take(line, opened)

    def _take(self, line: bytes, opened: int) -> None:
        try:
            event = decode_event(self._kind, line)
        except msgspec.DecodeError as error:
            raise ApiError(0, "Garbled", f"a watch event that is none: {error}") from error
        if 0 < event.version < opened:
            raise ApiError(410, "Rewound", f"at {event.version}, although the watch began at {opened}")
        if event.type != "BOOKMARK":
            self._apply(event)
        self._cache.advance(event.version)

    def _apply(self, event: Event[T]) -> None:
        if event.type == "DELETED":
            key = event.object.key if isinstance(event.object, Unreadable) else key_of(self._kind, event.object)
            self._cache.remove(key, event.version)
        elif isinstance(event.object, Unreadable):
            self._complain([event.object])
        else:
            self._cache.upsert(event.object)

    def _complain(self, unreadable: list[Unreadable]) -> None:
        for one in unreadable:
            self._log.warning("object.unreadable", object=str(one.key), reason=one.sentence, effect="its last good state stays")
