"""The simulated population keeps its promises: seeded, in event time, and with something to learn in it."""

from __future__ import annotations

import doctest
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice, pairwise

import msgspec
import pytest

import stream.demo.population
from store.events import KINDS, Engagement, Upload, decode_engagements, decode_uploads
from stream.demo.population import Census, Population

CENSUS = Census(users=200, creators=30, first_items=150, sessions_per_hour=300.0, seed=7)


@pytest.fixture(scope="module")
def events() -> list[Upload | Engagement]:
    return list(islice(Population(CENSUS), 30_000))


def engagements(events: Iterable[Upload | Engagement], kind: str | None = None) -> list[Engagement]:
    return [event for event in events if isinstance(event, Engagement) and kind in (None, event.kind)]


def at(event: Upload | Engagement) -> float:
    return event.uploaded_at if isinstance(event, Upload) else event.occurred_at


def test_the_seed_decides_everything(events: list[Upload | Engagement]) -> None:
    assert list(islice(Population(CENSUS), 2000)) == events[:2000]
    other = islice(Population(Census(**{**_fields(CENSUS), "seed": 8})), 2000)
    assert list(other) != events[:2000]


def _fields(census: Census) -> dict[str, float]:
    return {name: getattr(census, name) for name in Census.__dataclass_fields__}


def test_events_come_in_event_time_and_every_item_before_its_engagements(events: list[Upload | Engagement]) -> None:
    assert all(at(earlier) <= at(later) for earlier, later in pairwise(events))
    known: set[str] = set()
    for event in events:
        if isinstance(event, Upload):
            assert event.item_id not in known
            known.add(event.item_id)
        else:
            assert event.item_id in known


def test_ids_are_unique_and_every_event_is_acceptable(events: list[Upload | Engagement]) -> None:
    acts = engagements(events)
    assert len({act.event_id for act in acts}) == len(acts)
    for event in events[:2000]:
        value = msgspec.json.encode(event)
        decode = decode_uploads if isinstance(event, Upload) else decode_engagements
        assert decode(value, now=at(event)).events == [event]


def test_all_that_people_do_is_there_and_impressions_lead(events: list[Upload | Engagement]) -> None:
    counts = Counter(act.kind for act in engagements(events))
    assert {"impression", "skip", "click", "watch", "like", "share", "save"} <= set(counts) <= set(KINDS)
    assert counts["impression"] > counts["click"] > counts["like"] > 0
    assert 0.2 < counts["click"] / counts["impression"] < 0.8


def test_items_have_text_in_the_words_of_their_topic(events: list[Upload | Engagement]) -> None:
    items = [event for event in events if isinstance(event, Upload)]
    assert len({item.title for item in items}) > 0.8 * len(items)
    for item in items:
        assert item.title
        assert item.category in item.tags
        assert item.tags[1] in (item.description or "")


def test_new_items_go_on_arriving_and_are_found(events: list[Upload | Engagement]) -> None:
    late = [event for event in events[15_000:] if isinstance(event, Upload)]
    clicked = {act.item_id for act in engagements(events, "click")}
    assert late
    assert len([item for item in late[: len(late) // 2] if item.item_id in clicked]) > len(late) // 4


def test_there_is_something_to_learn(events: list[Upload | Engagement]) -> None:
    """A person's next click is mostly of the topic of the last, and mostly recent: chance is one in sixteen."""
    items = {event.item_id: event for event in events if isinstance(event, Upload)}
    clicks: dict[str, list[Engagement]] = defaultdict(list)
    for act in engagements(events, "click"):
        clicks[act.user_id].append(act)
    pairs = [pair for acts in clicks.values() for pair in pairwise(acts)]
    same = sum(items[a.item_id].category == items[b.item_id].category for a, b in pairs)
    assert same / len(pairs) > 0.4
    tastes = [Counter(items[act.item_id].category for act in acts).most_common(3) for acts in clicks.values()]
    kept = sum(count for top in tastes for _, count in top) / sum(map(len, clicks.values()))
    assert kept > 0.75


def test_fresh_hits_burst(events: list[Upload | Engagement]) -> None:
    counts = Counter(act.item_id for act in engagements(events, "click"))
    ordered = sorted(counts.values(), reverse=True)
    assert sum(ordered[: len(ordered) // 10]) > 0.25 * sum(ordered)


def test_the_example_runs() -> None:
    assert doctest.testmod(stream.demo.population).failed == 0
