"""A child: its log, its end with the parent, and starts that are spread out but never given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.up.child import Child
from stream.up.process_identity import exists

ROOT = Path(__file__).parents[3]


def child(folder: Path, script: str) -> tuple[Child, list[str]]:
    told: list[str] = []
    return Child("worker", [sys.executable, "-c", script], folder / "logs" / "worker.log", told.append), told


def ended(one: Child) -> None:
    end = time.monotonic() + 20
    while not one.ended() and time.monotonic() < end:
        time.sleep(0.01)
    assert one.ended()


def test_its_log_is_kept_from_start_to_start(tmp_path: Path) -> None:
    one, told = child(tmp_path, "print('hello')")
    for _ in range(2):
        one.start()
        ended(one)
    assert one.log.read_text() == "hello\nhello\n"
    assert (one.last_words(), one.cause(), told) == ("hello", "status 0: hello", [])


def test_a_log_that_cannot_be_written_is_told_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "logs" / "worker.log").mkdir(parents=True)
    one, told = child(tmp_path, "")
    one.start()
    ended(one)
    assert one.process is not None
    assert one.process.returncode == 0
    assert len(told) == 1
    assert "worker.log cannot be written (Is a directory): the worker writes to this output" in told[0]
    assert "cannot be read" in one.last_words()


def test_a_signal_to_the_parent_s_group_is_not_the_child_s(tmp_path: Path) -> None:
    one, _ = child(tmp_path, "import time; time.sleep(99)")
    one.start()
    assert one.pid is not None
    assert os.getpgid(one.pid) == one.pid != os.getpgid(0)
    one.stop()


def test_starts_are_spread_out(tmp_path: Path) -> None:
    one, _ = child(tmp_path, "")
    pauses = []
    for _ in range(8):
        one.start()
        pauses.append(round(one.due_at - time.monotonic()))
        ended(one)
    assert pauses == [0, 0, 2, 4, 8, 16, 30, 30]
    assert not one.due()
    one.due_at = 0.0
    assert one.due()


def test_it_is_stopped_by_force_when_it_does_not_listen(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    )
    one, _ = child(tmp_path, script)
    one.start()
    while not one.log.read_text():
        time.sleep(0.01)
    one.stop(timeout_s=0.2)
    assert one.process is not None
    assert one.process.returncode == -signal.SIGKILL
    assert one.cause() == "by SIGKILL"
    one.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at the parent's end is Linux's")
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from stream.up.child import Child\n"
        "one = Child('worker', [sys.executable, '-c', 'import time; time.sleep(99)'], Path(sys.argv[1]), print)\n"
        "one.start(); print(one.pid, flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    parent = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    end = time.monotonic() + 20
    while exists(pid) and Path(f"/proc/{pid}/cmdline").read_bytes() and time.monotonic() < end:
        time.sleep(0.02)
    assert not (exists(pid) and Path(f"/proc/{pid}/cmdline").read_bytes())
