"""A replay tests before it learns: nothing that comes later changes what was measured."""

from __future__ import annotations

import random

import msgspec
import pytest

from store.events import Engagement, Upload
from store.settings import Settings, settings_from
from tests.trainer.evaluation.test_replay import DAY_S, small_stream
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import EvaluatedEngagement, Replay, ReplayOptions


def outcomes(
    uploads: list[Upload], events: list[Engagement], settings: Settings = Settings(), **options: object
) -> list[EvaluatedEngagement]:
    encoder = text_encoder("static")
    chosen = ReplayOptions(sample=10_000, examples=1.0, **options)  # type: ignore[arg-type]
    return Replay(uploads, events, encoder, chosen, settings).run().evaluated


@pytest.fixture(scope="module")
def undisturbed() -> list[EvaluatedEngagement]:
    return outcomes(*small_stream())


def test_shuffling_the_future_changes_nothing_before_it(undisturbed: list[EvaluatedEngagement]) -> None:
    uploads, events = small_stream()
    cut = 450
    times = [event.occurred_at for event in events[cut:]]
    future = events[cut:]
    random.Random(1).shuffle(future)
    shuffled = [msgspec.structs.replace(event, occurred_at=at) for event, at in zip(future, times, strict=True)]
    before = [one for one in undisturbed if one.place < cut]
    again = [one for one in outcomes(uploads, events[:cut] + shuffled) if one.place < cut]
    assert len(before) > 50
    assert before == again


@pytest.mark.parametrize(
    "cut", [pytest.param(450, marks=pytest.mark.long), 500, pytest.param(550, marks=pytest.mark.long)]
)
def test_no_future_changes_anything_before_it(cut: int, undisturbed: list[EvaluatedEngagement]) -> None:
    """The least leak, of one event, shows where that event says what is asked: so the future is all the item of the
    last engagement before it, and items that come later are other things."""
    uploads, events = small_stream()
    now, wanted = events[cut - 1].occurred_at, events[cut - 1].item_id
    future = [msgspec.structs.replace(event, item_id=wanted, user_id=f"f{n}") for n, event in enumerate(events[cut:])]
    later = [
        upload if upload.uploaded_at <= now else msgspec.structs.replace(upload, title="steam engine")
        for upload in uploads
    ]
    before = [one for one in undisturbed if one.place < cut]
    assert before[-1].place > cut - 5
    assert before == [one for one in outcomes(later, events[:cut] + future) if one.place < cut]


def test_it_learns_tastes_and_a_frozen_state_is_worse(undisturbed: list[EvaluatedEngagement]) -> None:
    def hits(found: list[EvaluatedEngagement]) -> float:
        return sum(0 <= one.rank < 10 for one in found) / len(found)

    assert hits(undisturbed) > hits(outcomes(*small_stream(), delay_s=30 * DAY_S)) + 0.1


def test_with_repeats_what_a_user_has_is_evaluated_too(undisturbed: list[EvaluatedEngagement]) -> None:
    repeats = settings_from({"serving": {"repeats": True}})
    assert len(outcomes(*small_stream(), repeats)) > len(undisturbed)


def test_a_search_is_replayed_with_its_query() -> None:
    """Nobody has taken to the wanted item before: only its words can find it."""
    uploads, events = small_stream()
    uploads.append(Upload(item_id="wanted", uploaded_at=DAY_S, title="a quiet submarine museum"))
    uploads.sort(key=lambda upload: upload.uploaded_at)
    last = events[-1]
    search = {"item_id": "wanted", "event_id": "search", "task": "search", "query": "submarine museum"}
    found = outcomes(uploads, [*events, msgspec.structs.replace(last, **search)])
    assert found[-1].place == len(events)
    assert found[-1].rank == 0
    assert "query" in found[-1].proposers
