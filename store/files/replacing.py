"""Replacing: a crash, also of the machine, leaves the old content or the new."""

from __future__ import annotations

import os
from pathlib import Path

from store.files.crash_points import reached


def replace_file(path: Path, content: bytes) -> None:
    """Writes the new content beside the old, forces it to the disk, and gives it the name."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    reached("file_written")
    temporary.rename(path)


def sync_tree(folder: Path) -> None:
    """Forces a folder and everything in it to the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Forces one file, or the names in one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
