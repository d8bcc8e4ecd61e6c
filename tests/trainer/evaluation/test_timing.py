from __future__ import annotations

import time

import pytest

from trainer.evaluation.timing import Timer


def test_seconds_are_summed_by_name_also_of_a_block_that_failed() -> None:
    cost: dict[str, float] = {}
    for _ in range(2):
        with Timer(cost, "waiting_s"):
            time.sleep(0.02)
    with pytest.raises(ValueError, match="no"), Timer(cost, "failing_s"):
        raise ValueError("no")
    assert cost["waiting_s"] >= 0.04
    assert set(cost) == {"waiting_s", "failing_s"}
