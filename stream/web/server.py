"""The web server of a worker: the application with its routes, bound to an address.

Invariant: every answer but `/metrics` and `/` is JSON, `{"error": {"field", "remedy"}}` when something is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Middleware

from store.security import server_context
from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.access import guard
from stream.web.admission import Admission
from stream.web.connections import IDLE_S, listen
from stream.web.console.live import Live
from stream.web.contract import Health, Service
from stream.web.handlers import ADMISSION, CONSOLE, HEALTH, LIVE, METRICS, SERVICE, routes
from stream.web.replies import MAX_BODY_BYTES, Handler, as_json

MAX_LINE_BYTES = 320 << 10
"""Of a request's first line: `exclude` of as many ids as are allowed has room. A proxy may allow less."""


class OnceAMinute(logging.Filter):
    """Bytes that are no HTTP are the fault of whoever sent them: a line a minute, and no traceback for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._silent_until = 0.0
        self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        self._untold += 1
        if self._clock() < self._silent_until:
            return False
        why = " ".join(str(error).split())[:200]
        record.msg, record.args = "%d requests were no HTTP, and refused; the last: %s", (self._untold, why)
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        self._untold, self._silent_until = 0, self._clock() + 60.0
        return True


refused_bytes = logging.getLogger("stream.web.refused_bytes")
refused_bytes.addFilter(OnceAMinute())


class AddressError(OSError):
    """The web address cannot be had: choose another port (0 for a free one) or host, or stop who holds it."""


def application(
    service: Service | Health,
    metrics: Metrics,
    serving: Serving = Serving(),
    more: Iterable[web.RouteDef] = (),
    around: Iterable[Middleware] = (),
    answers: bool = True,
) -> web.Application:
    """The application of a worker; `more` are its own routes, beside the contract, `around` stands around
    what is answered to those who may ask. One that does not answer need only tell its `Health`."""
    middlewares = [leave_in_peace, guard(serving), *around, as_json]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    app[HEALTH] = service
    if answers:
        app[SERVICE] = cast(Service, service)
    app[METRICS] = metrics
    app[ADMISSION] = Admission(serving.most_waiting, serving.most_waiting_batches)
    app[CONSOLE] = serving.console
    app[LIVE] = Live(service, metrics)
    app.cleanup_ctx.append(_living)
    app.on_shutdown.append(_ending)
    app.add_routes([*routes(serving.console, answers), *more])
    return app


async def _living(app: web.Application) -> AsyncIterator[None]:
    """Samples are taken for as long as the application serves."""
    task = asyncio.create_task(app[LIVE].run(), name="history")
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _ending(app: web.Application) -> None:
    app[LIVE].close()


@web.middleware
async def leave_in_peace(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ends a connection with its answer where no more requests are wanted: one that is kept would be cut off later,
    perhaps with a request on its way."""
    response = await handler(request)
    ready, _ = request.app[HEALTH].ready()
    if not ready:
        response.force_close()
    return response


class WebServer:
    """Serves a worker's application in the running event loop, at `serving.host` and `serving.port` (0 takes a free
    one); `more` are the worker's own routes, beside the contract, `around` as for `application`; `start` may fail
    with `AddressError`."""

    def __init__(
        self,
        service: Service | Health,
        metrics: Metrics,
        serving: Serving,
        more: Iterable[web.RouteDef] = (),
        around: Iterable[Middleware] = (),
        answers: bool = True,
    ) -> None:
        self._app = application(service, metrics, serving, more, around, answers)
        self._host = serving.host
        self._port = serving.port
        self._serving = serving
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where others reach it; the port is known once it has started."""
        anywhere = self._host in ("0.0.0.0", "::", "")
        host = socket.gethostname() if anywhere else self._host
        return self._serving.url_at(host, self._port)

    async def start(self) -> None:
        """Bind and serve. Raises `SecurityError` for a certificate that cannot be used."""
        context = server_context(self._serving.tls)
        bounds: dict[str, Any] = {"max_line_size": MAX_LINE_BYTES, "keepalive_timeout": IDLE_S, "logger": refused_bytes}
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=2.0, **bounds)
        await runner.setup()
        try:
            assert runner.server is not None
            self._listening = await listen(runner.server, self._host, self._port, context)
        except OSError as error:
            await runner.cleanup()
            raise AddressError(
                f"cannot serve on {self._host}:{self._port} ({error.strerror or error}): "
                "give another --web-port (0 takes a free one)"
            ) from None
        self._port = int(self._listening.sockets[0].getsockname()[1])
        self._runner = runner

    async def stop(self) -> None:
        """Answer what is under way for up to two seconds, then close."""
        if self._runner is not None and self._listening is not None:
            self._listening.close()
            await self._runner.cleanup()
            self._runner = None
