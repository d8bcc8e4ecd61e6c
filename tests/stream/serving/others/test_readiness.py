"""Readiness: what is waited for, by role; once ready, a worker stays so until it is to stop."""

from __future__ import annotations

import asyncio

from stream.ingest.assignment import Assignment
from stream.serving.others.readiness import Readiness, owners_of, partitions_of


def test_one_that_answers_waits_for_owners_and_stays_ready_without_them() -> None:
    urls: dict[int, str] = {1: "http://a"}
    answering: set[str] = set()
    caught_up = asyncio.Event()
    readiness = Readiness(caught_up, owners_of(3, urls, lambda: answering))
    assert readiness.told() == (False, "reading what every scorer knows")
    caught_up.set()
    ready, reason = readiness.told()
    assert not ready
    assert "owner of partitions 0, 2" in reason
    urls |= {0: "http://a", 2: "http://a"}
    ready, reason = readiness.told()
    assert not ready
    assert "no owner of a partition answers" in reason
    answering.add("http://a")
    assert readiness.told() == (True, "ready")
    answering.clear()
    assert readiness.told() == (True, "ready"), "it answers by copies"
    readiness.draining = True
    assert not readiness.told()[0]


def test_many_partitions_without_an_owner_are_not_all_named() -> None:
    assert "6, 7, …" in owners_of(20, {}, tuple)()


def test_one_that_absorbs_waits_for_the_group() -> None:
    async def scenario() -> tuple[str, str]:
        assignment = Assignment({}, lambda _: None)
        awaited = partitions_of(assignment)
        before = awaited()
        await assignment.assign([], 1, {})
        return before, awaited()

    assert asyncio.run(scenario()) == ("waiting to be assigned partitions", "")
