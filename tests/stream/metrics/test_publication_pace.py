"""The pace follows what publishing costs; busy time is the time of the steps, not of the waits."""

from __future__ import annotations

import asyncio

import pytest

from stream.metrics.publication_pace import BusyTime, PublicationPace


@pytest.mark.parametrize("row_s", [1e-6, 1e-3])
def test_the_pace_follows_the_machine(row_s: float) -> None:
    pace = PublicationPace(0.1, rows_per_s=2000.0)
    assert pace.rows_per_s == pytest.approx(2000.0)
    for _ in range(60):
        pace.measured(100, 100 * row_s)
    assert pace.rows_per_s == pytest.approx(0.1 / row_s, rel=0.01)


def test_a_publication_of_few_rows_says_nothing_of_a_row() -> None:
    pace = PublicationPace(0.1, rows_per_s=2000.0)
    pace.measured(1, 0.5)
    pace.measured(0, 0.5)
    assert pace.rows_per_s == pytest.approx(2000.0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_steps_count_as_busy() -> None:
    clock = Clock()

    async def work() -> str:
        clock.now += 1.0
        await asyncio.sleep(0)
        clock.now += 2.0
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        clock.now += 4.0
        return "done"

    async def other() -> None:
        for _ in range(10):
            clock.now += 100.0
            await asyncio.sleep(0)

    async def scenario() -> float:
        timed = BusyTime(work(), clock)
        disturbing = asyncio.create_task(other())
        assert await timed == "done"
        await disturbing
        return timed.busy_s

    assert asyncio.run(scenario()) == 7.0


def test_what_is_thrown_into_it_reaches_the_work() -> None:
    cancelled: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def wait(timed: BusyTime[None]) -> None:
        await timed

    async def scenario() -> None:
        task = asyncio.create_task(wait(BusyTime(work())))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ValueError, match="no"):
            await BusyTime(fails())

    asyncio.run(scenario())
    assert cancelled == [True]
