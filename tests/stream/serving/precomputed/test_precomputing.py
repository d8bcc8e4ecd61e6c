"""Precomputing: lists come by themselves, in their own thread, and what they answer counts like any other answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.events import Engagement
from store.requests import Answer, Request
from store.settings import Precomputed, Serving
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from stream.serving.precomputed import precomputing
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster
from tests.stream.log import settings_on
from tests.stream.metrics.exposition import scrape
from tests.stream.serving.test_service import Alone
from tests.waiting import eventually
from trainer.model_bundle import ModelBundle
from trainer.tables.questions import Question
from trainer.tables.table import Table

ON = Serving(precomputed=Precomputed(share=1.0, length=3), explore_share=0.0, impression_sample=1.0)
SIMILAR = Request(user_id="new", task="similar", item_id="i1", k=2)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precomputing, "PLAN_S", 0.0)
    monkeypatch.setattr(precomputing, "TURN_S", 0.01)


async def asked_until(worker: Alone, request: Request, wanted: Callable[[Answer], bool]) -> Answer:
    async with asyncio.timeout(60):
        while not wanted(answer := await worker.scorer.recommend(request, None)):
            await asyncio.sleep(0.01)
    return answer


def of_a_table(answer: Answer) -> bool:
    return "table" in {note.reason for note in answer.notes}


async def with_tables(use: Callable[[Alone], Any], serving: Serving = ON) -> Any:
    worker = Alone(serving)
    worker.caught_up.set()
    task = asyncio.create_task(worker.scorer.precomputing.run(worker.caught_up))
    try:
        return await use(worker)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        worker.close()


def test_lists_come_by_themselves_and_say_what_the_live_answer_says(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    compute = Table.compute

    def watched(table: Table, question: Question) -> Any:
        threads.add(threading.current_thread().name)
        return compute(table, question)

    monkeypatch.setattr(Table, "compute", watched)

    async def use(worker: Alone) -> tuple[Answer, Answer, dict[str, float], bool]:
        live = await worker.scorer.recommend(SIMILAR, None)
        found = await asked_until(worker, SIMILAR, of_a_table)
        fields = {"event_id": "e", "user_id": "new", "item_id": found.items[0].item_id, "kind": "click"}
        event = msgspec.convert({**fields, "occurred_at": worker.scorer.recommender.now_s}, Engagement)
        return live, found, scrape(worker.scorer.metrics), worker.scorer.attribution.shown_here(event)

    live, found, series, attributed = asyncio.run(with_tables(use))
    assert found.items == live.items
    assert attributed
    assert threads
    assert all(name.startswith("tables") for name in threads)
    answered = series['sidestream_table_requests_total{result="answered",task="similar"}']
    assert answered == series["sidestream_table_age_seconds_count{}"] == 1
    assert series['sidestream_table_requests_total{result="missing",task="similar"}'] >= 1
    assert series['sidestream_table_cpu_seconds_total{of="saved"}'] > 0
    assert series['sidestream_table_cpu_seconds_total{of="spent"}'] > 0
    assert series['sidestream_shown_lines_total{source="ranked"}'] >= 4


def test_after_a_swap_what_was_asked_most_is_made_under_the_new_checkpoint_and_take_downs_count_at_once() -> None:
    async def use(worker: Alone) -> tuple[Answer, Answer]:
        recommender = worker.scorer.recommender
        await asked_until(worker, SIMILAR, of_a_table)
        recommender.exchange(ModelBundle(recommender.serving.codebook, checkpoint="c1"))
        swapped = await worker.scorer.recommend(SIMILAR, None)
        assert swapped.checkpoint == "c1"
        await asked_until(worker, SIMILAR, of_a_table)
        recommender.remove("i2")
        return swapped, await worker.scorer.recommend(SIMILAR, None)

    swapped, after = asyncio.run(with_tables(use))
    assert "i2" in {line.item_id for line in swapped.items}
    assert "i2" not in {line.item_id for line in after.items}


def test_what_is_popular_is_listed_before_anybody_asks() -> None:
    async def use(worker: Alone) -> None:
        table = worker.scorer.precomputing.table
        async with asyncio.timeout(60):
            while not len(table):
                await asyncio.sleep(0.01)
        assert of_a_table(await worker.scorer.recommend(Request(user_id="new", k=3), None))
        assert not of_a_table(await worker.scorer.recommend(SIMILAR, None))

    asyncio.run(with_tables(use))


def test_a_failure_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(precomputing, "RESTS_S", 0.0)
    compute, failed = Table.compute, []

    def failing(table: Table, question: Question) -> Any:
        if question.task == "similar" and not failed:
            failed.append(question)
            raise ArithmeticError("for once")
        return compute(table, question)

    monkeypatch.setattr(Table, "compute", failing)
    asyncio.run(with_tables(lambda worker: asked_until(worker, SIMILAR, of_a_table)))
    assert failed == [Question("similar", "i1")]
    assert "a list was not made" in caplog.text


def test_without_a_share_there_is_none() -> None:
    async def use(worker: Alone) -> None:
        await worker.scorer.precomputing.run(worker.caught_up)
        for _ in range(3):
            assert not of_a_table(await worker.scorer.recommend(SIMILAR, None))
        assert len(worker.scorer.precomputing.table.demand) == 0

    asyncio.run(with_tables(use, Serving()))


@pytest.mark.long
def test_over_http_a_list_is_looked_up_and_what_is_taken_down_is_in_none(
    embedded_broker: EmbeddedCluster, tmp_path: Path
) -> None:
    tables = {"precomputed": {"share": 1.0, "length": 4}, "explore_share": 0.0}
    settings = settings_on(embedded_broker.bootstrap_servers, "listed.", kafka={"partitions": 1}, serving=tables)
    create_topics(settings)
    worker = WorkerProcess(settings, tmp_path / "worker", data_dir=tmp_path / "data")

    def similar() -> dict[str, Any]:
        found: dict[str, Any] = worker.get("/v1/items/i0/similar", k="3").json()
        return found

    def looked_up() -> bool:
        return "table" in {note["reason"] for note in similar()["notes"]}

    try:
        worker.start()
        worker.await_ready()
        with Publisher(settings=settings) as publisher:
            for number in range(6):
                publisher.upload({"item_id": f"i{number}", "uploaded_at": 1.7e9, "title": f"Tale {number} of the kite"})
            publisher.flush(30)
            eventually(lambda: worker.get("/v1/items/i5").status_code == 200)
            eventually(looked_up)
            gone = similar()["items"][0]["item_id"]
            publisher.take_down(gone)
            publisher.flush(30)
            eventually(lambda: not worker.get(f"/v1/items/{gone}").json().get("live", False))
            for _ in range(50):
                assert gone not in {line["item_id"] for line in similar()["items"]}
            eventually(looked_up)
        assert worker.stop() == 0
    finally:
        worker.remove()
