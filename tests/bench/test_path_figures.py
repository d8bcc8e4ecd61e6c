"""Where the path's time goes is told by frames: each part's name must still meet a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.path_figures import PARTS, shares

ROOT = Path(__file__).parents[2]
OWN = [str(file.relative_to(ROOT)) for layer in ("store", "trainer", "stream") for file in (ROOT / layer).rglob("*.py")]


@pytest.mark.parametrize(
    "pattern", [one for alternatives, _ in PARTS for one in re.split(r"\|(?![^(]*\))", alternatives)]
)
def test_each_part_of_ours_is_a_file(pattern: str) -> None:
    if pattern.startswith(("store", "trainer", "stream")):
        assert any(re.match(pattern, file) for file in OWN), f"no file is {pattern}"


def test_time_goes_to_the_innermost_part() -> None:
    stacks = "main (stream/worker.py:1);absorb (stream/ingest/user_side.py:40);put (store/histories.py:9) 3\n"
    stacks += "main (stream/worker.py:1);run (faust/agents/agent.py:7) 1\n"
    assert shares(stacks) == {"user side: histories, signals": 0.75, "Faust": 0.25}
