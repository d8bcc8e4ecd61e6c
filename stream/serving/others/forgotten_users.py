"""Forgotten users: when each was forgotten, and that nothing of them is left in the memory of a worker.

Invariant: of two records of a user the later one counts.
"""

from __future__ import annotations

from typing import Any, Protocol

from store.log import forgotten_in
from stream.serving.reading.published_records import refuse


class Memory(Protocol):
    """What a worker remembers of users."""

    def forget(self, user_id: str) -> None:
        """Nothing of a user is left."""


class ForgottenUsers:
    """Of one worker, with what it remembers of users beside their rows."""

    def __init__(self, *memories: Memory) -> None:
        self._memories = memories
        self._at_ms: dict[str, int] = {}

    def on_record(self, record: Any) -> None:
        """Reads a record of `forgotten-users`. Raises `ForeignRecordError`."""
        for user_id, one in forgotten_in([record], refuse).items():
            self._at_ms[user_id] = max(one.forgotten_at_ms, self.at_ms(user_id))
            for memory in self._memories:
                memory.forget(user_id)

    def at_ms(self, user_id: str) -> int:
        """When a user was forgotten last (epoch milliseconds), -1 for never."""
        return self._at_ms.get(user_id, -1)
