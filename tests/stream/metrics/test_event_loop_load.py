"""Leisure: a loop that waits has time, one that always works has none, and it shows within a few beats."""

from __future__ import annotations

import asyncio
import time

from stream.metrics.event_loop_load import BEAT_S, BEATS, EventLoopLoad


async def _busy(turn_s: float) -> None:
    while True:
        end = time.perf_counter() + turn_s
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def _after(leisure: EventLoopLoad, beats: int) -> bool:
    await asyncio.sleep(beats * BEAT_S)
    return leisure.has_time


def test_it_is_the_loops_that_waits_and_not_the_one_that_works() -> None:
    async def scenario() -> None:
        leisure = EventLoopLoad()
        assert not leisure.has_time  # nothing is known yet
        beating = asyncio.create_task(leisure.run())
        assert await _eventually(leisure, True)
        work = [asyncio.create_task(_busy(0.02)) for _ in range(2)]
        assert await _eventually(leisure, False)
        for task in work:
            task.cancel()
        assert await _eventually(leisure, True)
        beating.cancel()

    asyncio.run(scenario())


async def _eventually(leisure: EventLoopLoad, wanted: bool) -> bool:
    for _ in range(100):
        if await _after(leisure, BEATS // 2 + 1) == wanted:
            return True
    return False
