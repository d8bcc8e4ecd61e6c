"""Words: the examples of its docstrings."""

from __future__ import annotations

import doctest

import trainer.content.words


def test_examples_hold() -> None:
    ran = doctest.testmod(trainer.content.words)
    assert ran.attempted
    assert not ran.failed
