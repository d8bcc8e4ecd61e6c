"""A state topic that was lost is published again from the disk, also when the worker dies in the middle of that: the
next start goes on with it, and an empty disk then has every row."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from store.files.crash_points import Fault
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.ingest.owners import KilledError, Owners, click, dying_at, owners_on, signal
from tests.stream.ingest.test_lost_logs import anew
from tests.stream.log import settings_on

POINTS = ["restored", "rows_republished"]
ROWS = 1100
"""More than one chunk of those that are published again."""


async def start(owners: Owners, side: str, disk: str, fault: Fault | None = None) -> int:
    """An owner starts and is closed; how many rows it has."""
    opening: Callable = getattr(owners, side)
    try:
        await (opening(disk, fault=fault) if fault else opening(disk))
        return sum(1 for _ in owners.newest.side.rows.scan())
    finally:
        owners.close(owners.newest)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    ("side", "source", "states"), [("users", "engagements", "user-states"), ("items", "item-signals", "item-states")]
)
def test_republishing_that_was_killed_goes_on(
    embedded_broker: EmbeddedCluster, side: str, source: str, states: str, point: str
) -> None:
    name = f"again-{uuid.uuid4().hex[:8]}."
    settings = settings_on(embedded_broker.bootstrap_servers, name, kafka={"partitions": 1})
    create_topics(settings)

    async def scenario() -> None:
        async with owners_on(settings) as owners:
            made = click if side == "users" else signal
            await owners.publish(source, *(made(number, f"key-{number}") for number in range(ROWS)))
            first = await getattr(owners, side)("kept")
            await owners.work(first)
            owners.close(first)
            await anew(settings, states)
            with pytest.raises(KilledError):
                await start(owners, side, "kept", dying_at(point))
            assert await start(owners, side, "kept") == ROWS
            assert await start(owners, side, "empty") == ROWS

    asyncio.run(scenario())
