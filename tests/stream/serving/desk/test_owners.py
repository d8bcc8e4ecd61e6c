"""Owners: a partition that nobody announced has none, and a worker that says nothing is not ready."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from store.topics import ENGAGEMENTS, ITEM_SIGNALS
from stream.ingest.assignment import Assignment
from stream.metrics.metrics import Metrics
from stream.serving.desk.owners import Owners


def owners_of(metrics: Metrics, urls: dict[int, str], asked: list[str]) -> Owners:
    async def ready(url: str) -> tuple[bool | None, str]:
        asked.append(url)
        return (True, "ready") if "up" in url else (None, "it does not answer")

    scorer: Any = SimpleNamespace(owner_urls=urls)
    return Owners(
        scorer=scorer,
        assignment=Assignment({}, lambda error: None),
        metrics=metrics,
        partitions=4,
        own_url=lambda: "http://me",
        own_ready=lambda: (False, "recovering"),
        ready=ready,
    )


def test_what_is_not_known_is_none() -> None:
    metrics = Metrics()
    metrics.lag({(ENGAGEMENTS, 1): 12, (ITEM_SIGNALS, 1): 0})
    metrics.canaries.watch("upload_to_recommendable", [0, 1])
    asked: list[str] = []
    owners = owners_of(metrics, {0: "http://me", 1: "http://up", 2: "http://down"}, asked)
    said = asyncio.run(owners.told())
    assert [each["url"] for each in said["partitions"]] == ["http://me", "http://up", "http://down", None]
    assert said["partitions"][1]["lag"] == {ENGAGEMENTS: 12, ITEM_SIGNALS: 0}
    assert said["partitions"][0]["lag"] == {}
    workers = {each["url"]: (each["ready"], each["partitions"]) for each in said["workers"]}
    assert workers == {"http://me": (False, [0]), "http://up": (True, [1]), "http://down": (None, [2])}
    assert said["canaries"][0]["ages_s"] == {}
    assert said["canaries"][0]["missing"] == 2
    assert sorted(asked) == ["http://down", "http://up"]


def test_workers_are_not_asked_by_every_look() -> None:
    asked: list[str] = []
    urls = {0: "http://up"}
    owners = owners_of(Metrics(), urls, asked)

    async def main() -> None:
        for _ in range(5):
            await owners.told()
        urls[1] = "http://up-too"
        said = await owners.told()
        assert all(each["ready"] for each in said["workers"] if not each["here"])

    asyncio.run(main())
    assert asked.count("http://up") == 2, "once, and once more with the new one"
