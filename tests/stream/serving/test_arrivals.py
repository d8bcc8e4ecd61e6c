"""What a scorer observes of what it reads: each event once, and nothing that was there before it started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from store.headers import numbered
from store.records.canaries import canary_id
from store.records.foreign import ForeignRecordError
from stream.serving.scorer import Scorer
from tests.stream.metrics.exposition import scrape
from tests.stream.serving.uncatalogued.test_waiting_rows import card, row, scorer_that_tells

OWN = canary_id(0, 4)


@pytest.fixture
def scorer() -> Any:
    scorer = scorer_that_tells([])
    yield scorer
    scorer.close()


def observed(scorer: Scorer, stage: str) -> float:
    return scrape(scorer.metrics)[f"sidestream_{stage}_seconds_count{{}}"]


def test_a_canary_is_seen_and_is_no_item(scorer: Scorer) -> None:
    scorer.metrics.canaries.watch("upload_to_recommendable", {0})
    scorer.on_card(SimpleNamespace(key=OWN.encode(), value=None, headers=numbered(canary_at_ms=1000), partition=0))
    assert scorer.metrics.canaries.missing() == {"upload_to_recommendable": 0}
    assert (len(scorer.recommender.catalog), scorer.card(OWN)) == (0, None)
    assert observed(scorer, "upload_to_recommendable") == 0


@pytest.mark.parametrize("made", [card(OWN), SimpleNamespace(key=OWN.encode(), value=None, headers=[], partition=0)])
def test_nobody_else_makes_an_item_of_a_canary(scorer: Scorer, made: Any) -> None:
    with pytest.raises(ForeignRecordError, match="the id of a canary"):
        scorer.on_card(made)
    assert scorer.card(OWN) is None


def test_a_restart_observes_nothing_again(scorer: Scorer) -> None:
    """A rolling restart observed the whole catalogue as late, and paged twice."""
    scorer.arrivals.is_news = lambda _: False
    scorer.on_card(card("a"))
    scorer.rows.on_records([caused("a", 5)])
    assert (observed(scorer, "upload_to_recommendable"), observed(scorer, "engagement_to_embedding")) == (0, 0)
    scorer.arrivals.is_news = lambda _: True
    scorer.on_card(card("b"))
    scorer.rows.on_records([caused("a", 6)])
    assert (observed(scorer, "upload_to_recommendable"), observed(scorer, "engagement_to_embedding")) == (1, 1)


def test_a_row_that_is_published_again_is_observed_once(scorer: Scorer) -> None:
    """A new owner reads again what the former one had not committed, and publishes what its rows are by then."""
    scorer.on_card(card("a"))
    for offset in (5, 5, 4):
        scorer.rows.on_records([caused("a", offset)])
    scorer.rows.on_records([caused("a", 7), caused("a", 7), caused("a", 7)])
    assert observed(scorer, "engagement_to_embedding") == 2


def caused(item: str, offset: int) -> Any:
    found = row(item, offset, 1)
    found.headers.append(("caused_at_ms", b"1000"))
    return found
