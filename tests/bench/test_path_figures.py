"""Where the path's time goes is told by frames: each part's name must still meet a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.path_figures import PARTS, shares
from bench.recommend import PARTS as PARTS_OF_REQUESTS
from bench.recommend import table

ROOT = Path(__file__).parents[2]
OWN = [str(file.relative_to(ROOT)) for layer in ("store", "trainer", "stream") for file in (ROOT / layer).rglob("*.py")]


@pytest.mark.parametrize(
    "pattern",
    [one for alternatives, _ in (*PARTS, *PARTS_OF_REQUESTS) for one in re.split(r"\|(?![^(]*\))", alternatives)],
)
def test_each_part_of_ours_is_a_file(pattern: str) -> None:
    if pattern.startswith(("store", "trainer", "stream")):
        assert any(re.match(pattern, file) for file in OWN), f"no file is {pattern}"


def test_time_goes_to_the_innermost_part() -> None:
    stacks = "main (stream/worker.py:1);absorb (stream/ingest/user_side.py:40);put (store/histories.py:9) 3\n"
    stacks += "main (stream/worker.py:1);run (faust/agents/agent.py:7) 1\n"
    assert shares(stacks) == {"user side: histories, signals": 0.75, "Faust": 0.25}


def test_a_request_is_told_by_parts_of_its_own() -> None:
    stacks = "run (stream/web/handlers.py:9);compute (trainer/ranking/features.py:3) 3\nselect (asyncio/base.py:2) 1\n"
    assert shares(stacks, PARTS_OF_REQUESTS, "rest") == {"features": 0.75, "rest": 0.25}


def test_parts_of_several_cases_stand_side_by_side() -> None:
    found = {"10 items": {"world": {}, "alone": {"ms by part": {"HTTP": 1.0}}, "model": {"ms by part": {"model": 2.5}}}}
    assert table(found).splitlines() == [
        "| ms by request | 10 items, alone | 10 items, model |",
        "|---|---|---|",
        "| model | 0.00 | 2.50 |",
        "| HTTP | 1.00 | 0.00 |",
    ]
