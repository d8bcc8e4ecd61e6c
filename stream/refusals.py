"""Refusals: what was not accepted goes to `dead-letters` with its reason; what lay in a wrong partition, to its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from stream.dead_letters import DeadLetter
from stream.emitter import Emitter
from stream.metrics import Metrics
from stream.records import Refused, Stray


async def send_refusals(
    emitter: Emitter, metrics: Metrics, topic: str, refused: Iterable[Refused]
) -> list[asyncio.Future[Any]]:
    """Sends one dead letter for each refusal, and counts it."""
    sends = []
    for record, refusal in refused:
        letter = DeadLetter(
            reason=refusal.reason,
            detail=refusal.detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=refusal.event,
        )
        key = f"{record.topic}/{record.partition}".encode()
        sends.append(await emitter.send("dead-letters", letter.encode(), key=key))
        metrics.refused(topic, refusal.reason)
    return sends


async def send_strays(emitter: Emitter, topic: str, strays: Iterable[Stray]) -> list[asyncio.Future[Any]]:
    """Publishes events of the wrong partition again, under their own key."""
    return [await emitter.send(topic, stray.value, key=stray.key) for stray in strays]
