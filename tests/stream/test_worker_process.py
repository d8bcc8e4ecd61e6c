"""The worker's process: it ends at last, whatever still runs (how it starts and stops otherwise: test_worker)."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import time
from stream.worker_process import end_at_last
end_at_last(3, 0.5)
print("waiting", flush=True)
time.sleep({sleep_s})
"""


def run(sleep_s: float) -> tuple[int, float]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(sleep_s=sleep_s)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    began = time.monotonic()
    status = process.wait(30)
    process.stdout.close()
    return status, time.monotonic() - began


def test_a_worker_that_does_not_stop_is_ended_with_its_status() -> None:
    status, took_s = run(60.0)
    assert status == 3
    assert took_s < 20


def test_one_that_stops_by_itself_is_left_alone() -> None:
    assert run(0.0)[0] == 0
