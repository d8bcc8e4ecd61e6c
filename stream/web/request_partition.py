"""The request partition: recommendations over Kafka. A request on `recommend-requests`, an answer on `recommendations`.

The value is a request as `POST /v1/recommend` takes it; a `request_id` in it comes back in the answer. Asked twice (a
worker died before it could commit), it is answered twice: an answer changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from store.events import Refusal
from store.requests import Answer, BadRequestError, Request
from store.topics import RECOMMEND_REQUESTS, RECOMMENDATIONS
from stream.ingest.protocol.partition import Partition
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.protocol.refusals import send_refusals
from stream.kafka.records import Record, Refused
from stream.kafka.state_topics import hole_reader
from stream.web import parameters


class Answering(Protocol):
    """Who answers, here or elsewhere."""

    async def recommend(self, request: Request) -> Answer:
        """The answer for one request."""
        ...


ForgottenAt = Callable[[str], int]
"""When a user was forgotten (epoch milliseconds), -1 for never."""


class RequestPartition(Partition):
    """Answers the requests of one partition, in order, but for those from before their user was forgotten."""

    batch = 50

    def __init__(
        self, number: int, context: PartitionContext, service: Answering, forgotten_at_ms: ForgottenAt = lambda _: -1
    ) -> None:
        super().__init__(number, 0.05, hole_reader(context.settings), context.fault)
        self._emitter = context.emitter
        self._metrics = context.metrics
        self._service = service
        self._forgotten_at_ms = forgotten_at_ms

    async def restore(self) -> None:
        """Nothing to restore: the group's committed offset says where to begin."""

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        sends: list[asyncio.Future[Any]] = []
        refused: list[Refused] = []
        for record in records:
            try:
                sends += await self._answer(record)
            except BadRequestError as error:
                refused.append(Refused(record, Refusal("wrong_type", str(error), record.value or b"")))
        sends += await send_refusals(self._emitter, self._metrics, RECOMMEND_REQUESTS, refused)
        return sends

    async def _answer(self, record: Record) -> list[asyncio.Future[Any]]:
        fields = parameters.json_object(record.value or b"")
        wanted = fields.pop("request_id", None)
        if isinstance(wanted, str) and len(wanted) > 256:  # it comes back: an answer must fit its topic
            raise BadRequestError("request_id", "at most 256 characters")
        request = parameters.from_fields(fields)
        if record.first_ms <= self._forgotten_at_ms(request.user_id):
            self._metrics.duplicated(RECOMMEND_REQUESTS)
            return []
        answer = parameters.noted(await self._service.recommend(request), fields)
        if isinstance(wanted, str):
            answer = msgspec.structs.replace(answer, request_id=wanted)
        self._metrics.absorbed(RECOMMEND_REQUESTS)
        value = msgspec.json.encode(answer)
        return [await self._emitter.send(RECOMMENDATIONS, value, key=record.key)]

    def publish(self) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(0)

    def close(self) -> None:
        """Nothing is held."""
