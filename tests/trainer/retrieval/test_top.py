"""The top of a list of scores: the highest, ties by handle, only of what is allowed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from trainer.retrieval.top import best_of, top

SIZE = 30

tens = settings(max_examples=50)
scores = npst.arrays(np.float32, SIZE, elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]))


@tens
@given(score_N=scores, allowed_N=npst.arrays(bool, SIZE), k=st.integers(1, SIZE + 5))
def test_the_top_are_the_highest_above_zero_if_allowed(score_N: np.ndarray, allowed_N: np.ndarray, k: int) -> None:
    ordered = sorted(range(SIZE), key=lambda handle: (-score_N[handle], handle))
    assert top(score_N, allowed_N, k).tolist() == [h for h in ordered if score_N[h] > 0 and allowed_N[h]][:k]


@tens
@given(score_N=scores, handles=st.sets(st.integers(0, SIZE - 1)), k=st.integers(1, SIZE))
def test_the_best_of_some_may_have_any_score(score_N: np.ndarray, handles: set[int], k: int) -> None:
    found = best_of(np.array(sorted(handles), np.int64), score_N, None, k)
    assert found.tolist() == sorted(handles, key=lambda handle: (-score_N[handle], handle))[:k]


def test_of_many_scores_the_top_is_the_same_as_of_few() -> None:
    """A sample tells first what is worth a look: wherever it falls, nothing is missed."""
    rng = np.random.default_rng(0)
    for scores in (
        rng.standard_normal(30_000),
        rng.integers(-3, 4, 30_000) / 4,
        np.linspace(-1, 1, 30_000),
        np.zeros(30_000),
    ):
        score_N = scores.astype(np.float32)
        for allowed_N in (None, rng.random(30_000) < 0.01, np.zeros(30_000, bool), np.arange(30_000) % 29 > 0):
            handles = np.flatnonzero(score_N > 0)
            assert top(score_N, allowed_N, 100).tolist() == best_of(handles, score_N, allowed_N, 100).tolist()
