"""Replacing a small file: a crash leaves the old content or the new."""

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
