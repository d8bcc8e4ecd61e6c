"""Folder lock: one owner at a time, named; free as soon as its process is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from store.files.folder_lock import FolderInUseError, FolderLock, FolderUnusableError

HOLD = "import sys, time; from pathlib import Path; from store.files.folder_lock import FolderLock\n"
HOLD += "lock = FolderLock(Path(sys.argv[1]), 'worker'); print('held', flush=True); time.sleep(600)"


def holder(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


def test_the_second_is_told_who_the_first_is_and_kill_9_frees(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(FolderInUseError, match=f"a worker is already running on .*, pid {process.pid}: stop it"):
            FolderLock(tmp_path, "worker")
        FolderLock(tmp_path, "trainer").close()
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(FolderInUseError):
            FolderLock(tmp_path, "worker")
    finally:
        process.kill()
        process.wait()
    with FolderLock(tmp_path, "worker"):
        assert (tmp_path / "worker.lock").read_text().split()[0] == str(os.getpid())


def test_children_do_not_keep_it(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "worker"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        FolderLock(tmp_path, "worker").close()
    finally:
        child.communicate(b"\n")


def test_what_is_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderUnusableError, match=r"cannot be used as a data folder .*: give another --data-dir"):
        FolderLock(tmp_path / "file" / "below", "worker")


def test_another_host_is_named(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "worker"):
        (tmp_path / "worker.lock").write_text("12 elsewhere\n")
        with pytest.raises(FolderInUseError, match="pid 12 on elsewhere"):
            FolderLock(tmp_path, "worker")
        (tmp_path / "worker.lock").write_text("")
        with pytest.raises(FolderInUseError, match="its process id is not known"):
            FolderLock(tmp_path, "worker")
