"""What `bench.growth` tells: workers by role, and what they cost against one."""

from __future__ import annotations

import os

from bench.growth import compared, parse, roles_of, times_s


def test_a_layout_names_the_role_of_each_worker() -> None:
    assert roles_of("all:2") == ["all", "all"]
    assert roles_of("ingest:2,serve") == ["ingest", "ingest", "serve"]
    assert all(roles_of(layout) for layout in parse([]).layouts)


def test_layouts_are_compared_with_one_worker_that_does_both() -> None:
    found = {"all:1": {"the same, beyond idle": 100.0}, "all:4": {"the same, beyond idle": 130.0}}
    assert compared(found) == {"all:1": 1.0, "all:4": 1.3}
    assert compared({"all:4": found["all:4"]}) == {}


def test_user_and_system_time_are_of_the_process() -> None:
    before = times_s(os.getpid())
    sum(number * number for number in range(1_000_000))
    after = times_s(os.getpid())
    assert after[0] > before[0]
    assert after[1] >= before[1]
