"""A process is known by its id and its start: an id that was given again is another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stream.up.process_identity import exists, is_same, started, works_on


def test_the_same_id_with_another_start_is_a_stranger() -> None:
    mark = started(os.getpid())
    assert is_same(os.getpid(), mark)
    boot, _, ticks = mark.rpartition("/")
    assert not is_same(os.getpid(), f"{boot}/{int(ticks) + 1}")
    assert not is_same(os.getpid(), f"another boot/{ticks}")
    assert not is_same(os.getpid(), "")
    assert not is_same("1", mark)


def test_a_process_that_ended_is_nobody() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input() # a b) c"], stdin=subprocess.PIPE)
    mark = started(child.pid)
    assert is_same(child.pid, mark)
    child.communicate(b"\n")
    assert not is_same(child.pid, mark)
    assert (started(child.pid), exists(child.pid)) == ("", False)


def test_which_folder_it_works_on(tmp_path: Path) -> None:
    script = "print('up', flush=True); input()"
    command = [sys.executable, "-c", script, "--data-dir", str(tmp_path / "one" / "broker")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    try:
        assert works_on(child.pid, tmp_path / "one")
        assert not works_on(child.pid, tmp_path / "on")
        assert not works_on(child.pid, tmp_path / "two")
    finally:
        child.communicate(b"\n")
    assert not works_on(child.pid, tmp_path / "one")
