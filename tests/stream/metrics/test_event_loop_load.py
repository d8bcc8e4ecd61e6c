"""Event-loop load: a loop that waits has time, one that always works has none, and it shows within a few probes."""

from __future__ import annotations

import asyncio
import time

from stream.metrics.event_loop_load import PROBE_S, PROBES, EventLoopLoad


async def _busy(turn_s: float) -> None:
    while True:
        end = time.perf_counter() + turn_s
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def _after(load: EventLoopLoad, probes: int) -> bool:
    await asyncio.sleep(probes * PROBE_S)
    return load.has_time


def test_it_is_the_loops_that_waits_and_not_the_one_that_works() -> None:
    async def scenario() -> None:
        load = EventLoopLoad()
        assert not load.has_time  # nothing is known yet
        probing = asyncio.create_task(load.run())
        assert await _eventually(load, True)
        work = [asyncio.create_task(_busy(0.02)) for _ in range(2)]
        assert await _eventually(load, False)
        for task in work:
            task.cancel()
        assert await _eventually(load, True)
        probing.cancel()

    asyncio.run(scenario())


async def _eventually(load: EventLoopLoad, wanted: bool) -> bool:
    for _ in range(100):
        if await _after(load, PROBES // 2 + 1) == wanted:
            return True
    return False
