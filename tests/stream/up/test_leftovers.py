"""Leftovers: what a killed supervisor left is ended; what only has its process ids is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.up import leftovers
from stream.up.leftovers import end_leftovers
from stream.up.process_identity import started


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works on the folder and does not end by itself."""
    monkeypatch.setattr(leftovers, "PATIENCE_S", 0.2)
    script = "import time; print('up', flush=True); time.sleep(600)  # stream.broker"
    command = [sys.executable, "-c", script, "--data-dir", str(tmp_path / "broker")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_ours_is_ended(left: subprocess.Popen[bytes], tmp_path: Path) -> None:
    told: list[str] = []
    marks = {"broker": {"pid": left.pid, "started": started(left.pid)}}
    end_leftovers(tmp_path, {"processes": marks}, told.append)
    assert left.wait(10) == -9
    assert told == [f"waiting for the broker (pid {left.pid}) of a system that was killed to end"]


@pytest.mark.parametrize(
    "case", ["another start", "another folder", "no start time", "the format of old", "damaged", "no /proc"]
)
def test_a_stranger_is_not(
    case: str, left: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = {"pid": left.pid, "started": started(left.pid)}
    folder = tmp_path
    addresses: dict[str, object] = {"processes": {"broker": mark}}
    if case == "another start":
        mark["started"] = str(mark["started"]) + "0"
    elif case == "another folder":
        folder = tmp_path / "another"
    elif case == "no start time":
        mark["started"] = ""
    elif case == "the format of old":
        addresses = {"pids": {"broker": left.pid}}
    elif case == "damaged":
        addresses = {"processes": {"broker": left.pid}}
    else:
        monkeypatch.setattr("stream.up.process_identity.Path", lambda _: tmp_path / "nothing")
    end_leftovers(folder, addresses, lambda _: None)
    assert left.poll() is None
