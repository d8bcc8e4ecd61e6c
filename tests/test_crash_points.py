"""Crash points are complete: every one that the code has is described, and at every one a test kills a process.

Whoever adds a boundary adds its point to `POINTS` of `store/files/crash_points.py`, and a test that dies there: each
test module that kills lists the points at which it does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from store.files.crash_points import POINTS
from tests.chaos import load, test_training_kills, test_upload_kills
from tests.store import test_checkpoint_crashes
from tests.stream.broker import test_disk_crashes
from tests.stream.client.spilling import test_spilled_sending
from tests.stream.ingest import test_republication
from tests.stream.serving import test_swaps
from tests.trainer.runs.starting import test_work_folder

ROOT = Path(__file__).parents[1]
KILLED = {
    "tests/chaos/test_kills.py": load.BOUNDARIES,
    "tests/chaos/test_upload_kills.py": test_upload_kills.POINTS,
    "tests/chaos/test_training_kills.py": test_training_kills.POINTS,
    "tests/store/test_checkpoint_crashes.py": test_checkpoint_crashes.POINTS,
    "tests/stream/broker/test_disk_crashes.py": test_disk_crashes.POINTS,
    "tests/stream/client/spilling/test_spilled_sending.py": test_spilled_sending.POINTS,
    "tests/stream/ingest/test_republication.py": test_republication.POINTS,
    "tests/stream/serving/test_swaps.py": test_swaps.POINTS,
    "tests/trainer/runs/starting/test_work_folder.py": test_work_folder.POINTS,
}
"""Test module → the crash points at which it kills."""


def points_in_the_code() -> Iterator[str]:
    for layer in ("store", "trainer", "stream"):
        for file in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _is_hook(node.func):
                    (argument,) = node.args
                    assert isinstance(argument, ast.Constant), f"{file}:{node.lineno}: name the point in the call"
                    yield argument.value


def _is_hook(called: ast.expr) -> bool:
    """`reached("…")`, or `self._fault("…")` of a partition, which has the hook as a part."""
    by_name = isinstance(called, ast.Name) and called.id == "reached"
    return by_name or (isinstance(called, ast.Attribute) and called.attr == "_fault")


def test_every_point_in_the_code_is_described_and_every_description_is_of_one() -> None:
    assert set(points_in_the_code()) == set(POINTS)


def test_a_process_is_killed_at_every_point() -> None:
    killed = {point for points in KILLED.values() for point in points}
    assert killed == set(POINTS)
