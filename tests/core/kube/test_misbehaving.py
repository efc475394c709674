"""A server that does what the real one cannot be made to do: drops watches, falls silent, answers nonsense, asks to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from ovnloom.core.kube.access import Access
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import Client, Sent
from ovnloom.core.kube.kinds import PODS, Pod
from ovnloom.core.kube.objects import Key
from ovnloom.core.kube.reflector import Reflector
from ovnloom.core.kube.writer import Verdict, Writer

LIST, WATCH = Sent("list", "pods"), Sent("watch", "pods")
A = Key("pods", "ns", "a")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pauses(list[int]):
    """Asks for *seconds* after each failure, and remembers which it was."""

    seconds = 0.0

    def __call__(self, failures: int) -> float:
        self.append(failures)
        return self.seconds


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server, Client(Access(str(server.make_url("/")).rstrip("/"))) as client:
        yield client


@asynccontextmanager
async def running(reflector: Reflector[Pod]) -> AsyncIterator[None]:
    task = asyncio.create_task(reflector.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # a test asks the outside
            await asyncio.sleep(0.005)


def pods(version: int) -> web.Response:
    return web.json_response({"kind": "PodList", "metadata": {"resourceVersion": str(version)}, "items": []})


async def stream(request: web.Request, *chunks: bytes) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
    return response


def added(name: str, version: int, **metadata: object) -> bytes:
    pod = {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version), **metadata}}
    return msgspec.json.encode({"type": "ADDED", "object": pod}) + b"\n"


async def test_a_server_that_drops_every_watch_is_asked_ever_more_rarely() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await stream(request) if "watch" in request.query else pods(5)

    pauses = Pauses()
    async with serving(handler) as client:
        reflector = Reflector(client, Cache(PODS), pause=pauses)
        async with running(reflector):
            await until(lambda: len(pauses) >= 5)
        assert pauses[:5] == [1, 2, 3, 4, 5]
        assert client.requests[LIST] == 1


async def test_a_watch_that_brings_something_before_it_is_dropped_is_taken_up_at_once() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return pods(5)
        version = int(request.query["resourceVersion"]) + 1
        return await stream(request, *((added(f"p{version}", version),) if version <= 30 else ()))

    pauses = Pauses()
    pauses.seconds = 3600.0
    cache: Cache[Pod] = Cache(PODS)
    async with serving(handler) as client:
        async with running(Reflector(client, cache, pause=pauses)):
            await until(lambda: pauses)
        assert len(cache) == 25
        assert (client.requests[LIST], pauses) == (1, [1])


async def test_a_connection_that_died_in_silence_is_noticed() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return pods(5)
        if client.requests[WATCH] > 1:
            return await stream(request, added("a", 6))
        await stream(request)
        await asyncio.sleep(3600)
        raise AssertionError

    cache: Cache[Pod] = Cache(PODS)
    async with serving(handler) as client:
        async with running(Reflector(client, cache, quiet_seconds=0.1, pause=lambda failures: 0.01)):
            await until(lambda: len(cache) == 1)
        assert client.requests[LIST] == 1


async def test_expiry_again_and_again_is_no_hot_loop() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "reason": "Expired"}, status=410) if "watch" in request.query else pods(5)

    pauses = Pauses()
    async with serving(handler) as client, running(Reflector(client, Cache(PODS), pause=pauses)):
        await until(lambda: len(pauses) >= 4)
    assert pauses[:4] == [1, 2, 3, 4]


async def test_a_restored_store_is_listed_again_and_believed() -> None:
    """After a restore the versions are lower: seen by a bookmark from before the watch began."""

    async def handler(request: web.Request) -> web.StreamResponse:
        restored = client.requests[WATCH] > 0
        if "watch" not in request.query:
            return pods(10 if restored else 500)
        return await stream(request, b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"10"}}}\n')

    cache: Cache[Pod] = Cache(PODS)
    cache.upsert(Pod())
    async with serving(handler) as client, running(Reflector(client, cache, pause=lambda failures: 0.0)):
        await until(lambda: client.requests[LIST] == 2 and cache.resource_version == 10)


async def test_lines_of_any_size_and_cut() -> None:
    huge = added("huge", 7, annotations={"x": "y" * 3_000_000})
    line = added("cut", 6)

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return pods(5)
        response = await stream(request, line[:10], line[10:50], line[50:] + huge[:100], huge[100:])
        await asyncio.sleep(3600)
        return response

    cache: Cache[Pod] = Cache(PODS)
    async with serving(handler) as client, running(Reflector(client, cache)):
        await until(lambda: len(cache) == 2)


async def test_nonsense_is_no_end() -> None:
    answers = iter([web.Response(text="<html>"), web.json_response([]), pods(5)])

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return next(answers)
        return await stream(request, b"<html>\n" if client.requests[WATCH] == 1 else added("a", 6))

    cache: Cache[Pod] = Cache(PODS)
    async with serving(handler) as client, running(Reflector(client, cache, pause=lambda failures: 0.0)):
        await until(lambda: len(cache) == 1)


async def test_all_who_ask_while_a_refresh_is_under_way_share_the_next() -> None:
    go = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await go.wait()
        return pods(5)

    async with serving(handler) as client:
        reflector = Reflector(client, Cache(PODS))
        asking = []
        for _ in range(5):
            asking.append(asyncio.create_task(reflector.refresh()))
            await asyncio.sleep(0.02)
        assert client.requests[LIST] == 1
        go.set()
        await asyncio.gather(*asking)
        assert client.requests[LIST] == 2


async def test_who_refreshes_hears_of_the_failure() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "message": "no"}, status=403)

    async with serving(handler) as client:
        reflector = Reflector(client, Cache(PODS))
        results = await asyncio.gather(*(reflector.refresh() for _ in range(3)), return_exceptions=True)
        assert [str(result) for result in results] == ["no (403)"] * 3
        assert client.requests[LIST] == 1


async def test_the_server_says_when_to_come_again() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "reason": "TooManyRequests"}, status=429, headers={"Retry-After": "7"})

    async with serving(handler) as client:
        written = await Writer(client, {}, lambda: True).patch(PODS, A, {})
    assert (written.verdict, written.after) == (Verdict.RETRY, 7.0)


async def test_no_more_than_sixteen_writes_at_once() -> None:
    most = now = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return web.json_response({"kind": "Pod"})

    async with serving(handler) as client:
        writer = Writer(client, {}, lambda: True)
        assert all(written.ok for written in await asyncio.gather(*(writer.patch(PODS, A, {}) for _ in range(100))))
    assert most == 16


async def test_a_request_says_who_sends_it_and_what() -> None:
    seen: list[tuple[str, str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers["User-Agent"].split("/")[0], request.content_type, await request.text()))
        return web.json_response({"kind": "Pod"})

    async with serving(handler) as client:
        await Writer(client, {}, lambda: True).patch(PODS, A, {"metadata": {"labels": {"a": "b"}}}, uid="u", resource_version="9")
    assert seen == [("ovnloom", "application/merge-patch+json", '{"metadata":{"labels":{"a":"b"},"uid":"u","resourceVersion":"9"}}')]
