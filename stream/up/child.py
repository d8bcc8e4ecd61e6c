"""Child: one process of the system, its log, and when it may be started again.

Invariant: a child ends when its parent does, even by SIGKILL (on Linux); starting it again is never given up, only
spread out, so that a disk that is full for a while does not end the system.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.reporting.log_lines import message_in

REMEMBERED_S = 60.0
LONGEST_PAUSE_S = 30.0
_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """One process: how to start it, and the log that it writes."""

    name: str
    command: Sequence[str]
    log: Path
    tell: Callable[[str], None]
    process: subprocess.Popen[bytes] | None = None
    due_at: float = 0.0
    _starts: list[float] = field(default_factory=list)

    @property
    def pid(self) -> int | None:
        return None if self.process is None else self.process.pid

    def start(self) -> None:
        """Starts it. Raises OSError when the machine has no room for a process."""
        now = time.monotonic()
        self._starts = [at for at in self._starts if now - at < REMEMBERED_S] + [now]
        self.due_at = now + min(LONGEST_PAUSE_S, 0.0 if len(self._starts) < 3 else 2.0 ** (len(self._starts) - 2))
        log = self._opened()
        try:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"OMP_NUM_THREADS": "1", **os.environ},  # the parts share the cores; more threads only wait
                preexec_fn=_end_with(os.getpid()),
                process_group=0,  # a signal to our group is ours to pass on, in order
            )
        finally:
            if log is not None:
                os.close(log)

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def due(self) -> bool:
        """Whether it is to be started again now: at once, after the third end within a minute later and later."""
        return self.ended() and time.monotonic() >= self.due_at

    def stop(self, timeout_s: float = 15.0) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cause(self) -> str:
        """How it ended: the signal, or the last line of its log."""
        code = None if self.process is None else self.process.poll()
        if code is not None and code < 0:
            return f"by {signal.Signals(-code).name}"
        return f"status {code}: {self.last_words()}"

    def last_words(self) -> str:
        """What the last line of its log says."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError as error:
            return f"its log cannot be read ({error.strerror})"
        return message_in(lines[-1]) if lines else "it wrote nothing"

    def _opened(self) -> int | None:
        """The log to append to; None (the supervisor's own output) when it cannot be written."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self.tell(f"{self.log} cannot be written ({error.strerror}): the {self.name} writes to this output")
            return None


def _end_with(parent: int) -> Callable[[], None]:
    """What a child does first. Linux: it gets SIGTERM when the parent ends, even by SIGKILL."""

    def prepare() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it ended before this was said
                os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends them in order

    return prepare
