"""/healthz, /readyz and /metrics of a process, by HTTP. Ready means: every part that was named has said so."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import REGISTRY, generate_latest


class Health:
    """*port* 0: nothing is served, the states are kept all the same."""

    def __init__(self, port: int, parts: tuple[str, ...] = ("caches",)) -> None:
        self._port, self._parts = port, dict.fromkeys(parts, False)
        self._runner: web.AppRunner | None = None

    def ready(self, part: str, state: bool) -> None:
        self._parts[part] = state

    async def start(self) -> None:
        if not self._port:
            return
        app = web.Application()
        app.add_routes([web.get("/healthz", self._alive), web.get("/readyz", self._is_ready), web.get("/metrics", self._metrics)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._port).start()

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _is_ready(self, _request: web.Request) -> web.Response:
        missing = [part for part, state in self._parts.items() if not state]
        return web.Response(text=f"not ready: {', '.join(missing)}\n" if missing else "ok\n", status=503 if missing else 200)

    async def _metrics(self, _request: web.Request) -> web.Response:
        # rendering is long for the loop
        text = await asyncio.to_thread(generate_latest, REGISTRY)
        return web.Response(body=text, content_type="text/plain")
