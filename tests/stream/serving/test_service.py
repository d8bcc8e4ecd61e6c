"""The worker's service without a broker: what it waits for, whom it answers itself, and what it knows of items."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec

from store.items import ItemRow
from store.requests import Answer, Note, Request
from store.settings import Serving, Settings, TaskSettings
from stream.ingest.assignment import Assignment
from stream.ingest.item_owners import ItemOwners
from stream.ingest.protocol.partition import Partition
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.metrics.metrics import Metrics
from stream.serving.others.owned_users import OwnedUsers
from stream.serving.others.readiness import Readiness, partitions_of
from stream.serving.peers import Peers
from stream.serving.scorer import Scorer
from stream.serving.service import WorkerService
from tests.small_world import card
from tests.stream.metrics.exposition import scrape
from trainer.content.encoders import text_encoder


class Alone:
    """A worker that has read the catalogue and has no partition."""

    def __init__(self, serving: Serving = Serving()) -> None:
        settings, metrics = Settings(serving=serving), Metrics()
        emitter = Emitter(settings)
        self.failures: list[BaseException] = []
        self.assignment = Assignment({}, self.failures.append)
        owners = ItemOwners(self.assignment, settings.kafka.partitions)
        self.scorer = Scorer(settings, metrics=metrics, encoder=text_encoder("static"), emitter=emitter, owners=owners)
        self.caught_up = asyncio.Event()
        count, attribution = settings.kafka.partitions, self.scorer.attribution
        users = OwnedUsers(self.assignment, count, attribution, self.scorer.frequency, owners.wanted)
        self.service = WorkerService(
            settings,
            scorer=self.scorer,
            assignment=self.assignment,
            metrics=metrics,
            emitter=emitter,
            peers=Peers(owner_of=self.scorer.owner_of, own_url=lambda: "http://me", metrics=metrics, timeout_s=1.0),
            own_url=lambda: "http://me",
            readiness=Readiness(self.caught_up, partitions_of(self.assignment)),
            users=users,
        )
        for number in range(3):
            value = msgspec.json.encode(card(number))
            self.scorer.on_card(SimpleNamespace(key=f"i{number}".encode(), value=value, partition=0))

    def close(self) -> None:
        self.scorer.close()


class Unrestored(Partition):
    """A partition that takes for ever to read its rows."""

    def __init__(self, number: int) -> None:
        super().__init__(number, 1.0, lambda *_: None)  # type: ignore[arg-type, return-value]

    async def restore(self) -> None:
        await asyncio.Event().wait()

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        return []

    async def publish(self) -> None: ...

    def close(self) -> None: ...


def test_it_is_ready_when_everything_is_read_and_the_group_has_spoken() -> None:
    async def scenario() -> list[tuple[bool, str]]:
        worker = Alone()
        said = [worker.service.ready()]
        worker.caught_up.set()
        said.append(worker.service.ready())
        await worker.assignment.assign([], 1, {})
        said.append(worker.service.ready())
        worker.close()
        return said

    said = asyncio.run(scenario())
    assert [ready for ready, _ in said] == [False, False, True]
    assert len({reason for _, reason in said}) == 3


def test_it_stays_ready_while_it_takes_partitions_over_and_until_it_is_to_stop() -> None:
    async def scenario() -> list[tuple[bool, str]]:
        worker = Alone()
        worker.caught_up.set()
        await worker.assignment.assign([], 1, {})
        said = [worker.service.ready()]
        taken_over = asyncio.create_task(worker.assignment.assign([("engagements", 0)], 2, {"engagements": Unrestored}))
        await asyncio.sleep(0)
        assert not worker.assignment.restored()
        said.append(worker.service.ready())
        worker.service.readiness.draining = True
        said.append(worker.service.ready())
        await taken_over
        await worker.assignment.stop()
        worker.close()
        return said

    assert [ready for ready, _ in asyncio.run(scenario())] == [True, True, False]


def test_a_user_of_nobody_known_is_answered_without_a_history_and_marked() -> None:
    async def scenario() -> tuple[Answer, Answer | None, Any, Any]:
        worker = Alone()
        service = worker.service
        request = Request(user_id="far", k=2)
        found = await service.recommend(request), await service.recommend_owned(request), await service.user("far")
        worker.close()
        return *found, service.owned_user("far")

    answer, owned, user, owned_user = asyncio.run(scenario())
    assert answer.degraded
    assert len(answer.items) == 2
    assert (owned, user, owned_user) == (None, None, None)


def test_a_single_request_waits_for_few_lines_of_a_batch() -> None:
    async def scenario() -> list[str]:
        worker = Alone()
        service, order = worker.service, list[str]()

        async def ask(name: str, answered: Any) -> None:
            await answered
            order.append(name)

        batch = asyncio.create_task(ask("batch", service.recommend_many([Request(user_id="")] * 40)))
        await asyncio.sleep(0)
        await asyncio.gather(*(ask("single", service.recommend(Request(user_id=""))) for _ in range(3)))
        await batch
        worker.close()
        return order

    assert asyncio.run(scenario()) == ["single"] * 3 + ["batch"]


def test_a_task_has_its_deadline_where_the_request_has_none() -> None:
    async def scenario() -> list[int | None]:
        worker = Alone(Serving(tasks={"next": TaskSettings(within_ms=70)}))
        asked: list[int | None] = []

        async def recommend(request: Request, *_: object, **__: object) -> Answer:
            asked.append(request.within_ms)
            return worker.scorer.recommender.nothing(request, Note(reason="", text=""))

        worker.scorer.recommend = recommend  # type: ignore[method-assign]
        for request in (Request(task="next"), Request(task="next", within_ms=9), Request(task="home")):
            await worker.service.recommend(request)
            await worker.service.recommend_many([request])
        worker.close()
        return asked

    single, batched, *others = asyncio.run(scenario())
    assert single == 70
    assert batched in range(1, 71), "what is left of it"
    assert others[0] == 9
    assert others[2:] == [None, None]


def test_a_user_gets_no_more_of_a_task_than_a_day_may_bring() -> None:
    async def scenario() -> list[Answer]:
        worker = Alone(Serving(tasks={"notification": TaskSettings(most_per_day=2)}, explore_share=0.0))
        asked = [*[("u", "notification")] * 3, ("u", "home"), ("v", "notification"), *[("", "notification")] * 3]
        answers = [await worker.service.recommend(Request(user_id=user, task=task)) for user, task in asked]  # type: ignore[arg-type]
        worker.close()
        return answers

    answers = asyncio.run(scenario())
    assert [len(answer.items) for answer in answers] == [3, 3, 0, 3, 3, 3, 3, 3]
    assert [note.reason for note in answers[2].notes] == ["capped"]
    assert answers[2].checkpoint == answers[1].checkpoint


def test_what_is_known_of_an_item() -> None:
    async def scenario() -> list[Any]:
        worker = Alone()
        row = msgspec.msgpack.encode(ItemRow(offset=3, counters={1: 4}))
        record = SimpleNamespace(key=b"i1", value=row, partition=0, headers=[("generation", b"1")])
        worker.scorer.rows.on_records([record])
        service = worker.service
        known = [service.item("i1"), service.item("unheard of"), service.trace("i1"), service.trace("unheard of")]
        known.append(service.search_items("item 2", 5))
        known.append(await service.similar("unheard of", 3))
        worker.close()
        return known

    item, missing, trace, no_trace, found, similar = asyncio.run(scenario())
    assert (item["title"], item["live"], list(item["counters"].values())) == ("Item 1", True, [4])
    assert [stage["stage"] for stage in trace["stages"]][:3] == ["published", "semantic_id", "live"]
    assert found == [{"item_id": "i2", "title": "Item 2"}]
    assert (missing, no_trace, similar) == (None, None, None)


def test_what_a_task_keeps_is_answered_again_and_counted_until_its_user_is_forgotten() -> None:
    async def scenario() -> tuple[list[Answer], dict[str, float]]:
        worker = Alone(Serving(tasks={"home": TaskSettings(cache_s=60.0)}, explore_share=0.0))
        asked = Request(user_id="", k=2)
        answers = [await worker.service.recommend(asked) for _ in range(2)]
        worker.scorer.kept.forget("")
        answers.append(await worker.service.recommend(asked))
        worker.close()
        return answers, scrape(worker.scorer.metrics)

    answers, series = asyncio.run(scenario())
    assert [[note.reason for note in answer.notes] for answer in answers] == [[], ["cached"], []]
    assert answers[0].items == answers[1].items
    assert series['sidestream_cached_answers_total{task="home"}'] == 1
