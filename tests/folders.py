"""Folders for tests that open many databases: in memory where that can be had, as databases wait for disks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MEMORY = "/dev/shm"


def memory_folder() -> Path:
    """A new folder; the caller removes it."""
    return Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
