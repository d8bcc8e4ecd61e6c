"""From where a run learns, and what it holds out."""

from __future__ import annotations

import pytest

from tests.trainer.runs.test_training_run import ENDS, settings, window
from tests.trainer.worlds import WEIGHTS
from trainer.model.corpus import Corpus, at_or_after, corpus_of
from trainer.runs.log_window import Window
from trainer.runs.starting.span import NotEnoughDataError, check_enough, span_of

RULES = settings().training


def read(begin: float) -> tuple[Window, Corpus]:
    made = window({p: round(begin * end) for p, end in ENDS.items()}, ENDS)
    return made, corpus_of(made.engagements, made.items, WEIGHTS)


def test_the_newest_are_held_out_but_never_more_than_a_third_of_the_new_ones() -> None:
    for begin, held in ((0.0, RULES.gate_engagements), (0.8, 64)):
        made, corpus = read(begin)
        span = span_of(made, corpus, RULES, "")
        assert span.begin == made.begin
        assert at_or_after(corpus, span.cut).sum() == pytest.approx(held, abs=3)


def test_a_request_for_a_codebook_learns_older_ones_again() -> None:
    made, corpus = read(1.0)
    span = span_of(made, corpus, RULES, "refresh")
    assert all(span.begin[p] < made.begin[p] for p in ENDS)
    assert span.of(made).begin == span.begin
    assert span.note


def test_too_little_is_said() -> None:
    made, corpus = read(0.99)
    with pytest.raises(NotEnoughDataError, match="are missing"):
        check_enough(made, settings(), "")
    with pytest.raises(NotEnoughDataError, match="of the new engagements are positive"):
        span_of(made, corpus, RULES, "")
    check_enough(made, settings(), "refresh")
