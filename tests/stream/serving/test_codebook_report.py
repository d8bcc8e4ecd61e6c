"""The codebook's report: all of its health reaches people, programs and Prometheus."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from prometheus_client import generate_latest

from store.items import ItemCard, pack_parts
from store.settings import Settings, settings_from
from stream.cli.codebook import tell
from stream.metrics.metrics import Metrics
from stream.serving.codebook_report import as_document, measure
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.codebook import zero_codebook
from trainer.semantic_ids.health import CodebookHealth, told
from trainer.semantic_ids.topic_tree import PrefixTopic, svg
from trainer.semantic_ids.training import train_codebook

NOW = 1_700_000_000.0
SMALL = settings_from({"codebook": {"width": 16}})


def listed(count: int = 600) -> list[ItemCard]:
    random = np.random.default_rng(0)
    return [
        ItemCard(
            item_id=f"i{number}",
            codebook="",
            codes=[],
            suffix=0,
            assigned_at=NOW,
            uploaded_at=NOW - (200_000.0 if number % 2 else 100.0),
            published_at_ms=0,
            title=f"Thing {number % 7}",
            content=pack_parts({"text": random.standard_normal(24)}),
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def document() -> tuple[Metrics, dict[str, object]]:
    cards = listed()
    book = train_codebook([card.parts() for card in cards], [], SMALL, parent=zero_codebook(SMALL))
    bundle = ModelBundle(book)
    bundle.insert_many(range(len(cards)), cards)
    report = measure(bundle, list(enumerate(cards)), NOW)
    metrics = Metrics()
    report.tell(metrics)
    return metrics, as_document(report)


def test_prometheus_has_every_figure_of_health(document: tuple[Metrics, dict[str, object]]) -> None:
    metrics, shown = document
    health = msgspec.convert(shown["health"], CodebookHealth)
    text = generate_latest(metrics.registry).decode()
    for level in range(3):
        for name in ("perplexity", "dead_codes", "churn"):
            assert f'sidestream_codebook_{name}{{level="{level}"}}' in text
    for items in ("old", "fresh", "made"):
        assert f'sidestream_codebook_error{{items="{items}"}}' in text
    assert f"sidestream_codebook_drift {health.drift}" in text
    assert f"sidestream_semantic_id_distinct_ratio {health.distinct}" in text
    assert f"sidestream_semantic_id_largest_collision {float(health.largest_collision)}" in text
    assert f"sidestream_semantic_id_collision_ratio {health.collision_ratio}" in text


def test_churn_against_the_version_before_is_part_of_it(document: tuple[Metrics, dict[str, object]]) -> None:
    health = msgspec.convert(document[1]["health"], CodebookHealth)
    assert len(health.churn) == 3
    assert 0.5 < health.churn[0] <= health.churn[1] <= health.churn[2] <= 1.0


def test_the_picture_says_it_too(document: tuple[Metrics, dict[str, object]]) -> None:
    health = msgspec.convert(document[1]["health"], CodebookHealth)
    picture = svg(msgspec.convert(document[1]["topics"], PrefixTopic), told(health))
    for word in ("codes of their own", "dead", "perplexity", "drift", "churn", health.codebook):
        assert word in picture


def test_people_read_every_figure(
    document: tuple[Metrics, dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    tell(document[1])
    text = capsys.readouterr().out
    for name in ("unique", "distinct", "largest collision", "collision ratio", "error old", "error fresh", "drift"):
        assert name in text
    for column in ("codes", "dead", "perplexity", "churn"):
        assert column in text


def test_a_version_without_a_parent_says_so() -> None:
    bundle = ModelBundle(zero_codebook(Settings()))
    cards = listed(5)
    bundle.insert_many(range(5), cards)
    health = measure(bundle, list(enumerate(cards)), NOW).health
    assert health.churn == []
    assert "no version before it" in told(health)[-1]
