"""The one node: what it was told at the start, and the state that all handlers share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from store.files.folder_lock import FolderInUseError, FolderLock
from store.files.replacing import replace_file
from stream.broker.errors import DataDirInUseError
from stream.broker.groups import Groups
from stream.broker.storage.offsets import Offsets
from stream.broker.storage.producers import ProducerIds
from stream.broker.storage.refused_writes import RefusedWrites
from stream.broker.storage.topics import Topics

HOST = "127.0.0.1"
NODE_ID = 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a broker runs; the same names as `Broker` takes."""

    data_dir: Path
    port: int = 0  # 0: any free one
    partitions: int = 4  # of a topic that is created without a number
    auto_create_topics: bool = False
    message_max_bytes: int = 16 * 2**20  # of one batch, as it is sent
    fsync_every_s: float | None = None  # None: never; 0: before every acknowledgement; else: that often
    maintain_every_s: float = 10.0  # retention and compaction
    topic_defaults: Mapping[str, str] = field(default_factory=dict)


class Node:
    """Opens and recovers everything under the data folder, and holds the folder's lock."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.port = options.port
        self._lock = _lock(options.data_dir)
        self.cluster_id = _cluster_id(options.data_dir / "cluster-id")
        defaults = {"max.message.bytes": str(options.message_max_bytes)} | dict(options.topic_defaults)
        self.topics = Topics(options.data_dir, defaults, now_ms())
        self.offsets = Offsets(options.data_dir / "offsets.journal")
        self.groups = Groups(self.offsets)
        self.refused_writes = RefusedWrites(options.data_dir)
        self.producer_ids = ProducerIds(options.data_dir / "producer-ids")

    def close(self) -> None:
        self.topics.close(now_ms())
        self.offsets.close()
        self._lock.close()


def now_ms() -> int:
    """Wall time in Kafka's unit."""
    return time.time_ns() // 1_000_000


def _lock(data_dir: Path) -> FolderLock:
    try:
        return FolderLock(data_dir, "broker")
    except FolderInUseError as error:
        raise DataDirInUseError(
            f"another broker runs on {data_dir}, {error.holder}: stop it, or give another folder"
        ) from None


def _cluster_id(path: Path) -> str:
    if not path.exists():
        replace_file(path, uuid.uuid4().hex[:22].encode())
    return path.read_text()
