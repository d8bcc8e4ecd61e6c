"""The trace file: what was added is read again, broken lines are not, it stays small, and no disk is no matter."""

from __future__ import annotations

import logging
from collections.abc import ItemsView
from pathlib import Path

import pytest

from stream.serving.trace_file import SPARE_LINES, Times, TraceFile


def test_what_was_added_is_read_again_and_broken_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    kept = {"a": {"live": 1.5}, "ü\n": {"live": 2.0}}
    file = TraceFile(path)
    for item_id, times in kept.items():
        file.add(item_id, times, [kept])
    file.close()
    path.write_bytes(path.read_bytes() + b'["b", {"live": "x"}]\n[1]\n\xff\xfe\n["half')
    assert dict(TraceFile(path).read()) == kept
    assert list(TraceFile(tmp_path / "none").read()) == []


def test_it_stays_small_however_often_an_item_changes(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    file = TraceFile(path)
    kept = {"a": {"live": 0.0}}
    for number in range(SPARE_LINES * 1000 + 10):
        kept["a"]["live"] = float(number)
        file.add("a", kept["a"], [kept])
    file.close()
    assert len(path.read_bytes().splitlines()) < 100
    assert dict(TraceFile(path).read()) == kept


def test_a_disk_that_takes_nothing_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    file = TraceFile(tmp_path / "file" / "traces.jsonl")
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            file.add("a", {"live": 1.0}, [])
    assert [record.getMessage().split(" cannot")[0] for record in caplog.records] == [
        str(tmp_path / "file" / "traces.jsonl")
    ]


class _Asked(dict[str, Times]):
    """Counts how often all of it was asked for."""

    times = 0

    def items(self) -> ItemsView[str, Times]:
        self.times += 1
        return super().items()


def test_a_disk_that_takes_nothing_is_not_asked_again_at_once_and_gets_all_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("no folder")
    kept = _Asked({"a": {"live": 1.0}, "b": {"live": 2.0}})
    patient, ready = (TraceFile(tmp_path / "folder" / "traces.jsonl", retry_s) for retry_s in (600.0, 0.0))
    for _ in range(5):
        patient.add("a", kept["a"], [kept])
    assert kept.times == 1, "each try writes everything anew"
    ready.add("a", kept["a"], [kept])
    (tmp_path / "folder").unlink()
    ready.add("b", kept["b"], [kept])
    ready.close()
    assert dict(ready.read()) == kept
