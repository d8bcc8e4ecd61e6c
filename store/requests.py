"""Requests and answers: the words between an application that asks and the scorer that answers (docs/contracts.md)."""

from __future__ import annotations

import math
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Literal

import msgspec

from store.keys import hash64

Task = Literal["home", "next", "similar", "search", "notification"]
"""home: the feed. next: what follows the history now. similar: like `item_id`. search: what `query` means.
notification: worth an interruption."""


class BadRequestError(ValueError):
    """A parameter is wrong: correct `field` as `remedy` says and ask again."""

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}")
        self.field = field
        self.remedy = remedy


MOST_PAGED = 1000
"""Lines that all pages of a list have at most."""
MARK_CHARS = 11
"""What stands in a `page` for a line that an earlier page had: 64 bits in base64, for URLs."""
_MARKS = re.compile(rf"(?:[A-Za-z0-9_-]{{{MARK_CHARS}}}){{0,{MOST_PAGED}}}", re.ASCII)


def shown_before(page: str) -> list[int]:
    """The hashes (`store.keys.hash64`) of the items that earlier pages had. Raises `BadRequestError`."""
    if not _MARKS.fullmatch(page):
        raise BadRequestError("page", "send next_page of the answer before as it was, or nothing for the first page")
    marks = (page[begin : begin + MARK_CHARS] for begin in range(0, len(page), MARK_CHARS))
    return [int.from_bytes(urlsafe_b64decode(f"{mark}="), "little") for mark in marks]


def page_after(page: str, item_ids: Iterable[str]) -> str | None:
    """The `page` behind the one that showed these items; None where there is none, as so many were shown."""
    hashes = (hash64(item_id).to_bytes(8, "little") for item_id in item_ids)
    after = page + "".join(urlsafe_b64encode(packed).decode()[:MARK_CHARS] for packed in hashes)
    return after if len(after) < MARK_CHARS * MOST_PAGED else None


class RoleError(RuntimeError):
    """A worker that only absorbs was asked for what others answer."""

    def __init__(self) -> None:
        super().__init__("this worker only absorbs events (role = ingest): ask one of role serve or all")


class Request(msgspec.Struct, kw_only=True, frozen=True):
    """What an application asks. What it names in `exclude` is not in the answer. With an empty `page` the answer is the
    first of several: its `next_page` asks for the next, which has no item again. A missing `query` in a search is
    imputed with the title of `item_id`. With `explain` each line tells what the ranker's heads expect of it. An answer
    that is not begun `within_ms` is made without its late parts.

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
    page: str | None = None

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
    codes apart. `source` names who ranks the item highest; `reason` tells people what that source says. Where it was
    asked for (`explain`): `because`, the past item without which the score would be least (absent where it would be no
    less without any); `words` of the topic, the first code; `heads`, the probabilities of a click, of completion by who
    clicks, and of negative feedback."""

    item_id: str
    score: float
    semantic_id: list[int]
    source: str
    reason: str
    because: str | msgspec.UnsetType = msgspec.UNSET
    words: list[str] | msgspec.UnsetType = msgspec.UNSET
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
    One of fewer items than were asked for has `notes` that say why. `next_page`: the `page` to ask for next, where the
    request asked for a page and there may be another."""

    items: list[RecommendedItem]
    checkpoint: str
    codebook: str
    request_id: str
    took_ms: float
    degraded: bool = False
    notes: list[Note] = []
    next_page: str | msgspec.UnsetType = msgspec.UNSET


def next_page_of(request: Request, items: list[RecommendedItem]) -> str | msgspec.UnsetType:
    """What an answer of these items says of the page after it."""
    if request.page is None or len(items) < request.k:
        return msgspec.UNSET
    return page_after(request.page, (item.item_id for item in items)) or msgspec.UNSET


class DeskError(RuntimeError):
    """What a person on call asked for was not done, and why. `conflict`: it is not as the person saw it; look again."""

    def __init__(self, remedy: str, *, conflict: bool = False) -> None:
        super().__init__(remedy)
        self.conflict = conflict
