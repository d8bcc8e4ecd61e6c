"""What a scorer believes of item rows when a former owner still writes: the further row, however both come."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from store.headers import numbered
from store.items import ItemCard, ItemRow
from store.rows import Position
from store.settings import Settings
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import GENERATION, POSITION_KEY, Announcement, encode_announcement
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from stream.serving.reading.broadcast import Broadcast
from stream.serving.scorer import Scorer
from tests.clusters import EmbeddedCluster
from tests.stream.log import settings_on
from trainer.content.encoders import text_encoder

numbers = itertools.count()


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, f"sc{next(numbers)}.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


def row(offset: int, clicks: int) -> tuple[bytes, bytes, list[Any]]:
    return b"i", msgspec.msgpack.encode(ItemRow(offset, {1: clicks})), [(GENERATION, b"1")]


def position(generation: int, url: str) -> tuple[bytes, bytes, list[Any]]:
    headers = [(GENERATION, str(generation).encode())]
    return POSITION_KEY, encode_announcement(Announcement(Position(), url)), headers


class Told:
    """Owners that note what a scorer tells them."""

    def __init__(self, told: list[Any]) -> None:
        self._told = told

    def heal(self, number: int, item_id: str, offset: int) -> None:
        self._told.append((number, item_id, offset))

    def announced(self, number: int, generation: int) -> None:
        self._told.append((number, generation))

    def wanted(self, number: int, item_id: str) -> None:
        self._told.append(("wanted", number, item_id))

    def card_read(self, number: int, item_id: str, counts: bool) -> None:
        self._told.append((number, item_id, counts))

    def reassign(self, cards: Callable[[int], Sequence[ItemCard]]) -> None:
        self._told.append(cards)


async def hear(settings: Settings, *fetches: list[tuple[bytes, bytes, list[Any]]]) -> tuple[Scorer, list[Any]]:
    """A scorer that has read what was published; each list arrives together. And what it told the owner."""
    emitter = Emitter(settings)
    await emitter.start()
    told: list[Any] = []
    owners = Told(told)
    scorer = Scorer(settings, metrics=Metrics(), encoder=text_encoder("static"), emitter=emitter, owners=owners)
    task = None
    for rows in fetches:
        await emitter.send_rows("item-states", 0, rows)
        if task is None:
            broadcast = Broadcast(settings, scorer.handlers(), scorer.batch_handlers())
            task = asyncio.create_task(broadcast.run())
            await asyncio.wait_for(broadcast.caught_up.wait(), 20)
        await asyncio.sleep(0.5)
    assert task is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await emitter.stop()
    scorer.close()
    return scorer, told


@pytest.mark.parametrize("together", [True, False])
def test_an_older_row_that_comes_later_is_not_believed_and_its_owner_is_told(
    settings: Settings, together: bool
) -> None:
    rows = [row(2, 3), row(9, 10), row(4, 5)]
    scorer, told = asyncio.run(hear(settings, *([rows] if together else [[one] for one in rows])))
    assert scorer.rows.counters("i") == {1: 10}
    assert told == [(0, "i", 4)]


def test_at_the_start_cards_come_before_rows(settings: Settings) -> None:
    """Else all rows of a large catalogue would wait for their cards, of which only some are kept."""

    async def read() -> list[str]:
        emitter = Emitter(settings)
        await emitter.start()
        await emitter.send_rows("item-states", 0, [row(1, 1)] * 20)
        await emitter.send_rows("semantic-ids", 0, [(b"i", b"{}", [])] * 20)
        order: list[str] = []
        handlers = {name: lambda _, name=name: order.append(name) for name in ("item-states", "semantic-ids")}
        broadcast = Broadcast(settings, handlers, later=("item-states",))
        task = asyncio.create_task(broadcast.run())
        await asyncio.wait_for(broadcast.caught_up.wait(), 20)
        await emitter.send_rows("semantic-ids", 0, [(b"i", b"{}", [])])
        while len(order) < 41:
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await emitter.stop()
        return order

    order = asyncio.run(asyncio.wait_for(read(), 60))
    assert order == ["semantic-ids"] * 20 + ["item-states"] * 20 + ["semantic-ids"]


def test_of_many_rows_that_come_together_the_last_is_the_furthest(settings: Settings) -> None:
    scorer, told = asyncio.run(hear(settings, [row(n, n) for n in range(20)], [row(19, 19)]))
    assert (scorer.rows.counters("i"), told) == ({1: 19}, [])


def test_an_owner_is_told_who_announces_itself(settings: Settings) -> None:
    scorer, told = asyncio.run(hear(settings, [position(7, "http://owner")], [position(6, "http://former")]))
    assert told == [(0, 7), (0, 6)]
    assert scorer.owner_urls == {0: "http://former"}  # until the owner says so again


def test_a_card_behind_its_take_down_is_not_live_and_its_owner_hears_of_it(settings: Settings) -> None:
    card = ItemCard(item_id="i", codebook="c", codes=[0], suffix=0, assigned_at=0.0, uploaded_at=0.0, published_at_ms=1)
    owners = Told(told := [])
    scorer = Scorer(
        settings, metrics=Metrics(), encoder=text_encoder("static"), emitter=Emitter(settings), owners=owners
    )

    def read(offset: int, up: bool) -> tuple[bool, bool]:
        value = msgspec.json.encode(msgspec.structs.replace(card, upload_offset=offset)) if up else None
        headers = [] if up else numbered(upload_offset=offset)
        scorer.on_card(SimpleNamespace(key=b"i", value=value, headers=headers, partition=3))
        number, item_id, counts = told.pop()
        assert (number, item_id) == (3, "i")
        return scorer.card("i") is not None, counts

    assert read(5, True) == (True, True)
    assert read(6, False) == (False, True)
    assert read(5, True) == (False, False)
    assert read(6, False) == (False, True)  # the owner has said it again
    assert read(9, True) == (True, True)
    assert read(6, False) == (True, False)
    scorer.close()
