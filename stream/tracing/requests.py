"""Requests: an answer as a stage of the trace that the request names, in every worker that has a part in it.

Invariant: what names no trace, or one that is not sampled, is answered all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from store.headers import TRACEPARENT
from stream.tracing.stages import Stages

if TYPE_CHECKING:
    from stream.tracing.spans import Stage

_under_way: ContextVar[Stage | None] = ContextVar("request", default=None)


@contextmanager
def answering(stages: Stages, method: str, route: str, traceparent: str) -> Iterator[Stage | None]:
    """A request under way; what is asked of others meanwhile (`outgoing`) is a part of it."""
    stage = stages.of_request(method, route, traceparent.encode("latin-1", "replace"))
    token = _under_way.set(stage)
    try:
        yield stage
    finally:
        _under_way.reset(token)
        if stage is not None:
            stage.end()


def outgoing() -> dict[str, str]:
    """Headers of a request that is made for the one under way."""
    stage = _under_way.get()
    return {} if stage is None else {TRACEPARENT: stage.headers[0][1].decode()}
