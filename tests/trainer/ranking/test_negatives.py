from __future__ import annotations

import numpy as np

from trainer.ranking.negatives import NegativeSampler

HANDLES = np.array([4, 9, 1, 7, 3])
POSITIVES_N = np.array([0, 5, 0, 2, 0, 0, 0, 1, 0, 8], np.float32)
ALLOWED_N = np.ones(10, bool)


def test_a_draw_depends_on_the_event_and_not_on_the_order_of_candidates() -> None:
    drawn = NegativeSampler(0, "e1").candidates(7, HANDLES, 3)
    assert len(set(drawn.tolist())) == 3
    assert 7 not in drawn
    np.testing.assert_array_equal(drawn, NegativeSampler(0, "e1").candidates(7, HANDLES[::-1], 3))
    draws = {tuple(NegativeSampler(0, f"e{n}").candidates(7, HANDLES, 3).tolist()) for n in range(50)}
    assert len(draws) > 5


def test_an_untouched_item_meets_untouched_negatives_that_are_allowed_and_a_touched_one_none() -> None:
    allowed_N = ALLOWED_N.copy()
    allowed_N[8] = False
    met = {
        handle for n in range(50) for handle in NegativeSampler(0, f"e{n}").cold(4, allowed_N, POSITIVES_N, 6).tolist()
    }
    assert met == {0, 2, 5, 6}
    assert len(NegativeSampler(0, "e").cold(3, ALLOWED_N, POSITIVES_N, 6)) == 0
    assert len(NegativeSampler(0, "e").cold(12, ALLOWED_N, np.zeros(13, np.float32), 6)) == 0, "newer than the evidence"


def test_nobody_is_drawn_where_there_is_nobody() -> None:
    assert len(NegativeSampler(0, "e").candidates(4, np.array([4]), 3)) == 0
    assert len(NegativeSampler(0, "e").cold(0, np.array([True, True]), np.array([0.0, 3.0]), 3)) == 0
