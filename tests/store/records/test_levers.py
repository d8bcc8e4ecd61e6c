"""Who pulls a lever publishes one record, whichever door it came through."""

from __future__ import annotations

from pathlib import Path

from store.checkpoints import Manifest
from store.records.levers import pulled


def test_promoting_is_a_persons_verdict_and_returning_leaves_the_verdict() -> None:
    manifest = Manifest(
        checkpoint="c2",
        parent="c1",
        codebook="v1",
        created_at=1.0,
        verdict="refused",
        reasons=["worse"],
        data_until=5.0,
    )
    promoted = pulled("promote", manifest, Path("there/c2"), 9.0)
    returned = pulled("rollback", manifest, Path("there/c2"), 9.0)
    assert (promoted.action, promoted.verdict, promoted.published_at) == ("promote", "promoted", 9.0)
    assert (returned.action, returned.verdict, returned.location) == ("rollback", "refused", "there/c2")
    assert (promoted.parent, promoted.codebook, promoted.data_until, promoted.reasons) == ("c1", "v1", 5.0, ["worse"])
