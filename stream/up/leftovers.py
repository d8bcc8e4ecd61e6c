"""Leftovers: processes of a supervisor that was killed. They are ending, and hold the folder until they have.

Invariant: only a process whose id, start time and data folder are those that the killed supervisor wrote down is ever
ended; where these cannot be compared (no /proc) none is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stream.up.process_identity import is_same, works_on

PATIENCE_S = 10.0


def end_leftovers(folder: Path, addresses: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Waits for the children of a killed predecessor to end; kills what does not."""
    marks = addresses.get("processes")
    if not isinstance(marks, dict):
        return
    end = time.monotonic() + PATIENCE_S
    for name, process in marks.items():
        pid, mark = (process.get("pid"), process.get("started")) if isinstance(process, dict) else (None, None)
        if not isinstance(pid, int) or not _is_ours(pid, mark, folder):
            continue
        tell(f"waiting for the {name} (pid {pid}) of a system that was killed to end")
        while _is_ours(pid, mark, folder) and time.monotonic() < end:
            time.sleep(0.05)
        if _is_ours(pid, mark, folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            while _is_ours(pid, mark, folder):  # until it has let go of its port, which this start wants again
                time.sleep(0.01)


def _is_ours(pid: int, mark: object, folder: Path) -> bool:
    return is_same(pid, mark) and works_on(pid, folder)
