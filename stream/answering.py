"""Answering: what a worker runs that answers requests: the service over its scorer, copies of others' users, the page's
desk, and what it tells the owners.

Invariant: it answers for every user, whoever owns them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

from store.records.foreign import ForeignRecords
from store.settings import Settings
from store.topics import ENGAGEMENTS
from stream.ingest.assignment import Assignment
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.serving.desk.desk import WorkerDesk
from stream.serving.desk.lineage import Lineage
from stream.serving.desk.owners import Owners
from stream.serving.others.owned_users import OwnedUsers
from stream.serving.others.readiness import Readiness
from stream.serving.others.telling import Telling
from stream.serving.peers import Peers
from stream.serving.reading.standby import Standby
from stream.serving.scorer import Scorer
from stream.serving.service import WorkerService
from stream.web.console.desk_routes import desk_routes
from stream.web.peer_handlers import peer_routes

COPIES = "copies"
"""Where copies of the rows of others' users lie in the data folder."""


class Answering:
    """Of one worker."""

    def __init__(
        self,
        settings: Settings,
        *,
        scorer: Scorer,
        assignment: Assignment,
        metrics: Metrics,
        emitter: Emitter,
        foreign: ForeignRecords,
        peers: Peers,
        telling: Telling,
        users: OwnedUsers,
        readiness: Readiness,
        own_url: Callable[[], str],
    ) -> None:
        self._scorer, self._assignment, self._own_url = scorer, assignment, own_url
        self._standby = (
            Standby(settings, Path(settings.data_dir) / COPIES, self._without_copies, foreign)
            if settings.serving.standby
            else None
        )
        self.lineage = Lineage()
        self.service = WorkerService(
            settings,
            scorer=scorer,
            assignment=assignment,
            metrics=metrics,
            emitter=emitter,
            peers=peers,
            own_url=own_url,
            readiness=readiness,
            users=users,
            standby=self._standby,
            tell=telling.shown,
        )
        owners = Owners(
            scorer=scorer,
            assignment=assignment,
            metrics=metrics,
            partitions=settings.kafka.partitions,
            own_url=own_url,
            own_ready=self.service.ready,
            ready=peers.ready,
            answerers=lambda: {*telling.answerers(), *users.answerers.urls()},
        )
        self._desk = WorkerDesk(settings, scorer=scorer, lineage=self.lineage, owners=owners)
        levers = desk_routes(self._desk) if settings.serving.console else []
        self.routes: list[web.RouteDef] = [*peer_routes(self.service), *levers]

    def on_forgotten(self, record: Any) -> None:
        """Copies of a forgotten user go."""
        if self._standby is not None:
            self._standby.on_forgotten(record)

    def work(self, caught_up: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the answers, by name."""
        return {} if self._standby is None else {"standby": self._standby.run(caught_up)}

    def _without_copies(self) -> Collection[int]:
        """The partitions of which nobody needs copies here: without peers those that are at work here."""
        has_peers = any(url != self._own_url() for url in self._scorer.owner_urls.values())
        return set() if has_peers else self._assignment.numbers(ENGAGEMENTS)

    def close(self) -> None:
        if self._standby is not None:
            self._standby.close()
        self._desk.close()
