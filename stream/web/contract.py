"""Contract: what the HTTP face needs from a worker, and all it knows of one.

Invariant: every method answers from memory or by one forwarded request, and never blocks the event loop. What a method
returns is JSON already: built-in types, finite numbers, or the structs of `store.requests`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from store.records.peer_messages import Heard, OwnedRow, RowRequest, Told
from store.requests import Answer, Request


class Health(Protocol):
    """What every worker tells of itself, whatever its role."""

    def ready(self) -> tuple[bool, str]:
        """Whether it does what it is there for, and if not, what is being waited for."""

    def status(self) -> dict[str, Any]:
        """`stream.status.report(…)`, with at least `checkpoint` and `codebook` (ids or None) added."""


class Service(Health, Protocol):
    """A worker that answers as the web application sees it. Requests are checked before they come here."""

    async def recommend(self, request: Request) -> Answer:
        """The answer for one request; always an answer, `degraded` when the user's state is out of reach."""

    async def recommend_many(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer for each request, in their order."""

    def item(self, item_id: str) -> dict[str, Any] | None:
        """`{"item_id", "title", "live", "uploaded_at", "semantic_id", "codebook", "prefix_words", "counters"}`.

        None when no such item was ever uploaded.
        """

    async def similar(self, item_id: str, k: int, exclude: tuple[str, ...] = ()) -> Answer | None:
        """The `k` items most like this one, without those in `exclude`; None when it is unknown."""

    async def user(self, user_id: str) -> dict[str, Any] | None:
        """At least `{"user_id", "history": [{"event_id", "item_id", "kind", "occurred_at"}, …]}`, the newest last.

        None when nothing is known of the user.
        """

    def checkpoints(self) -> dict[str, Any]:
        """`{"serving": id or None, "checkpoints": [{"checkpoint", "parent", "location", "verdict", "published_at"}]}`.

        `verdict` is text, or an object that has `passed` and may have `reason` and scores.
        """

    def trace(self, item_id: str) -> dict[str, Any] | None:
        """`{"item_id", "stages": [{"stage", "at"}]}`; `at` in epoch seconds, None for a stage not yet reached."""

    async def engage(self, engagement: dict[str, Any]) -> None:
        """Publish an engagement from the playground. It has every field but `occurred_at`: the service sets that to
        its event-time now, so that a click on a replayed stream of 2013 is not an event from its future."""

    def search_items(self, text: str, limit: int) -> list[dict[str, Any]]:
        """Live items whose title holds `text`: `[{"item_id", "title"}]`, for the playground."""

    def sample_users(self, limit: int) -> list[str]:
        """Some known user ids, the recently active first, for the playground."""


class OwnerService(Protocol):
    """What workers ask of one to which users may belong."""

    def owned_user(self, user_id: str) -> dict[str, Any] | None:
        """What is known of a user whose partition is at work here, as `Service.user` tells it."""

    def owned_row(self, asked: RowRequest) -> OwnedRow | None:
        """What an answer for a user needs whose partition is at work here; None for another's."""

    def hear(self, told: Told) -> Heard:
        """Takes in what another worker tells."""


class PeerService(OwnerService, Protocol):
    """What workers ask of one that answers, and the codebook's report."""

    async def recommend_owned(self, request: Request) -> Answer | None:
        """The answer for a user whose partition is at work here; None for another's."""

    def codebook(self) -> dict[str, Any]:
        """Health and topics of the serving codebook version; empty before it was first measured."""
