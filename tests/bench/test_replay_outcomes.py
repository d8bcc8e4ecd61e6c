"""The checksum of a replay stays the same over equal runs and changes with a single outcome."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from bench.replay_outcomes import outcomes_of
from tests.trainer.evaluation.test_replay import small_stream


def test_equal_streams_have_equal_outcomes_and_another_order_has_others(tmp_path: Path) -> None:
    uploads, events = small_stream(300)
    at = events[250].occurred_at
    other = [*events[:250], *(msgspec.structs.replace(event, occurred_at=at) for event in reversed(events[250:]))]
    found = []
    for name, engagements in (("one", events), ("same", events), ("other", other)):
        folder = tmp_path / name
        folder.mkdir()
        for kind, some in (("uploads", uploads), ("engagements", engagements)):
            (folder / f"{kind}.jsonl").write_bytes(b"\n".join(msgspec.json.encode(one) for one in some))
        found.append(outcomes_of(folder, 300, 150))
    assert found[0] == found[1] != found[2]
    evaluated, within_kind = json.loads(found[0])
    assert len(evaluated) > 50
    assert within_kind
