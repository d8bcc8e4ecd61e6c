"""addresses.json: whole or not there, and believed only as far as the processes confirm it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream.up.addresses import ADDRESSES, DamagedAddressesError, is_running, read_addresses, write_addresses
from stream.up.process_identity import started


def test_written_and_read(tmp_path: Path) -> None:
    write_addresses(tmp_path, {"url": "http://x:1"})
    assert read_addresses(tmp_path) == {"url": "http://x:1"}
    assert os.listdir(tmp_path) == [ADDRESSES]


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    write_addresses(tmp_path, {"url": "old"})
    (tmp_path / f"{ADDRESSES}.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_addresses(tmp_path, {"url": "new"})
    assert read_addresses(tmp_path) == {"url": "old"}
    write_addresses(tmp_path, {"url": "new"})
    assert read_addresses(tmp_path) == {"url": "new"}


@pytest.mark.parametrize("content", [b"[]", b"", b"{", b"\xff\xfe"])
def test_what_is_damaged_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ADDRESSES).write_bytes(content)
    with pytest.raises(DamagedAddressesError, match="start `sidestream up` there again"):
        read_addresses(tmp_path)


def test_a_system_runs_as_long_as_its_own_supervisor_does() -> None:
    pid = os.getpid()
    assert is_running({"pid": pid, "started": started(pid)})
    assert not is_running({"pid": pid, "started": "another boot/1"}), "the id was given to another process"
    assert not is_running({"pid": pid, "started": started(pid), "stopped": True})
    assert is_running({"pid": pid}), "written by an older version"
    assert is_running({"url": "http://elsewhere:1"}), "written by hand"
