"""The trainer's HTTP face: `/metrics`, and beside it `/healthz` and `/readyz`, as a worker has them.

Invariant: it is ready only while it hears of the other trainers and of the log, whether it is at work or stands by.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server

from store.settings import Training

log = logging.getLogger(__name__)

Ready = Callable[[], tuple[bool, str]]
"""Whether it is ready, and why (not)."""
App = Callable[[Any, Any], Iterable[bytes]]
"""A WSGI application."""


def readiness(standing: str, *, away: bool) -> tuple[bool, str]:
    """`standing` of the group's election; `away`: whether the log could not be worked with when last tried."""
    if away:
        return False, "the log cannot be worked with: does a broker answer?"
    if standing == "undecided":
        return False, "the group of trainers has not decided who is at work: does a broker answer?"
    return True, standing


def serve_face(training: Training, registry: CollectorRegistry, ready: Ready) -> int:
    """Serves at `metrics_host` and `metrics_port` (0 takes a free one) in threads of its own; returns the port, -1
    where there is no face. A port that is taken is told: training goes on without."""
    if training.metrics_port < 0:
        return -1
    try:
        server, _ = start_http_server(training.metrics_port, training.metrics_host, registry)
    except OSError as error:
        log.warning("no metrics on port %d (%s): set training.metrics_port", training.metrics_port, error)
        return -1
    metrics = server.get_app()
    assert metrics is not None
    server.set_app(_with_probes(metrics, ready))
    return int(server.server_port)


def _with_probes(metrics: App, ready: Ready) -> App:
    """The probes, and metrics at every other path."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/healthz":
            return _reply(start_response, "200 OK", {"alive": True})
        if environ["PATH_INFO"] == "/readyz":
            is_ready, reason = ready()
            status = "200 OK" if is_ready else "503 Service Unavailable"
            return _reply(start_response, status, {"ready": is_ready, "reason": reason})
        return metrics(environ, start_response)

    return app


def _reply(start_response: Any, status: str, document: dict[str, Any]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/json; charset=utf-8")])
    return [json.dumps(document).encode()]
