"""Crash points: ends the process at a named boundary of the protocol, for chaos tests. Off unless the environment asks.

`SIDESTREAM_FAULT=written:7` kills the process, as SIGKILL would, the seventh time that `written` is reached.
Boundaries, in order: written, absorbed, sent, published.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from stream.ingest.protocol.partition import Fault, no_fault


def crash_point_from(environment: Mapping[str, str]) -> Fault:
    """The hook that `SIDESTREAM_FAULT` describes."""
    wanted = environment.get("SIDESTREAM_FAULT", "")
    if not wanted:
        return no_fault
    name, _, count = wanted.partition(":")
    left = int(count or 1)

    def crash_point(boundary: str) -> None:
        nonlocal left
        if boundary == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return crash_point
