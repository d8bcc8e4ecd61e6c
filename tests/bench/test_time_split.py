"""A split in time asks for what comes after the cut only, and a frozen state learns nothing there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import time_split
from store.events import Engagement, Upload
from tests.trainer.evaluation.test_replay import small_stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stream")
    uploads, events = small_stream(400)
    return written(made, uploads, events)


def written(folder: Path, uploads: list[Upload], events: list[Engagement]) -> Path:
    (folder / "uploads.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, uploads)))
    (folder / "engagements.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, events)))
    return folder


def test_targets_come_after_the_cut_and_have_a_history(folder: Path) -> None:
    found = time_split.measure(folder, examples=60)
    assert 10 < found["all"]["evaluated"] <= 40
    assert found["items known at the cut"]["evaluated"] <= found["all"]["evaluated"]
    assert 0 < found["all"]["R@10"] <= 1
    assert found["all"]["N@10"] <= found["all"]["R@10"]
    assert "frozen" in time_split.table(found)


def test_a_frozen_state_does_not_know_what_came_after_the_cut() -> None:
    """All engagements after the cut but the last are exchanged for others: only the asked user's own may matter."""
    uploads, events = small_stream(400)
    last = events[-1]
    others = [
        event if event.user_id == last.user_id else msgspec.structs.replace(event, item_id="i1")
        for event in events[time_split.cut_of(events) : -1]
    ]
    changed = [*events[: time_split.cut_of(events)], *others, last]
    ranks = [time_split.ranks_of(uploads, some, {399}, examples=60) for some in (events, changed)]
    assert ranks[0] == ranks[1]
