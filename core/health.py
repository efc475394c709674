"""/healthz, /readyz and /metrics of a process, by HTTP. Ready means that nothing is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import REGISTRY, generate_latest


@asynccontextmanager
async def serving(port: int, unready: Callable[[], list[str]]) -> AsyncIterator[None]:
    """Listens on all addresses at *port* (0: not at all). *unready* says what is missing, a sentence each. Raises ``OSError``."""
    if not port:
        yield
        return
    runner = web.AppRunner(_application(unready), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()


def _application(unready: Callable[[], list[str]]) -> web.Application:
    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_request: web.Request) -> web.Response:
        lacking = unready()
        return web.Response(text="\n".join(lacking or ["ok"]) + "\n", status=503 if lacking else 200)

    async def metrics(_request: web.Request) -> web.Response:
        text = await asyncio.to_thread(generate_latest, REGISTRY)  # long for the event loop
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.add_routes([web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)])
    return application
