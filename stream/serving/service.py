"""The worker's service: what applications and peers ask for, answered from the scorer and the partitions at work here.

A user's state lives with the owner of the user's partition. Asked for another's user, this worker forwards the request
once to the owner. When that is away, it answers from its copy of what the owner published of the user; from what every
scorer has, marked `degraded`, where there is none that speaks for the user.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import msgspec

from store.events import KINDS
from store.keys import partition_of
from store.records.peer_messages import Heard, OwnedRow, RowRequest, ShownAnswer, Told
from store.requests import Answer, Note, Request
from store.settings import Settings
from store.topics import ENGAGEMENTS
from stream.ingest.assignment import Assignment
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.metrics.status import report
from stream.serving.codebook_report import as_document
from stream.serving.others.owned_users import OwnedUsers, described
from stream.serving.others.readiness import Readiness
from stream.serving.peers import Peers
from stream.serving.reading.standby import Copy, Standby
from stream.serving.scorer import Scorer
from trainer.model_bundle import NO_CHECKPOINT

BATCH_LINES = 2
"""So many lines of batches are answered at a time, of all batches together, here or by peers: a single request waits
for no more of them."""
TITLES_READ = 20_000
"""Of so many items, the newest, the playground looks through the titles: some dozens of milliseconds."""

COPY = Note(reason="copy", text="the worker that has the user does not answer: by what it last published of the user")
NO_COPY = Copy(None, is_fresh=False)


class WorkerService:
    """Implements `stream.web.contract.Service` and `PeerService`."""

    def __init__(
        self,
        settings: Settings,
        *,
        scorer: Scorer,
        assignment: Assignment,
        metrics: Metrics,
        emitter: Emitter,
        peers: Peers,
        own_url: Callable[[], str],
        readiness: Readiness,
        users: OwnedUsers,
        standby: Standby | None = None,
        tell: Callable[[int, ShownAnswer], None] = lambda *_: None,
    ) -> None:
        """`own_url` is where this worker answers. `users`: those that are at home here; `standby`: rows of the others.
        `tell(partition, shown)` tells the owner of a partition what was shown to its users."""
        self._settings = settings
        self._scorer = scorer
        self._assignment = assignment
        self._metrics = metrics
        self._emitter = emitter
        self._peers = peers
        self._own_url = own_url
        self._users = users
        self._standby = standby
        self._tell = tell
        self.readiness = readiness
        self._batch_lines = asyncio.Semaphore(BATCH_LINES)

    # ---- requests ----

    async def recommend(self, request: Request) -> Answer:
        request = self._within_its_time(request)
        owned, row = self._users.row(request.user_id)
        if owned:
            return await self._scorer.recommend(request, row)
        due_s = request.due_s()
        found = await self._peers.recommend(request)
        if isinstance(found, Answer):
            return found
        left = request.left(due_s)
        return await (self._recommend_away(left) if found is None else self._recommend_for_owner(left, found))

    async def _recommend_for_owner(self, request: Request, owned: OwnedRow) -> Answer:
        """The answer with what the owner has of the user, which hears of it."""
        if owned.note is not None:
            return self._scorer.recommender.nothing(request, owned.note)
        number = partition_of(request.user_id, self._settings.kafka.partitions)
        return await self._scorer.recommend(request, owned.row, tell=lambda shown: self._tell(number, shown))

    def _within_its_time(self, request: Request) -> Request:
        """The request with the deadline of its task, where it has none of its own."""
        of_task = self._settings.serving.tasks.get(request.task)
        if request.within_ms is not None or of_task is None or not of_task.within_ms:
            return request
        return msgspec.structs.replace(request, within_ms=of_task.within_ms)

    async def _recommend_away(self, request: Request) -> Answer:
        """The answer for a user whose owner does not answer."""
        copy = self._standby.copy(request.user_id) if self._standby is not None else NO_COPY
        answer = await self._scorer.recommend(request, copy.row, degraded=not copy.is_fresh)
        if not copy.is_fresh:
            return answer
        self._metrics.answered_from_copy()
        return msgspec.structs.replace(answer, notes=[*answer.notes, COPY])

    async def recommend_many(self, requests: Sequence[Request]) -> list[Answer]:
        return list(await asyncio.gather(*map(self._recommend_line, requests)))

    async def _recommend_line(self, request: Request) -> Answer:
        due_s = self._within_its_time(request).due_s()
        async with self._batch_lines:
            return await self.recommend(request.left(due_s))

    async def similar(self, item_id: str, k: int, exclude: tuple[str, ...] = ()) -> Answer | None:
        if self._scorer.card(item_id) is None:
            return None
        return await self._scorer.recommend(Request(task="similar", item_id=item_id, k=k, exclude=exclude), None)

    async def recommend_owned(self, request: Request) -> Answer | None:
        """The answer for a user whose partition is at work here; None for another's."""
        owned, row = self._users.row(request.user_id)
        return await self._scorer.recommend(request, row) if owned else None

    def owned_row(self, asked: RowRequest) -> OwnedRow | None:
        return self._users.owned_row(asked)

    def hear(self, told: Told) -> Heard:
        return self._users.hear(told)

    # ---- what is known ----

    def item(self, item_id: str) -> dict[str, Any] | None:
        catalog = self._scorer.recommender.catalog
        handle = catalog.handles.get(item_id)
        card = catalog.cards[handle] if handle is not None else None
        counters = self._scorer.rows.counters(item_id)  # of one that was never uploaded, too
        if card is None and not counters:
            return None
        serving = self._scorer.serving
        return {
            "item_id": item_id,
            "title": card.title if card else "",
            "live": card is not None,
            "uploaded_at": card.uploaded_at if card else None,
            "semantic_id": serving.whole_id(handle, item_id) if handle is not None else [],
            "codebook": serving.codebook.version,
            "prefix_words": serving.prefix_words(handle, catalog.cards) if handle is not None else [],
            "counters": {KINDS[kind]: count for kind, count in counters.items()},
        }

    async def user(self, user_id: str) -> dict[str, Any] | None:
        owned, row = self._users.row(user_id)
        return described(user_id, row) if owned else await self._peers.user(user_id)

    def owned_user(self, user_id: str) -> dict[str, Any] | None:
        """What is known of a user whose partition is at work here."""
        return self._users.described(user_id)

    def checkpoints(self) -> dict[str, Any]:
        serving, probation = self._scorer.serving, self._scorer.swaps.probation
        return {
            "serving": None if serving.checkpoint == NO_CHECKPOINT else serving.checkpoint,
            "codebook": serving.codebook.version,
            "note": self._scorer.swaps.note,
            "probation": None if probation is None else asdict(probation.report()),
            "checkpoints": [msgspec.to_builtins(record) for record in self._scorer.swaps.records.values()],
        }

    def codebook(self) -> dict[str, Any]:
        return as_document(self._scorer.upkeep.codebook_report)

    def ready(self) -> tuple[bool, str]:
        """Once ready, a worker stays so until it is to stop: while it restores rows of partitions that it takes over,
        it answers their users from what every scorer has."""
        return self.readiness.told()

    def status(self) -> dict[str, Any]:
        serving = self._scorer.serving
        self._metrics.live_items(self._scorer.recommender.catalog.live_count)
        self._metrics.unknown_items(len(self._scorer.rows.waiting))
        return {
            **report(self._metrics.snapshot(), self._settings.freshness),
            "checkpoint": None if serving.checkpoint == NO_CHECKPOINT else serving.checkpoint,
            "codebook": serving.codebook.version,
            "note": self._scorer.swaps.note,
            "ranker": self._scorer.recommender.ranker.name,
            "space_due": self._scorer.recommender.spectral.due(),
            "ranker_heads": self._heads(),
            "exploration": self._exploration(),
            "unknown_items": len(self._scorer.rows.waiting),
            "role": self._settings.role,
            "partitions": len(self._assignment),
            "url": self._own_url(),
        }

    def _heads(self) -> dict[str, Any]:
        """What each head predicted and what came, on the newest outcomes before the ranker was fitted."""
        heads = self._scorer.recommender.ranker.heads
        measured = heads.measured() if heads is not None else {}
        return {name: msgspec.structs.asdict(one) for name, one in measured.items()}

    def _exploration(self) -> dict[str, Any]:
        """Since this worker started."""
        recommender, attribution = self._scorer.recommender, self._scorer.attribution
        found = recommender.exploration.coverage(recommender.catalog)
        return {
            "little_known": found.explorable,
            "covered": found.covered,
            "lines": found.lines,
            "explored": found.explored,
            "share": found.explored / found.lines if found.lines else 0.0,
            "hits": attribution.hits,
            "explored_hits": attribution.explored_hits,
        }

    def trace(self, item_id: str) -> dict[str, Any] | None:
        if self.item(item_id) is None:
            return None
        return {"item_id": item_id, "stages": self._scorer.traces.of(item_id)}

    # ---- the playground ----

    async def engage(self, engagement: dict[str, Any]) -> None:
        event = {**engagement, "occurred_at": min(self._scorer.now_s(), time.time())}
        key = str(event["user_id"]).encode()
        await self._emitter.settle([await self._emitter.send(ENGAGEMENTS, msgspec.json.encode(event), key=key)])

    def search_items(self, text: str, limit: int) -> list[dict[str, Any]]:
        wanted = text.casefold()
        cards = self._scorer.recommender.catalog.cards
        newest = map(cards.__getitem__, range(max(0, len(cards) - TITLES_READ), len(cards)))
        found = (card for card in newest if card is not None and wanted in card.title.casefold())
        return [{"item_id": card.item_id, "title": card.title} for card in islice(found, limit)]

    def sample_users(self, limit: int) -> list[str]:
        return self._users.recent(limit)
