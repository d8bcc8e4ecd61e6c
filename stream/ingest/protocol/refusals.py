"""Refusals: what was not accepted goes to `dead-letters` with its reason; what lay in a wrong partition, to its own.

Invariant: every letter fits into its topic, whatever was refused: a record that is too large to be kept whole in base64
is kept from its beginning, and the letter says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from store.events import Refusal
from store.headers import CAME_AT, TRACEPARENT, numbered
from store.topics import DEAD_LETTERS
from stream.kafka.connections import LARGEST_RECORD_BYTES
from stream.kafka.dead_letters import DeadLetter
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record, Refused, Stray
from stream.metrics.metrics import Metrics

MOST_DETAIL = 1000
"""Characters of a detail: it may quote the event."""
MOST_KEY_BYTES = 64 << 10
MOST_BYTES = (LARGEST_RECORD_BYTES - (256 << 10)) // 4 * 3
"""Of key and value together; base64 makes four bytes of three, the rest is room for the other fields and the batch."""


def letter_of(record: Record, refusal: Refusal) -> DeadLetter:
    """The letter of one refusal; an empty record stays one."""
    detail = refusal.detail[:MOST_DETAIL]
    key = record.key
    if key is not None and len(key) > MOST_KEY_BYTES:
        detail += f" (of the key only the first {MOST_KEY_BYTES} of {len(key)} bytes are kept)"
        key = key[:MOST_KEY_BYTES]
    value = None if record.value is None else refusal.event
    room = MOST_BYTES - len(key or b"")
    if value is not None and len(value) > room:
        detail += f" (only the first {room} of {len(value)} bytes are kept)"
        value = value[:room]
    return DeadLetter(
        reason=refusal.reason,
        detail=detail,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=key,
        value=value,
    )


async def send_refusals(
    emitter: Emitter, metrics: Metrics, topic: str, refused: Iterable[Refused]
) -> list[asyncio.Future[Any]]:
    """Sends one dead letter for each refusal, and counts it."""
    sends = []
    for record, refusal in refused:
        key = f"{record.topic}/{record.partition}".encode()
        came = numbered(**{CAME_AT: record.first_ms})
        sends.append(await emitter.send(DEAD_LETTERS, letter_of(record, refusal).encode(), key=key, headers=came))
        metrics.refused(topic, refusal.reason)
    return sends


async def send_strays(emitter: Emitter, topic: str, strays: Iterable[Stray]) -> list[asyncio.Future[Any]]:
    """Publishes events of the wrong partition again, under their own key."""
    sends = []
    for stray in strays:
        headers = numbered(**{CAME_AT: stray.came_at_ms})
        if stray.traceparent:
            headers.append((TRACEPARENT, stray.traceparent))
        sends.append(await emitter.send(topic, stray.value, key=stray.key, headers=headers))
    return sends
