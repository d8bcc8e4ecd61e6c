"""Crash points: a process dies at the boundary that was asked for, at the time that was asked for, and at no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from store.files.crash_points import crash_point_from, no_fault

SCRIPT = """
import os
from store.files.crash_points import crash_point_from
crash_point = crash_point_from(os.environ)
for number in range(5):
    for boundary in ("written", "absorbed", "sent", "published"):
        print(number, boundary, flush=True)
        crash_point(boundary)
"""


def test_off_unless_asked() -> None:
    assert crash_point_from({}) is no_fault
    assert crash_point_from({"SIDESTREAM_FAULT": ""}) is no_fault


@pytest.mark.parametrize(
    ("wanted", "last"), [("sent:3", "2 sent"), ("written", "0 written"), ("published:9", "4 published")]
)
def test_the_process_is_killed_there(wanted: str, last: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3],
        env=os.environ | {"SIDESTREAM_FAULT": wanted},
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1] == last
    assert ran.returncode == (0 if wanted == "published:9" else -signal.SIGKILL)


def test_the_process_stands_still_there_and_goes_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
        env=os.environ | {"SIDESTREAM_FAULT": "sent:3:STOP"},
    )  # fmt: skip
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.stdout.close()
    assert (process.wait(), lines[-1]) == (0, "4 published")
