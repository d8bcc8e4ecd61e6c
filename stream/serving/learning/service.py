"""The service of a worker that absorbs and answers nothing: its state, and its users' rows for those that answer.

Invariant: what it does not know, because nothing can be recommended here, it does not tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from store.records.peer_messages import Heard, OwnedRow, RowRequest, Told
from store.settings import Settings
from stream.ingest.assignment import Assignment
from stream.metrics.metrics import Metrics
from stream.metrics.status import report
from stream.serving.learning.learner import Learner
from stream.serving.others.owned_users import OwnedUsers
from stream.serving.others.readiness import Readiness

STAGES = ("upload_to_semantic_id",)
"""The stages of which a worker knows where nothing can be recommended."""


class AbsorbingService:
    """Implements `stream.web.contract.Health` and `OwnerService`."""

    def __init__(
        self,
        settings: Settings,
        *,
        learner: Learner,
        assignment: Assignment,
        metrics: Metrics,
        own_url: Callable[[], str],
        readiness: Readiness,
        users: OwnedUsers,
    ) -> None:
        self.readiness = readiness
        self._settings = settings
        self._learner = learner
        self._assignment = assignment
        self._metrics = metrics
        self._own_url = own_url
        self._users = users

    def ready(self) -> tuple[bool, str]:
        """Whether its partitions are at work: it is no place for requests even so."""
        return self.readiness.told()

    def status(self) -> dict[str, Any]:
        checkpoint, answered_by = self._learner.checkpoint, self._users.answerers.urls()
        return {
            **report(self._metrics.snapshot(), self._settings.freshness, STAGES),
            "checkpoint": checkpoint,
            "codebook": self._learner.codebook().version,
            "note": "" if answered_by else "no worker has said lately that it answers: start one of role serve or all",
            "unknown_items": len(self._learner.items.waiting),
            "live_items": self._learner.items.catalog.live_count,
            "role": self._settings.role,
            "answered_by": answered_by,
            "partitions": len(self._assignment),
            "url": self._own_url(),
        }

    def owned_user(self, user_id: str) -> dict[str, Any] | None:
        return self._users.described(user_id)

    def owned_row(self, asked: RowRequest) -> OwnedRow | None:
        return self._users.owned_row(asked)

    def hear(self, told: Told) -> Heard:
        return self._users.hear(told)
