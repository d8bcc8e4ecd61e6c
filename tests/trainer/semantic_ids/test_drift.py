"""Fresh items that do not fit the codebook call for a refresh; few of them, or fitting ones, do not."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer

from store.items import ItemCard, pack_parts
from store.log import Log
from store.settings import Settings, settings_from
from stream.kafka.topics import create_topics
from trainer.semantic_ids.codebook import Codebook, zero_codebook
from trainer.semantic_ids.drift import ENOUGH, CodebookDrift, drift
from trainer.semantic_ids.training import train_codebook

WIDTH = 24
AXES = np.random.default_rng(1).standard_normal((2, 6, WIDTH))


def content(count: int, world: int) -> list[np.ndarray]:
    """Items of one world lie in six directions of their own."""
    random = np.random.default_rng(world)
    rows = random.standard_normal((count, 6)) @ AXES[world] + 0.05 * random.standard_normal((count, WIDTH))
    return [(row / np.linalg.norm(row)).astype("f2") for row in rows]


@pytest.fixture(scope="module")
def book() -> Codebook:
    settings = settings_from({"codebook": {"width": 32}})
    return train_codebook([{"text": row} for row in content(800, 0)], [], settings)


def uploaded(count: int, world: int, at: float) -> list[ItemCard]:
    return [
        ItemCard(
            item_id=f"new-{world}-{number}",
            codebook="",
            codes=[],
            suffix=0,
            assigned_at=at,
            uploaded_at=at,
            published_at_ms=int(at * 1000),
            content=pack_parts({"text": row}),
        )
        for number, row in enumerate(content(count, world))
    ]


def test_only_enough_fresh_items_that_fit_badly_are_drift(book: Codebook) -> None:
    later, before = time.time() + 60.0, book.about["trained_at"] - 60.0
    assert drift(book, uploaded(ENOUGH, 1, later)) > 1.25
    assert drift(book, uploaded(ENOUGH, 0, later)) == pytest.approx(1.0, abs=0.15)
    assert drift(book, uploaded(ENOUGH - 1, 1, later)) == 1.0
    assert drift(book, uploaded(ENOUGH, 1, before)) == 1.0
    assert drift(zero_codebook(Settings()), uploaded(ENOUGH, 1, later)) == 1.0


def test_a_catalogue_that_has_outgrown_its_version_calls_for_another() -> None:
    made = train_codebook([{"text": row} for row in content(800, 0)], [], Settings())
    with Log(Settings().kafka) as log:  # which is not asked
        watch = CodebookDrift(log, Settings())
        assert watch.due(made, 4 * 800) == watch.due(made, 5000) == "anew"
        off = settings_from({"codebook": {"refresh_on_drift": False}})
        assert CodebookDrift(log, off).due(made, 5000) == ""


def test_the_newest_cards_of_the_log_say_when_a_refresh_is_due(embedded_broker: Any, book: Codebook) -> None:
    kafka = {"bootstrap_servers": embedded_broker.bootstrap_servers, "topic_prefix": f"d{uuid.uuid4().hex[:6]}."}
    settings = settings_from({"kafka": kafka})
    off = settings_from({"kafka": kafka, "codebook": {"refresh_on_drift": False}})
    create_topics(settings)
    with Log(settings.kafka) as log:
        assert not CodebookDrift(log, settings).due(book)
        producer = KafkaProducer(bootstrap_servers=embedded_broker.bootstrap_servers)
        for card in uploaded(2 * ENOUGH, 1, time.time()):
            producer.send(settings.topic("semantic-ids"), key=card.item_id.encode(), value=msgspec.json.encode(card))
        producer.close()
        watch = CodebookDrift(log, settings)
        assert not watch.due(None)
        assert watch.due(book)
        assert not watch.due(replace(book, version="codebook-000009-new", about={**book.about, "trained_at": 9e9}))
        assert not CodebookDrift(log, off).due(book)
