"""Scripts that are killed at a crash point: a process of their own does the real work on a folder, and dies in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def killed_at(point: str, script: str, *arguments: object) -> None:
    """Runs the script, which must come to the point (`name` or `name:count`), and dies there as by SIGKILL."""
    ran = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"SIDESTREAM_FAULT": point},
    )  # fmt: skip
    assert ran.returncode == -signal.SIGKILL, f"it did not come to {point}: {ran.stderr[-2000:]}"
