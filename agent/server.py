"""The unix socket that the CNI binary speaks to."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web

from ovnloom.agent.request import BUG, NOT_AVAILABLE, TRY_AGAIN, CniError, Request, parse

log = structlog.get_logger()


def cni_application(answer: Callable[[Request], Awaitable[bytes]]) -> web.Application:
    """``POST /api/v1/{verb}``, body ``{"env": {…}, "config": {…}}``: 200 and what is to be printed, else CNI error JSON."""

    async def serve(http: web.Request) -> web.Response:
        verb = http.match_info["verb"]
        try:
            request = parse(verb, await http.read())
            return web.Response(body=await answer(request), content_type="application/json")
        except CniError as error:
            log.warning("cni.failed", verb=verb, code=error.code, reason=error.message)
            return web.Response(body=error.body(), status=_status(error.code), content_type="application/json")
        except Exception as error:  # the edge of the process: the runtime must get JSON, whatever is wrong with us
            if isinstance(error, web.HTTPException):
                raise
            log.exception("cni.bug", verb=verb)
            body = CniError(BUG, f"a fault of the agent's own ({type(error).__name__}); its log says more").body()
            return web.Response(body=body, status=500, content_type="application/json")

    application = web.Application()
    application.router.add_post("/api/v1/{verb}", serve)
    return application


def _status(code: int) -> int:
    if code in (TRY_AGAIN, NOT_AVAILABLE):
        return 503
    return 400 if code < 10 else 500


async def serve_cni(application: web.Application, path: Path) -> web.AppRunner:
    """Listens at *path*, for root alone. A handler whose client hangs up is cancelled. Raises ``OSError``."""
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listener.bind(str(fresh))
    fresh.chmod(0o600)
    await web.SockSite(runner, listener).start()
    fresh.replace(path)  # in one step: an agent that is replaced goes on serving until here
    return runner
