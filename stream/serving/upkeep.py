"""Upkeep: what a scorer does between requests, in a thread of its own, so that no swap ever waits for it.

The vector space is fitted again when enough was learned, in at most a tenth of the time; the health of the serving
codebook is measured now and then, and at once after a swap.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from stream.metrics.metrics import Metrics
from stream.serving.codebook_report import CodebookReport, measure
from trainer.model_bundle import NO_CHECKPOINT, ModelBundle
from trainer.recommender import Recommender

log = logging.getLogger(__name__)

TURN_S = 0.2
"""How often it is asked whether the space is due: a young stream grows by an eighth within seconds."""

MEASURE_EVERY_S = 30.0
"""How often the health of the codebook is measured, where that takes little: a hundred thousand items take about a
second of a thread, and a twentieth of its time is the most that is given to it."""


class Upkeep:
    """Keeps one recommender fit. `codebook_report` is the newest measurement, None before the first."""

    def __init__(self, metrics: Metrics, recommender: Recommender) -> None:
        self.codebook_report: CodebookReport | None = None
        self._metrics = metrics
        self._recommender = recommender
        self._measured: ModelBundle | None = None
        self._measures_at = 0.0
        self._rests_until = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upkeep")

    async def run(self, caught_up: asyncio.Event) -> None:
        """Works until cancelled."""
        await caught_up.wait()
        while True:
            self._report()
            await self._fit()
            await self._measure()
            await asyncio.sleep(TURN_S)

    def _report(self) -> None:
        serving = self._recommender.serving
        self._metrics.live_items(self._recommender.catalog.live_count)
        coverage = self._recommender.exploration.coverage(self._recommender.catalog)
        if coverage.explorable:
            self._metrics.explored(coverage.covered / coverage.explorable)
        heads = self._recommender.ranker.heads
        self._metrics.ranker_measured(
            {name: one.error for name, one in heads.measured().items()} if heads is not None else {}
        )
        if serving.checkpoint != NO_CHECKPOINT:
            self._metrics.serving(data_until=serving.data_until, published_at=serving.published_at)

    async def _fit(self) -> None:
        began = time.monotonic()
        if began < self._rests_until:  # a young stream is due all the time
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._recommender.maintain)
            self._rests_until = time.monotonic() + 9.0 * (time.monotonic() - began)
        except Exception:
            log.exception("the vector space was not fitted again; the one before it goes on serving")

    async def _measure(self) -> None:
        serving, began = self._recommender.serving, time.monotonic()
        if began < self._measures_at and self._measured is serving:
            return
        cards = self._recommender.catalog.cards.items()
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, measure, serving, cards, self._recommender.now_s
        )
        self.codebook_report, self._measured = await work, serving
        self._measures_at = began + max(MEASURE_EVERY_S, 20.0 * (time.monotonic() - began))
        self.codebook_report.tell(self._metrics)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
