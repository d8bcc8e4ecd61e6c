"""Replacing a file: the old content or the new, never a part of either, and on the disk before it has the name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from store.files.replacing import replace_file, sync_tree
from tests.killed import killed_at

WRITING = """
import sys
from pathlib import Path
from store.files.replacing import replace_file
replace_file(Path(sys.argv[1]), b"new")
"""


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """What is forced to the disk, and what lies there under the name `file` at that moment."""
    found: list[tuple[Path, str]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        named = path.with_name("file")
        found.append((path, named.read_text() if named.is_file() else ""))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_the_new_content_is_forced_to_the_disk_before_it_has_the_name(
    tmp_path: Path, forced: list[tuple[Path, str]]
) -> None:
    (tmp_path / "file").write_text("old")
    replace_file(tmp_path / "file", b"new")
    assert forced == [(tmp_path / "file.tmp", "old")]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "new"}


def test_a_death_in_the_middle_leaves_the_old_content_and_stops_no_later_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    killed_at("file_written", WRITING, file)
    assert file.read_text() == "old"
    (tmp_path / "file.tmp").write_text("a longer rest than what comes")
    replace_file(file, b"newer")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "newer"}


def test_a_tree_is_forced_whole_the_folder_with_its_names_last(tmp_path: Path, forced: list[tuple[Path, str]]) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).write_text(name)
    descriptors = len(os.listdir("/proc/self/fd"))
    sync_tree(tmp_path)
    assert {path for path, _ in forced} == {tmp_path, *tmp_path.rglob("*")}
    assert forced[-1][0] == tmp_path
    assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor was left open"
