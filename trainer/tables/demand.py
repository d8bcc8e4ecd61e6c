"""Demand: how often each question was asked lately, in bounded memory, and what was made for it.

A list that is looked up once costs as much as it saves. So every list is paid for by so many requests, and those who
ask pay for the next one: whatever is asked, and however soon lists end, making them costs a part of answering at most.

Invariant: no more questions are remembered than there is room for, whatever is asked; those asked most stay.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from trainer.tables.questions import Question

FADED = 1.0
"""Below so much a question is forgotten, when all fade."""


class Demand:
    """Counts that halve with `fade`, which is also done where there is no `room` for another question."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._asked: dict[Question, float] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, question: Question) -> None:
        """It was asked once more."""
        self._asked[question] = self._asked.get(question, 0.0) + 1.0
        while len(self._asked) > self._room:
            self.fade()

    def spend(self, question: Question, price: float) -> None:
        """A list was made for it: so many requests have paid for that."""
        if question in self._asked:
            self._asked[question] = max(0.0, self._asked[question] - price)

    def fade(self) -> None:
        """Halves all counts and forgets what has become little."""
        self._asked = {question: asked / 2 for question, asked in self._asked.items() if asked / 2 >= FADED}

    def most(self, count: int, least: float) -> Iterator[Question]:
        """The questions that were asked most, `least` times at least; any thread may ask."""
        asked = self._asked.copy()
        return (one for one in heapq.nlargest(count, asked, key=asked.__getitem__) if asked[one] >= least)
