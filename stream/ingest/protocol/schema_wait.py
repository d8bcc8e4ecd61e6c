"""Schemas that records need, fetched before the records are absorbed: in a thread, and again while no registry answers.

A partition whose schema is not to be had stands still: nothing behind the record is read, so lag and the ages of
canaries grow. After `kafka.registry.wait_s` it gives up, which ends the worker; the next start reads on from there. A
record is never refused because a registry was away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from store.reporting.outages import Outage
from store.schemas.registry import Registry, RegistryDeniedError, RegistryError
from store.schemas.wire import SchemaError, is_registered, schema_id_of
from stream.kafka.records import Record

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 5.0


class SchemaWait:
    """Waits for the schemas of records; the partitions of a worker share one, and its thread."""

    def __init__(self, registry: Registry, wait_s: float) -> None:
        self._registry = registry
        self._wait_s = wait_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="schemas")
        self._away = Outage(log, "schemas cannot be fetched", "records that need one wait, and those behind them")

    async def ready(self, records: Iterable[Record]) -> None:
        """Returns when nothing needs to be asked to read these. Raises `RegistryError` when that took too long, or
        where waiting is of no use."""
        for record in records:
            for data in (record.value, record.key if record.value is None else None):
                if is_registered(data):
                    await self._known(data or b"")

    async def _known(self, data: bytes) -> None:
        try:
            schema_id = schema_id_of(data)
        except SchemaError:
            return  # refused when it is read
        began, pause_s = time.monotonic(), 0.1
        while not self._registry.is_known(schema_id):
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._registry.fetch, schema_id)
            except RegistryDeniedError:
                raise
            except RegistryError as error:
                self._away.met(error)
                if time.monotonic() - began > self._wait_s:
                    remedy = f"waited {self._wait_s:.0f} s (kafka.registry.wait_s); nothing is lost, start again"
                    raise RegistryError(f"{error}: {remedy}") from None
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._away.over()
