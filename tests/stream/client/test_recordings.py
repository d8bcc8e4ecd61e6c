"""Recordings: lines as they were, in time order, at any pace."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from stream.client.recordings import Recorded, RecordingError, paced, read_lines, read_stream


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\r\n\n  \n{"b":\xff}')
    assert [(line.number, line.value) for line in read_lines(file)] == [(1, b'{"a": 1}'), (4, b'{"b":\xff}')]


def test_gzip_is_read_with_its_position(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b"{}\n" * 50_000))
    positions = [line.position for line in read_lines(file)]
    assert len(positions) == 50_000
    assert positions[-1] == file.stat().st_size


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b"{}\n" * 1000)[:-20]], ids=["plain", "cut"])
def test_what_is_no_gzip_is_said(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(content)
    with pytest.raises(RecordingError, match="no whole gzip file"):
        list(read_lines(file))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot read"):
        list(read_lines(tmp_path / "none"))
    with pytest.raises(RecordingError, match=r"has no uploads\.jsonl"):
        read_stream(tmp_path)


def test_a_stream_is_merged_in_time_order(tmp_path: Path) -> None:
    (tmp_path / "uploads.jsonl").write_text('{"item_id":"a","uploaded_at":1}\n{"item_id":"b","uploaded_at":5}\n')
    with gzip.open(tmp_path / "engagements.jsonl.gz", "wt") as out:
        out.write('{"occurred_at":0.5}\n{"occurred_at":5}\n{"occurred_at":7}\n')
    found = list(read_stream(tmp_path))
    assert [(event.at, event.topic) for event in found] == [
        (0.5, "engagements"),
        (1.0, "uploads"),
        (5.0, "uploads"),
        (5.0, "engagements"),
        (7.0, "engagements"),
    ]
    assert found[1] == Recorded(1.0, "uploads", b'{"item_id":"a","uploaded_at":1}')


def test_a_line_without_its_time_is_named(tmp_path: Path) -> None:
    (tmp_path / "uploads.jsonl").write_text('{"item_id":"a","uploaded_at":1}\n{"item_id":"b"}\n')
    (tmp_path / "engagements.jsonl").write_text("")
    with pytest.raises(RecordingError, match=r"uploads.jsonl line 2.*uploaded_at"):
        list(read_stream(tmp_path))


def test_pace() -> None:
    now = 100.0
    wait_s = paced(60.0, clock=lambda: now)
    assert wait_s(1000.0) == 0.0
    assert wait_s(1060.0) == pytest.approx(1.0)
    now = 105.0
    assert wait_s(1060.0) == 0.0
    assert paced(None)(1e9) == 0.0
