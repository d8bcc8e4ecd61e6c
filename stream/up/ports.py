"""Ports: which ones a system takes, and who listens.

Invariant: a port that a person asked for is taken or refused, never exchanged; `listens` never calls a stranger's port
ours where /proc tells whose it is.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

_LISTEN = "0A"


class PortTakenError(RuntimeError):
    """Something else listens on the port that was asked for: stop it, or ask for another (0 takes a free one)."""


def choose(asked: int | None, before: int | None, default: int, option: str, tell: Callable[[str], None]) -> int:
    """The asked port (0: any free one); else that of the last start, the default, or a free one.

    Raises `PortTakenError` when the asked one is taken; tells when a free one stands in for the usual one.
    """
    if asked:
        if not _falls_silent(asked):
            raise PortTakenError(f"port {asked} is in use{_by(asked)}: give another {option} (0 takes a free one)")
        return asked
    if asked == 0:
        return free_port()
    if before and _falls_silent(before):
        return before
    if is_free(default):
        return default
    port = free_port()
    tell(f"port {before or default} is in use{_by(before or default)}: using {port} instead of it ({option})")
    return port


def is_free(port: int) -> bool:
    """Whether the loopback address can be bound at this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger are no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listens(pid: int, port: int) -> bool | None:
    """Whether this process listens on the port; None where that cannot be known."""
    listening = _listening(port)
    if listening is None:
        return None
    return bool(listening & _sockets_of(pid))


def port_of(address: object) -> int | None:
    """The port at the end of `host:port` or of a URL."""
    tail = str(address or "").rstrip("/").rpartition(":")[2]
    return int(tail) if tail.isdigit() else None


def _falls_silent(port: int, within_s: float = 3.0) -> bool:
    """Whether the port is free, now or soon: a killed process loses its memory, and so its name in /proc, before its
    sockets."""
    end = time.monotonic() + within_s
    while not is_free(port):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _listening(port: int) -> set[str] | None:
    """The inodes of the sockets that listen on a port; None without /proc."""
    found: set[str] = set()
    tables = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        tables += 1
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found if tables else None


def _sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets, as far as they may be seen."""
    found: set[str] = set()
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _by(port: int) -> str:
    """Who listens, in words, when /proc tells."""
    listening = _listening(port) or set()
    for entry in os.listdir("/proc") if listening else []:
        if entry.isdigit() and listening & _sockets_of(int(entry)):
            return f" by pid {entry}"
    return ""
