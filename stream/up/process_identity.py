"""Process identity: whether a process id still means the process that it meant.

The kernel gives ids again. Invariant: a process is recognised by its id together with the moment at which it started
(and the boot that this moment counts from); where /proc does not tell it, nothing is recognised.
"""

from __future__ import annotations

import os
from pathlib import Path

_START_FIELD = 19
"""Of /proc/PID/stat behind the command's closing bracket: field 22, clock ticks since the boot."""


def started(pid: int) -> str:
    """When the process started, as a mark that no other process of that id has; empty where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{boot}/{fields[_START_FIELD]}"
    except (OSError, IndexError):
        return ""


def is_same(pid: object, mark: object) -> bool:
    """Whether the process that had this mark still runs."""
    return isinstance(pid, int) and bool(mark) and started(pid) == mark


def works_on(pid: int, folder: Path) -> bool:
    """Whether the command line of a process names something in the folder."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    place = os.fsencode(folder)
    return any(word == place or word.startswith(place + b"/") for word in words)


def exists(pid: int) -> bool:
    """Whether some process has this id now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
