"""The stream of a demonstration: in time order, held back at its end, and remembered."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest

from stream.client.recordings import Recorded, RecordingError
from stream.demo.stream import DemoStream, Feed, recorded, simulated


def act(number: int, user: str, item: str, kind: str = "click") -> Recorded:
    value = {"event_id": str(number), "user_id": user, "item_id": item, "kind": kind, "occurred_at": float(number)}
    return Recorded(float(number), "engagements", json.dumps(value).encode())


def upload(number: int, item: str) -> Recorded:
    value = {"item_id": item, "uploaded_at": float(number), "title": f"title of {item}"}
    return Recorded(float(number), "uploads", json.dumps(value).encode())


def a_stream(held_back: int = 2) -> DemoStream:
    events = [upload(1, "a"), upload(2, "b"), act(3, "ann", "a"), act(4, "bob", "b"), act(5, "ann", "b", "impression")]
    return DemoStream("small", iter([*events, act(6, "cem", "b"), act(7, "ann", "b")]), held_back)


def test_the_last_events_are_held_back_and_none_is_lost() -> None:
    stream = a_stream()
    assert [event.at for event in stream.history()] == [1, 2, 3, 4, 5]
    assert stream.counts == {"uploads": 2, "engagements": 3}
    assert [event.at for event in stream.live()] == [6, 7]
    assert stream.counts == {"uploads": 2, "engagements": 5}


def test_a_stream_shorter_than_what_is_held_back_is_all_live() -> None:
    stream = a_stream(held_back=100)
    assert list(stream.history()) == []
    assert len(list(stream.live())) == 7


def test_it_remembers_people_fans_and_what_is_popular() -> None:
    stream = a_stream(held_back=0)
    list(stream.history())
    assert stream.people(2) == ["ann", "cem"]
    assert stream.fans("b") == ["ann", "cem", "bob"]
    assert [item["item_id"] for item in stream.popular()] == ["b", "a"]
    assert stream.popular()[0]["title"] == "title of b"


def test_now_goes_on_from_the_newest_event() -> None:
    stream = a_stream(held_back=0)
    list(stream.history())
    first = stream.now
    time.sleep(0.02)
    assert 7.0 <= first < stream.now < 8.0


def test_the_feed_publishes_what_was_held_back_and_can_be_held() -> None:
    stream = a_stream()
    list(stream.history())
    fed: list[float] = []
    with Feed(stream, lambda event: fed.append(event.at), per_s=200.0) as feed:
        feed.hold()
        time.sleep(0.1)
        assert len(fed) <= 1, "one may have been on its way"
        feed.go_on()
        end = time.monotonic() + 5.0
        while len(fed) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    assert fed == [6.0, 7.0]
    assert feed.error is None


def test_the_feed_tells_what_stopped_it() -> None:
    def refuse(event: Recorded) -> None:
        raise RuntimeError("the broker is gone")

    stream = a_stream()
    list(stream.history())
    with Feed(stream, refuse, per_s=1000.0) as feed:
        time.sleep(0.1)
    assert str(feed.error) == "the broker is gone"


def test_the_simulated_stream_ends_now() -> None:
    stream = simulated(events=3000)
    events = [*stream.history(), *stream.live()]
    assert len(events) == 3000
    assert all(earlier.at <= later.at for earlier, later in pairwise(events))
    assert abs(events[-1].at - time.time()) < 5.0


def test_a_folder_that_is_no_recording_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"has no uploads\.jsonl"):
        recorded(tmp_path)
