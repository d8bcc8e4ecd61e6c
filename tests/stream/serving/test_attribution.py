"""Attribution: which engagements are published as outcomes, and what is counted as a hit."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from store.events import Engagement
from store.records.peer_messages import ShownAnswer
from store.requests import Answer, RecommendedItem, Request
from stream.serving.attribution import MOST_WORKERS, Attribution
from trainer.answers import Served
from trainer.ranking.columns import NAMES
from trainer.ranking.impressions import ImpressionOutcome, Shown

WINDOW_S = 100.0
AT = 1.7e9


def served(request_id: str, items: tuple[str, ...] = ("a", "b"), explored: str = "") -> Served:
    lines = [
        RecommendedItem(
            item_id=item, score=1.0, semantic_id=[], source="explore" if item == explored else "popular", reason=""
        )
        for item in items
    ]
    answer = Answer(items=lines, checkpoint="none", codebook="c", request_id=request_id, took_ms=1.0)
    return Served(answer, np.ones((len(items), len(NAMES)), np.float32), AT)


def engaged(item: str, at: float = AT + 1, request_id: str | None = None, event_id: str = "e") -> Engagement:
    return Engagement(event_id=event_id, user_id="u", item_id=item, kind="click", occurred_at=at, request_id=request_id)


def decoded(value: bytes | None) -> ImpressionOutcome:
    assert value is not None
    return msgspec.msgpack.decode(value, type=ImpressionOutcome)


def test_what_is_shown_is_published_with_its_features() -> None:
    value = Attribution(1.0, WINDOW_S).serve(Request(user_id="u", task="home"), served("r"))
    assert value is not None
    shown = msgspec.msgpack.decode(value, type=Shown)
    assert (shown.request_id, shown.item_ids, shown.shown_at, shown.columns) == ("r", ["a", "b"], AT, len(NAMES))
    assert np.frombuffer(shown.features, "<f2").reshape(2, -1).tolist() == np.ones((2, len(NAMES))).tolist()


def test_nobody_in_particular_and_an_empty_answer_are_not_published() -> None:
    attribution = Attribution(1.0, WINDOW_S)
    assert attribution.serve(Request(task="similar", item_id="x"), served("r")) is None
    assert attribution.serve(Request(user_id="u"), served("r", ())) is None


def test_an_engagement_that_names_its_request_is_told_by_a_worker_that_never_saw_it() -> None:
    outcome = decoded(Attribution(1.0, WINDOW_S).outcome(engaged("a", request_id="r"), 1.0))
    assert (outcome.request_id, outcome.user_id, outcome.item_id, outcome.weight) == ("r", "u", "a", 1.0)


def test_one_that_does_not_is_told_by_the_worker_that_showed_it_within_the_window() -> None:
    attribution = Attribution(1.0, WINDOW_S)
    assert attribution.outcome(engaged("a"), 1.0) is None
    attribution.serve(Request(user_id="u"), served("r"))
    assert decoded(attribution.outcome(engaged("a"), 1.0)).request_id == "r"
    assert decoded(attribution.outcome(engaged("a", request_id="the application's own"), 1.0)).request_id == "r"
    assert attribution.outcome(engaged("a", AT + WINDOW_S + 1), 1.0) is None
    assert attribution.outcome(engaged("z"), 1.0) is None


def test_all_workers_agree_on_the_share_that_is_published() -> None:
    first, second = Attribution(0.3, WINDOW_S), Attribution(0.3, WINDOW_S)
    names = [f"{number:016x}" for number in range(2000)]
    told = [first.serve(Request(user_id="u"), served(name)) is not None for name in names]
    assert told == [second.outcome(engaged("a", request_id=name), 1.0) is not None for name in names]
    assert np.mean(told) == pytest.approx(0.3, abs=0.05)
    assert not any(Attribution(0.0, WINDOW_S).published(name) for name in names)


def test_a_hit_counts_once_and_explored_ones_apart() -> None:
    heard: list[tuple[str, bool]] = []
    attribution = Attribution(0.0, WINDOW_S, lambda *told: heard.append(told))
    attribution.serve(Request(user_id="u"), served("r", explored="b"))
    for item in ("a", "b", "b", "a"):
        attribution.outcome(engaged(item, request_id="r"), 1.0)
    attribution.outcome(engaged("a", request_id="r"), -1.0)
    assert (attribution.hits, attribution.explored_hits, heard) == (2, 1, [("a", False), ("b", True)])


def test_a_line_that_another_worker_has_shown_is_told_to_it_and_counted_there() -> None:
    here: list[tuple[str, bool]] = []
    attribution = Attribution(1.0, WINDOW_S, lambda *hit: here.append(hit))
    attribution.shown_by("http://s", ShownAnswer("u", "home", "r", AT, ["a", "b"], explored=0))
    assert decoded(attribution.outcome(engaged("a"), 1.0)).request_id == "r"
    attribution.outcome(engaged("a", event_id="again"), 1.0)
    assert (attribution.hits, here) == (0, [])
    assert attribution.take_hits("http://s") == [("a", True)]
    assert attribution.take_hits("http://s") == []
    attribution.hit("a", True)
    assert (attribution.hits, attribution.explored_hits, here) == (1, 1, [("a", True)])


def test_hits_wait_for_so_many_workers_and_no_longer() -> None:
    attribution = Attribution(1.0, WINDOW_S)
    for number in range(MOST_WORKERS + 5):
        attribution.shown_by(f"http://{number}", ShownAnswer("u", "home", f"r{number}", AT, ["a"]))
        attribution.outcome(engaged("a"), 1.0)
    assert attribution.take_hits("http://0") == []
    assert attribution.take_hits(f"http://{MOST_WORKERS + 4}") == [("a", False)]
