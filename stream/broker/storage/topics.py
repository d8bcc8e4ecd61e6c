"""Topics on disk: a folder each, with `topic.json` and one folder per partition.

Invariant: a topic exists exactly when its folder lies under `topics/`; it is made elsewhere and renamed in, and
deleted by being renamed out, so a crash leaves no half of one. Changes of its settings replace `topic.json` whole.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from store.files.crash_points import reached
from store.files.replacing import replace_file
from stream.broker.errors import Code, RefusedError
from stream.broker.storage.configs import TopicConfig
from stream.broker.storage.logs import Log

MOST_PARTITIONS = 1_000
"""Of one topic: each has a folder of its own, and is made before anything else is answered."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise RefusedError(Code.INVALID_TOPIC, f"a topic name is 1 to 249 of [a-zA-Z0-9._-], not {name!r}")


@dataclass
class Topic:
    """A topic and the logs of its partitions. `id`: one made anew under the same name has another."""

    name: str
    folder: Path
    config: TopicConfig
    logs: list[Log]
    id: uuid.UUID

    def save(self) -> None:
        _describe(self.folder, self.id, len(self.logs), self.config.overrides)


class Topics:
    """All topics of one broker; opening recovers every log."""

    def __init__(self, data_dir: Path, defaults: Mapping[str, str], now_ms: int) -> None:
        self._folder, self._trash = data_dir / "topics", data_dir / "trash"
        shutil.rmtree(self._trash, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._trash.mkdir()
        self._defaults = dict(defaults)
        TopicConfig({}, self._defaults)
        self._topics = {folder.name: self._open(folder, now_ms) for folder in sorted(self._folder.iterdir())}

    def names(self) -> list[str]:
        return list(self._topics)

    def all(self) -> list[Topic]:
        return list(self._topics.values())

    def get(self, name: str) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            raise RefusedError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}")
        return topic

    def named(self, topic_id: uuid.UUID) -> str:
        """The name of the topic with this id."""
        for topic in self._topics.values():
            if topic.id == topic_id:
                return topic.name
        raise RefusedError(Code.UNKNOWN_TOPIC_ID, f"there is no topic with the id {topic_id}")

    def log(self, name: str, partition: int) -> Log:
        logs = self.get(name).logs
        if not 0 <= partition < len(logs):
            raise RefusedError(
                Code.UNKNOWN_TOPIC_OR_PARTITION, f"{name} has {len(logs)} partitions, not {partition + 1}"
            )
        return logs[partition]

    def create(self, name: str, partitions: int, overrides: Mapping[str, str], now_ms: int, dry: bool = False) -> None:
        """Makes a topic; with `dry` only says whether it could be made."""
        check_name(name)
        if name in self._topics:
            raise RefusedError(Code.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
        if not 1 <= partitions <= MOST_PARTITIONS:
            raise RefusedError(Code.INVALID_PARTITIONS, f"a topic has 1 to {MOST_PARTITIONS} partitions here")
        config = TopicConfig(dict(overrides), self._defaults)
        if dry:
            return
        topic_id = uuid.uuid4()
        making = self._trash / topic_id.hex
        making.mkdir()
        _describe(making, topic_id, partitions, overrides)
        making.rename(self._folder / name)
        reached("topic_named")
        self._topics[name] = Topic(name, self._folder / name, config, [], topic_id)
        self._add_logs(self._topics[name], partitions, now_ms)

    def grow(self, name: str, partitions: int, now_ms: int, dry: bool = False) -> None:
        """Adds partitions at the end."""
        topic = self.get(name)
        if partitions <= len(topic.logs):
            raise RefusedError(
                Code.INVALID_PARTITIONS, f"{name} has {len(topic.logs)} partitions already; ask for more"
            )
        if partitions > MOST_PARTITIONS:
            raise RefusedError(Code.INVALID_PARTITIONS, f"a topic has at most {MOST_PARTITIONS} partitions here")
        if not dry:
            self._add_logs(topic, partitions, now_ms)
            topic.save()

    def configure(self, name: str, overrides: Mapping[str, str], dry: bool = False) -> None:
        """Replaces the topic's own settings."""
        topic = self.get(name)
        config = TopicConfig(dict(overrides), self._defaults)
        if not dry:
            topic.config = config
            for log in topic.logs:
                log.config = config
            topic.save()

    def delete(self, name: str) -> None:
        topic = self.get(name)
        gone = self._trash / uuid.uuid4().hex
        topic.folder.rename(gone)
        del self._topics[name]
        for log in topic.logs:
            for segment in log.segments:
                segment.close()
            for tell in tuple(log.listeners):
                tell()
        shutil.rmtree(gone, ignore_errors=True)

    def close(self, now_ms: int) -> None:
        for topic in self._topics.values():
            for log in topic.logs:
                log.close(now_ms)

    def _open(self, folder: Path, now_ms: int) -> Topic:
        described = msgspec.json.decode((folder / "topic.json").read_bytes())
        known = described.get("id")
        topic_id = uuid.UUID(known) if known else uuid.uuid4()
        topic = Topic(folder.name, folder, TopicConfig(described["configs"], self._defaults), [], topic_id)
        self._add_logs(topic, described["partitions"], now_ms)
        if not known:  # made by a release that gave topics no ids
            topic.save()
        return topic

    def _add_logs(self, topic: Topic, partitions: int, now_ms: int) -> None:
        for number in range(len(topic.logs), partitions):
            topic.logs.append(Log(topic.folder / str(number), topic.config, now_ms))


def _describe(folder: Path, topic_id: uuid.UUID, partitions: int, overrides: Mapping[str, str]) -> None:
    described = {"id": str(topic_id), "partitions": partitions, "configs": dict(overrides)}
    replace_file(folder / "topic.json", msgspec.json.encode(described))
