"""Questions: what requests have in common that one list can answer.

The answer to somebody without a history depends on the task, the item on show, the country and the device, and on
nothing else of the request but how many lines it wants. Whatever else a request has (a filter, ids to leave out, own
candidates, words, a wish for explanations) makes it one of its own, which no list answers exactly.
"""

from __future__ import annotations

from typing import NamedTuple

from store.histories import UserRow
from store.requests import Request, Task

TASKS: frozenset[Task] = frozenset({"home", "next", "similar"})
"""Tasks that a list can answer: a search has words, and a notification is bounded by user."""


class Question(NamedTuple):
    """A request without its user and without its length."""

    task: Task
    item_id: str | None = None
    country: str | None = None
    device: str | None = None

    def request(self, k: int) -> Request:
        """The request of nobody in particular that asks it."""
        return Request(task=self.task, item_id=self.item_id, country=self.country, device=self.device, k=k)


def question_of(request: Request, user: UserRow | None, *, reads_profile: bool) -> Question | None:
    """What the request asks, if its user has no history; None for a request of its own. `reads_profile`: whether a
    model serves, which reads what the user said of himself."""
    if request.task not in TASKS or not _is_plain(request) or not is_newcomer(user, reads_profile=reads_profile):
        return None
    return Question(request.task, request.item_id, request.country, request.device)


def is_newcomer(user: UserRow | None, *, reads_profile: bool) -> bool:
    """Whether nothing that the recommender reads is known of the user. What somebody was shown says nothing."""
    if user is None:
        return True
    known = user.seen or user.refused or (reads_profile and user.attributes)
    return not known and next(user.decisions(), None) is None


def _is_plain(request: Request) -> bool:
    """Whether it has nothing but what a question, a user, a length and a deadline say, and is for no page but the
    first; a new field makes it its own."""
    if request.page:
        return False
    return request == Request(
        user_id=request.user_id,
        task=request.task,
        item_id=request.item_id,
        country=request.country,
        device=request.device,
        k=request.k,
        within_ms=request.within_ms,
        page=request.page,
    )
