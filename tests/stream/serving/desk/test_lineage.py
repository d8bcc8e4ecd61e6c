"""What `checkpoints` has said is kept for people: verdicts, acts and runs; bounded, and nothing stops it."""

from __future__ import annotations

from typing import Any

import msgspec

from store.checkpoints import CHECKPOINT_KEY, RUN_KEY, TRAIN_KEY, CheckpointRecord, RunRecord, TrainRequest
from stream.serving.desk.lineage import MOST, MOST_STEPS, Lineage


def record(checkpoint: str, parent: str | None, verdict: str = "passed", at: float = 1.0, **more: Any) -> bytes:
    made = CheckpointRecord(
        checkpoint=checkpoint, parent=parent, location="l", verdict=verdict, published_at=at, **more
    )  # type: ignore[arg-type]
    return msgspec.json.encode(made)


def test_a_promotion_leaves_what_the_gate_said() -> None:
    lineage = Lineage()
    lineage.on_record(CHECKPOINT_KEY, record("a", None))
    lineage.on_record(CHECKPOINT_KEY, record("b", "a", "refused", 2.0, reasons=["worse"]))
    lineage.on_record(CHECKPOINT_KEY, record("b", "a", "promoted", 3.0, action="promote", reasons=["worse"]))
    lineage.on_record(CHECKPOINT_KEY, record("a", None, "passed", 4.0, action="rollback", reason="it failed"))
    told = lineage.told()
    a, b = told["checkpoints"]
    assert (b["gate"], b["verdict"], b["published_at"], b["reasons"]) == ("refused", "promoted", 2.0, ["worse"])
    assert (a["gate"], a["published_at"]) == ("passed", 1.0)
    acts = [(act["action"], act["checkpoint"], act["by"], act["at"]) for act in told["acts"]]
    assert acts == [("promote", "b", "person", 3.0), ("rollback", "a", "worker", 4.0)]
    assert told["acts"][1]["reason"] == "it failed"


def test_a_run_is_told_from_its_request_to_its_end() -> None:
    lineage = Lineage()
    lineage.on_record(TRAIN_KEY, msgspec.json.encode(TrainRequest(requested_at=5.0, run="r")))
    assert lineage.told()["runs"] == [{"run": "r", "asked_at": 5.0, "steps": []}]
    for state in ("started", "refused"):
        lineage.on_record(RUN_KEY, msgspec.json.encode(RunRecord(run="r", state=state, at=6.0)))  # type: ignore[arg-type]
    steps = lineage.told()["runs"][0]["steps"]
    assert [(step["state"], step["ended"]) for step in steps] == [("started", False), ("refused", True)]


def test_what_is_foreign_changes_nothing_and_everything_is_bounded() -> None:
    lineage = Lineage()
    for key, value in ((None, None), (b"model", b"\xff"), (b"x", b"{}"), (CHECKPOINT_KEY, b"{}"), (RUN_KEY, b"[1]")):
        lineage.on_record(key, value)
    assert not any(lineage.told().values())
    for number in range(MOST + 50):
        lineage.on_record(CHECKPOINT_KEY, record(f"c{number:04}", None, at=1.0, action="promote"))
        lineage.on_record(RUN_KEY, msgspec.json.encode(RunRecord(run=f"r{number}", state="started", at=6.0)))
    for _ in range(MOST_STEPS + 50):
        lineage.on_record(RUN_KEY, msgspec.json.encode(RunRecord(run=f"r{number}", state="queued", at=6.0)))
    told = lineage.told()
    assert {name: len(kept) for name, kept in told.items()} == {"checkpoints": MOST, "acts": MOST, "runs": MOST}
    assert told["checkpoints"][-1]["checkpoint"] == f"c{MOST + 49:04}"
    assert len(told["runs"][-1]["steps"]) == MOST_STEPS
