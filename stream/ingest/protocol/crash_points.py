"""Crash points: ends the process at a named boundary of the protocol, for chaos tests. Off unless the environment asks.

`SIDESTREAM_FAULT=written:7` kills the process, as SIGKILL would, the seventh time that `written` is reached;
`written:7:STOP` lets it stand still there until it is sent SIGCONT. Boundaries, in order: restored (rows are read, the
partition is not announced), absorbed, written, sent, published, kept (the position is on the disk).
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
    name, count, action = (*wanted.split(":"), "", "")[:3]
    left = int(count or 1)
    sent = signal.SIGSTOP if action == "STOP" else signal.SIGKILL

    def crash_point(boundary: str) -> None:
        nonlocal left
        if boundary == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), sent)

    return crash_point
