"""Peer messages: what workers say to each other over HTTP (msgpack), no contract for others.

A worker that answers for a user whose partition is at work elsewhere asks the owner for the user's row, and tells it
afterwards what it has shown: so the owner bounds how often a user is answered, and attributes engagements, as it does
for its own answers.
"""

from __future__ import annotations

import msgspec

from store.histories import UserRow
from store.requests import Note, Task


class RowRequest(msgspec.Struct, array_like=True, frozen=True):
    """Whose row, and for what."""

    user_id: str
    task: Task


class OwnedRow(msgspec.Struct, array_like=True, frozen=True):
    """What the owner has of a user. `note`: the answer must be empty, and why."""

    row: UserRow | None
    note: Note | None = None


class ShownAnswer(msgspec.Struct, array_like=True, frozen=True):
    """The lines of an answer. `shown_at`: event time, epoch seconds; `explored`: the place of the line that was shown
    for what it teaches (-1: none); `answered_at`: when who answered counted it (epoch seconds; 0: not)."""

    user_id: str
    task: Task
    request_id: str
    shown_at: float
    item_ids: list[str]
    explored: int = -1
    answered_at: float = 0.0


class Told(msgspec.Struct, array_like=True, frozen=True):
    """What a worker that answers at `url` tells an owner: that it is there, what it has shown to the owner's users, and
    of which partitions it needs which items' rows again."""

    url: str
    shown: list[ShownAnswer] = []
    wanted: dict[int, list[str]] = {}


class Heard(msgspec.Struct, array_like=True, frozen=True):
    """What the owner tells in return: lines that the worker has shown and somebody has engaged with positively, each
    with whether it was explored; and which workers have said lately that they answer."""

    hits: list[tuple[str, bool]] = []
    answerers: list[str] = []
