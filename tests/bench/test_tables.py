"""The bench of lists: on a small stream every list is the live answer when it is made."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import tables
from tests.trainer.evaluation.test_replay import small_stream


@pytest.mark.long
def test_a_small_stream_is_answered_in_part_and_every_list_was_true_when_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads, events = small_stream(120)
    for kind, some in (("uploads", uploads), ("engagements", events)):
        (tmp_path / f"{kind}.jsonl").write_bytes(b"\n".join(msgspec.json.encode(one) for one in some))
    found, asked = tables.measure(tmp_path, events=120, requests=60, per_s=50.0, share=1.0, pages=True)
    assert found["requests"] == 120
    assert found["share_answered"] + found["share_missing"] + found["share_personal"] == pytest.approx(1.0)
    assert found["lists_equal_when_made"] == 1.0
    assert found["lists_made"] > 0
    monkeypatch.setattr(tables, "LOOKUPS", 10)
    assert tables.lookups_per_s(asked) > 0
