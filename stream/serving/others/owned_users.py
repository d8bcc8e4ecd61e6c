"""Owned users: the users whose partitions are at work here, as this worker answers for them and others ask for them.

Invariant: of a user whose partition is at work elsewhere, or not restored, nothing is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from store.events import KINDS
from store.histories import UserRow
from store.keys import partition_of
from store.records.peer_messages import Heard, OwnedRow, RowRequest, ShownAnswer, Told
from store.requests import Request, Task
from store.topics import ENGAGEMENTS
from stream.ingest.assignment import Assignment
from stream.ingest.user_partition import UserPartition
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.others.answerers import Answerers


class OwnedUsers:
    """Of one worker. `wanted(partition, item)` hears of rows that others need again."""

    def __init__(
        self,
        assignment: Assignment,
        partitions: int,
        attribution: Attribution,
        frequency: Frequency,
        wanted: Callable[[int, str], None],
    ) -> None:
        self.answerers = Answerers()
        self._assignment = assignment
        self._partitions = partitions
        self._attribution = attribution
        self._frequency = frequency
        self._wanted = wanted
        frequency.told = self._note_answer

    def row(self, user_id: str) -> tuple[bool, UserRow | None]:
        """Whether the user's partition is at work here, and the user's row. Nobody in particular is everybody's."""
        if not user_id:
            return True, None
        partition = self._assignment.get(ENGAGEMENTS, partition_of(user_id, self._partitions))
        if not isinstance(partition, UserPartition):
            return False, None
        return True, partition.side.row(user_id)

    def owned_row(self, asked: RowRequest) -> OwnedRow | None:
        """What another worker needs to answer for a user; None if the user is not at home here."""
        owned, row = self.row(asked.user_id)
        if not owned:
            return None
        return OwnedRow(row, self._frequency.spent(Request(user_id=asked.user_id, task=asked.task), row))

    def described(self, user_id: str) -> dict[str, Any] | None:
        """What is known of a user whose partition is at work here."""
        _, row = self.row(user_id)
        return described(user_id, row)

    def recent(self, limit: int) -> list[str]:
        """Users of the partitions at work here, the recently active first."""
        users: list[str] = []
        for number in range(self._partitions):
            partition = self._assignment.get(ENGAGEMENTS, number)
            if isinstance(partition, UserPartition):
                users += partition.side.rows.recent(limit)
        return users[:limit]

    def hear(self, told: Told) -> Heard:
        """Takes in what another worker tells."""
        self.answerers.heard(told.url)
        for shown in told.shown:
            self._note(shown, told.url)
        for number, item_ids in told.wanted.items():
            for item_id in item_ids:
                self._wanted(number, item_id)
        return Heard(self._attribution.take_hits(told.url), self.answerers.urls())

    def _note_answer(self, user_id: str, task: Task, at_s: float, most: int) -> None:
        """A user got an answer of a task that has a bound: the row says so from now on, if it is here."""
        partition = self._assignment.get(ENGAGEMENTS, partition_of(user_id, self._partitions))
        if isinstance(partition, UserPartition):
            partition.note_answer(user_id, task, at_s, most)

    def _note(self, shown: ShownAnswer, url: str) -> None:
        owned, _ = self.row(shown.user_id)
        if owned and shown.user_id:
            self._attribution.shown_by(url, shown)
            asked = Request(user_id=shown.user_id, task=shown.task)
            self._frequency.count(asked, len(shown.item_ids), shown.answered_at)


def described(user_id: str, row: UserRow | None) -> dict[str, Any] | None:
    """A user's row as `/v1/users` tells it; None without one."""
    if row is None:
        return None
    return {
        "user_id": user_id,
        "attributes": row.attributes,
        "history": [
            {
                "event_id": entry.event_id,
                "item_id": entry.item_id,
                "kind": KINDS[entry.kind],
                "occurred_at": entry.occurred_at,
                "value": entry.value,
            }
            for entry in row.entries
        ],
    }
