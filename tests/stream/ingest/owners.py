"""Owners of a partition for tests: the real ones on a real broker, each with a disk and a producer of its own, worked
by hand, so that one of them can stand still between any two steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from store.envelopes.reading import EventReader
from store.events import Engagement
from store.files.crash_points import Fault, no_fault
from store.histories import HistoryRules, UserRow
from store.items import ItemRow
from store.rows import RowStore
from store.settings import Settings
from store.signals import Origin, Signal, SignalFrame, encode_frames
from stream.ingest.item_partition import ItemPartition
from stream.ingest.item_side import ItemSide
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.user_partition import UserPartition
from stream.ingest.user_side import UserSide
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.state_topics import GENERATION, read_partition
from stream.metrics.metrics import Metrics
from tests.folders import memory_folder
from tests.item_vectors import item_vectors
from trainer.items.item_learning import ItemRules

RULES = HistoryRules({"click": 1.0, "like": 2.0, "hide": -1.0}, length=128, context=20)


class KilledError(BaseException):
    """The process is gone."""


def dying_at(point: str) -> Fault:
    """The process dies when it comes to a boundary."""

    def fault(boundary: str) -> None:
        if boundary == point:
            raise KilledError

    return fault


class Unscored:
    """Learns nothing from engagements."""

    def outcome(self, event: Engagement) -> bytes | None:
        return None

    def examine(self, event: Engagement, row_before: Callable[[], UserRow]) -> bytes | None:
        return None


class Owners:
    """Opens and closes owners of partition 0 of one-partition topics; a disk is a name."""

    def __init__(self, settings: Settings, folder: Path, stack: AsyncExitStack) -> None:
        self.settings = settings
        self._folder = folder
        self._stack = stack
        self._opened: list[UserPartition | ItemPartition] = []

    rows_per_s = 1e9
    """What the pace allows those that are opened from now on."""

    @property
    def newest(self) -> UserPartition | ItemPartition:
        """The owner that was opened last, also one that did not come up."""
        return self._opened[-1]

    async def emitter(self) -> Emitter:
        emitter = Emitter(self.settings)
        await emitter.start()
        self._stack.push_async_callback(emitter.stop)
        return emitter

    async def users(self, disk: str, generation: int = 1, fault: Fault = no_fault) -> UserPartition:
        rows = RowStore(self._folder / f"{disk}-users", UserRow)
        side = UserSide(0, 1, rows, RULES, EventReader())
        emitter = await self.emitter()
        context = PartitionContext(
            settings=self.settings, emitter=emitter, metrics=Metrics(), generation=lambda: generation, fault=fault
        )
        opened = UserPartition(side, context, Unscored(), self._pace())
        self._opened.append(opened)
        await opened.restore()
        return opened

    async def items(self, disk: str, generation: int = 1, fault: Fault = no_fault) -> ItemPartition:
        rows = RowStore(self._folder / f"{disk}-items", ItemRow)
        side = ItemSide(0, rows, ItemRules(), item_vectors(self._folder / f"{disk}-vectors"))
        emitter = await self.emitter()
        context = PartitionContext(
            settings=self.settings, emitter=emitter, metrics=Metrics(), generation=lambda: generation, fault=fault
        )
        opened = ItemPartition(side, context, self._pace(), f"http://{disk}")
        self._opened.append(opened)
        await opened.restore()
        return opened

    def _pace(self) -> Callable[[], float]:
        rows_per_s = self.rows_per_s
        return lambda: rows_per_s

    async def absorb(self, owner: UserPartition | ItemPartition, begin: int | None = None) -> None:
        """Takes what is on the log from the cursor on, without publishing it."""
        topic = self.settings.topic("engagements" if isinstance(owner, UserPartition) else "item-signals")
        begin = owner.cursors[topic].ahead if begin is None else begin
        assert begin is not None
        records = [
            Record(topic, 0, r.offset, r.timestamp, r.key, r.value, lambda: None)
            async for r in read_partition(self.settings, topic, 0, begin)
        ]
        await owner._take(records)

    async def work(self, owner: UserPartition | ItemPartition) -> None:
        """Absorbs and publishes; twice, as time would: the second publication tells how far the first was safe."""
        await self.absorb(owner)
        await owner._publish_once()
        await owner._publish_once()

    def close(self, owner: UserPartition | ItemPartition) -> None:
        owner.close()
        self._opened.remove(owner)

    def forget(self, owner: UserPartition | ItemPartition) -> None:
        """One that has closed itself."""
        self._opened.remove(owner)

    def close_all(self) -> None:
        for owner in list(self._opened):
            self.close(owner)

    async def publish(self, topic: str, *values: tuple[bytes, bytes | None]) -> None:
        """Records of a state topic carry a generation, as an owner's do."""
        emitter, headers = await self.emitter(), [(GENERATION, b"0")] if topic.endswith("-states") else []
        sends = [await emitter.send(topic, value, key=key, partition=0, headers=headers) for key, value in values]
        await emitter.settle(sends)

    async def log_of(self, topic: str) -> list[Any]:
        return [record async for record in read_partition(self.settings, self.settings.topic(topic), 0, 0)]


@asynccontextmanager
async def owners_on(settings: Settings) -> AsyncIterator[Owners]:
    folder = memory_folder()
    async with AsyncExitStack() as stack:
        owners = Owners(settings, folder, stack)
        try:
            yield owners
        finally:
            owners.close_all()
            shutil.rmtree(folder)


def click(number: int, user: str, item: str = "i") -> tuple[bytes, bytes]:
    event = {"event_id": f"e{number}", "user_id": user, "item_id": item, "kind": "click", "occurred_at": 1.7e9 + number}
    return user.encode(), json.dumps(event).encode()


def signal(number: int, item: str) -> tuple[bytes, bytes]:
    """The signal of a click on the item; `number` is the place of the engagement."""
    told = Signal(item, f"e{number}", 1, 1.7e9 + number, 1.0, None, [])
    return item.encode(), encode_frames([SignalFrame(0, Origin(number, 255), 1000, [told])])


def history(owner: UserPartition, user: str) -> list[str]:
    row = owner.side.row(user)
    return [entry.event_id for entry in row.entries] if row else []


def clicks(owner: ItemPartition, item: str) -> int:
    row = owner.side.rows.get(item)
    return sum(row.counters.values()) if row else 0
