"""Admission: how many requests may wait for their answers. One more is refused at once, with when to come again.

Answers are made one after the other, so what waits takes its time of whoever comes next. Single requests and batches
have bounds of their own: a client that sends batch after batch takes no place of a single request (and of its turns no
more than `stream.serving.service.BATCH_LINES` allows).

Invariant: what was admitted is answered; what is refused has cost nothing, and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

RETRY_AFTER_S = 1


class OverloadedError(RuntimeError):
    """Too much waits already: come again after `RETRY_AFTER_S` seconds, or ask another worker."""


class Admission:
    """`most_single` requests and `most_batches` batches may wait."""

    def __init__(self, most_single: int, most_batches: int) -> None:
        self._most = {False: most_single, True: most_batches}
        self._waiting = {False: 0, True: 0}

    @contextmanager
    def admitted(self, *, batch: bool = False) -> Iterator[None]:
        """A place among those that wait, given back at the end. Raises `OverloadedError`."""
        if self._waiting[batch] >= self._most[batch]:
            what = "batches" if batch else "requests"
            raise OverloadedError(f"{self._waiting[batch]} {what} wait already: come again in {RETRY_AFTER_S} s")
        self._waiting[batch] += 1
        try:
            yield
        finally:
            self._waiting[batch] -= 1
