"""A recorded stream is read from either form of file; which engagements are evaluated depends on each one alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from store.events import Engagement, Upload
from trainer.evaluation.recorded_streams import StreamError, evaluable_places, read_events, sample_places

WEIGHTS = {"click": 1.0, "skip": -1.0}


def engagement(number: int, user: str = "u", item: str = "i", kind: str = "click") -> Engagement:
    fields = {"event_id": f"e{number}", "user_id": user, "item_id": item, "kind": kind, "occurred_at": float(number)}
    return msgspec.convert(fields, Engagement)


def test_plain_and_packed_files_read_the_same_and_empty_lines_do_not_count(tmp_path: Path) -> None:
    events = [engagement(number) for number in range(3)]
    lines = b"\n\n".join(map(msgspec.json.encode, events)) + b"\n"
    (tmp_path / "engagements.jsonl").write_bytes(lines)
    plain = read_events(tmp_path, "engagements", Engagement)
    (tmp_path / "engagements.jsonl").unlink()
    (tmp_path / "engagements.jsonl.gz").write_bytes(gzip.compress(lines))
    assert read_events(tmp_path, "engagements", Engagement) == plain == events


def test_a_folder_without_the_file_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"no uploads\.jsonl"):
        read_events(tmp_path, "uploads", Upload)


def test_evaluable_is_a_positive_engagement_with_a_live_item_that_is_new_to_the_user() -> None:
    uploads = [Upload(item_id="i", uploaded_at=0.0), Upload(item_id="late", uploaded_at=9.0)]
    events = [
        engagement(0, "first half"),
        engagement(1, "a"),
        engagement(2, "a", item="unknown"),
        engagement(3, "b", kind="skip"),
        engagement(4, "b"),
        engagement(5, "b"),
        engagement(6, "a"),
        engagement(7, "c", item="late"),
    ]
    assert evaluable_places(uploads, events, WEIGHTS) == [4]
    assert evaluable_places(uploads, events, WEIGHTS, repeats=True) == [4, 5, 6]
    assert evaluable_places(uploads, events, WEIGHTS, evaluated_from=0.0) == [0, 1, 4]


def test_a_sample_depends_on_each_event_alone() -> None:
    events = [engagement(number) for number in range(200)]
    places = list(range(200))
    few, many = sample_places(events, places, 20, seed=1), sample_places(events, places, 50, seed=1)
    assert (len(few), len(many)) == (20, 50)
    assert few < many
    assert few != sample_places(events, places, 20, seed=2)
    half = sample_places(events, places[100:], 20, seed=1)
    assert {place for place in few if place >= 100} <= half
