"""Requests and answers: the words between an application that asks and the scorer that answers (docs/contracts.md)."""

from __future__ import annotations

import math
import time
from typing import Literal

import msgspec

Task = Literal["home", "next", "similar", "search", "notification"]
"""home: the feed. next: what follows the history now. similar: like `item_id`. search: what `query` means.
notification: worth an interruption."""


class BadRequestError(ValueError):
    """A parameter is wrong: correct `field` as `remedy` says and ask again."""

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}")
        self.field = field
        self.remedy = remedy


class Request(msgspec.Struct, kw_only=True, frozen=True):
    """What an application asks. What it names in `exclude` is not in the answer: the next page excludes the ones
    before. A missing `query` in a search is imputed with the title of `item_id`. With `explain` each line tells what
    the ranker's heads expect of it. An answer that is not begun `within_ms` is made without its late parts.

    Filters: an item must bear one of the `categories`, of the `languages`, of the `creator_ids` and of the `tags`, as
    far as each is given, and be no older than `max_age_s`. `candidates`: only these are ranked, all that are live, also
    what the user has had: who names them has chosen."""

    user_id: str = ""
    task: Task = "home"
    query: str | None = None
    item_id: str | None = None
    country: str | None = None
    device: str | None = None
    k: int = 10
    exclude: tuple[str, ...] = ()
    explain: bool = False
    within_ms: int | None = None
    categories: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    creator_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    max_age_s: float | None = None
    candidates: tuple[str, ...] = ()

    def due_s(self) -> float:
        """When its time is over (`time.monotonic`), if it came now."""
        return math.inf if self.within_ms is None else time.monotonic() + self.within_ms / 1000.0

    def left(self, due_s: float) -> Request:
        """The same request with what is left of its time, a millisecond at least."""
        if math.isinf(due_s):
            return self
        return msgspec.structs.replace(self, within_ms=max(1, int(1000.0 * (due_s - time.monotonic()))))


class RecommendedItem(msgspec.Struct, kw_only=True, frozen=True):
    """One line of an answer. `semantic_id`: codes, broad topic first, and last the suffix that tells items with equal
    codes apart. `source` names who proposed the item; `reason` is for people. `heads`, where it was asked
    for: the probabilities of a click, of completion by who clicks, and of negative feedback."""

    item_id: str
    score: float
    semantic_id: list[int]
    source: str
    reason: str
    heads: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


UNKNOWN_ITEM = "unknown_item"
"""The reason of a note: `item_id` is not in the catalogue."""


class Note(msgspec.Struct, kw_only=True, frozen=True):
    """What an application should know of an answer: `reason` for programs (docs/contracts.md lists them), `text` for
    people, and of how many live items it tells."""

    reason: str
    text: str
    items: int = 0


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """An answer made by exactly one checkpoint and one codebook. `degraded` when the user's state was out of reach.
    One of fewer items than were asked for has `notes` that say why."""

    items: list[RecommendedItem]
    checkpoint: str
    codebook: str
    request_id: str
    took_ms: float
    degraded: bool = False
    notes: list[Note] = []


class DeskError(RuntimeError):
    """What a person on call asked for was not done, and why. `conflict`: it is not as the person saw it; look again."""

    def __init__(self, remedy: str, *, conflict: bool = False) -> None:
        super().__init__(remedy)
        self.conflict = conflict
