"""When a run starts by itself."""

from __future__ import annotations

import pytest

from store.settings import Training
from trainer.runs.triggers import Moment, trigger

RULES = Training(every_s=100.0, every_engagements=1000, first_engagements=500, min_engagements=50)


@pytest.mark.parametrize(
    ("moment", "cause"),
    [
        (Moment(first=True, new=49, since_s=1e9, drifted=True), None),
        (Moment(first=True, new=499, since_s=1.0), None),
        (Moment(first=True, new=500, since_s=1.0), "first"),
        (Moment(first=False, new=500, since_s=1.0), None),
        (Moment(first=False, new=1000, since_s=1.0), "engagements"),
        (Moment(first=False, new=50, since_s=100.0), "time"),
        (Moment(first=False, new=50, since_s=1.0, drifted=True), "drift"),
        (Moment(first=False, new=0, since_s=25.0, misfit=True), "codebook"),
        (Moment(first=False, new=0, since_s=24.0, misfit=True), None),
        (Moment(first=True, new=0, since_s=1e9, misfit=True), None),
    ],
)
def test_whichever_comes_first(moment: Moment, cause: str | None) -> None:
    assert trigger(moment, RULES) == cause
