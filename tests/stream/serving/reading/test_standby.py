"""Copies of others' users' rows: which of two is kept, for whom they speak and how long, and what is followed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.errors import UnknownTopicOrPartitionError
from kafka.errors import KafkaConnectionError

from store.histories import UserRow
from store.keys import partition_of
from store.log import Forgotten
from store.records.foreign import ForeignRecords
from store.settings import Settings, settings_from
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import GENERATION, POSITION_KEY
from stream.kafka.topics import create_topics
from stream.serving.reading import standby
from stream.serving.reading.standby import Copy, Standby, StandbyError
from tests.clusters import ON_EMBEDDED


class Watched(Standby):
    """Says which offsets it was given."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.taken: list[int] = []

    def take(self, number: int, records: Sequence[Any]) -> None:
        self.taken += [record.offset for record in records]
        super().take(number, records)


HEADERS = [(GENERATION, b"1")]
USER = "ada"
HOME = partition_of(USER, Settings().kafka.partitions)


class Copies:
    """A standby that is told records directly."""

    def __init__(self, folder: Path) -> None:
        self.foreign: list[str] = []
        self.standby = Standby(Settings(), folder, lambda: (), ForeignRecords(self.foreign.append))
        self._offset = 0

    def take(self, value: bytes | None, key: bytes = USER.encode(), age_s: float = 0.0, **other: Any) -> None:
        self._offset += 1
        found = {"partition": HOME, "offset": self._offset, "headers": HEADERS, **other}
        record = SimpleNamespace(key=key, value=value, timestamp=(time.time() - age_s) * 1000, **found)
        self.standby.take(HOME, [record])

    def copy(self) -> Copy:
        return self.standby.copy(USER)


@pytest.fixture
def copies(tmp_path: Path) -> Any:
    copies = Copies(tmp_path / "copies")
    yield copies
    copies.standby.close()


def row(offset: int, **fields: Any) -> bytes:
    return msgspec.msgpack.encode(UserRow(offset=offset, **fields))


def test_what_an_owner_published_last_speaks_for_its_user(copies: Copies) -> None:
    copies.take(row(4))
    assert copies.copy() == Copy(UserRow(offset=4), is_fresh=True)
    copies.take(row(7))
    assert copies.copy().row == UserRow(offset=7)


def test_one_whose_partition_was_read_and_who_has_no_row_is_new(copies: Copies) -> None:
    assert copies.copy() == Copy(None, is_fresh=False)
    copies.take(b"", POSITION_KEY)
    assert copies.copy() == Copy(None, is_fresh=True)


@pytest.mark.parametrize(
    ("known", "late"),
    [
        (row(9), row(4)),
        (row(9, life=3), row(12)),
        (row(9, profiled_at=2.0), row(9, profiled_at=1.0)),
    ],
    ids=["less far", "of an earlier life", "an older profile"],
)
def test_a_former_owner_that_writes_late_changes_nothing(copies: Copies, known: bytes, late: bytes) -> None:
    copies.take(known)
    copies.take(late)
    assert copies.copy().row == msgspec.msgpack.decode(known, type=UserRow)


def test_in_one_batch_too_the_further_counts(copies: Copies) -> None:
    at = {"partition": HOME, "headers": HEADERS, "timestamp": time.time() * 1000, "key": USER.encode()}
    records = [SimpleNamespace(offset=n, value=row(offset), **at) for n, offset in enumerate((3, 8, 5))]
    copies.standby.take(HOME, records)
    assert copies.copy().row == UserRow(offset=8)


def test_a_row_that_went_is_no_copy(copies: Copies) -> None:
    copies.take(row(4))
    copies.take(None)
    assert copies.copy() == Copy(None, is_fresh=True)


def test_nobody_is_answered_from_what_was_forgotten(copies: Copies) -> None:
    one = Forgotten(user_id=USER, offset=5, forgotten_at_ms=1)
    copies.take(row(4))
    copies.standby.on_forgotten(SimpleNamespace(key=one.key(), value=one.encode(), partition=HOME, offset=0))
    assert copies.copy().row is None
    copies.take(row(8))  # written late, of the life before
    assert copies.copy().row is None
    copies.take(row(9, life=5))
    assert copies.copy().row == UserRow(offset=9, life=5)


def test_a_copy_speaks_for_nobody_once_no_owner_is_heard_of(copies: Copies) -> None:
    copies.take(row(4), age_s=standby.FRESH_S + 1)
    assert copies.copy() == Copy(UserRow(offset=4), is_fresh=False)
    copies.take(b"", POSITION_KEY)
    assert copies.copy().is_fresh


def test_foreign_records_are_passed_over_and_counted(copies: Copies) -> None:
    copies.take(row(4))
    copies.take(b"no row")
    copies.take(row(9), b"\xff")
    copies.take(row(9), headers=[])
    copies.take(row(9), next(f"u{n}" for n in range(99) if partition_of(f"u{n}", 4) != HOME).encode())
    assert copies.copy().row == UserRow(offset=4)
    assert copies.foreign == ["user-states"] * 4


@pytest.mark.parametrize("age_s", [0.0, standby.FRESH_S + 1])
def test_a_start_has_the_copies_and_they_speak_for_as_long(tmp_path: Path, age_s: float) -> None:
    for expected in (Copy(None, is_fresh=False), Copy(UserRow(offset=4), is_fresh=age_s == 0.0)):
        copies = Copies(tmp_path / "copies")
        assert copies.copy() == expected
        copies.take(row(4), age_s=age_s)
        copies.standby.close()


@ON_EMBEDDED
def test_it_follows_what_it_is_not_told_to_leave_out_and_reads_on_at_the_next_start(
    cluster: Any, tmp_path: Path
) -> None:
    settings = _settings_on(cluster)
    users = [next(f"u{n}" for n in range(99) if partition_of(f"u{n}", 2) == number) for number in range(2)]

    async def scenario() -> list[list[Copy]]:
        emitter, alone, found = Emitter(settings), {1}, []
        await emitter.start()
        for offset in (1, 2):
            followed = Watched(settings, tmp_path / "copies", lambda: alone, ForeignRecords())
            ready = asyncio.Event()
            ready.set()
            following = asyncio.create_task(followed.run(ready))
            for number, user in enumerate(users):
                await emitter.send_rows("user-states", number, [(user.encode(), row(offset), HEADERS)])
            await _eventually(lambda at=followed, n=offset: _offset(at.copy(users[0])) == n)
            found.append([followed.copy(user) for user in users])
            if offset == 2:
                assert followed.taken == [1], "what was read before is not read again"
                alone.clear()  # the other partition goes, and is followed from its beginning
                await _eventually(lambda at=followed: _offset(at.copy(users[1])) == 2)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            followed.close()
        await emitter.stop()
        return found

    first, second = asyncio.run(scenario())
    assert first == [Copy(UserRow(offset=1), is_fresh=True), Copy(None, is_fresh=False)]
    assert second == [Copy(UserRow(offset=2), is_fresh=True), Copy(None, is_fresh=False)]


class Failing(Watched):
    """Cannot keep what it is given, for one reason after the other."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.failures = [StandbyError("no room"), KafkaConnectionError(), UnknownTopicOrPartitionError()]

    def take(self, number: int, records: Sequence[Any]) -> None:
        if self.failures:
            raise self.failures.pop()
        super().take(number, records)


@ON_EMBEDDED
def test_what_keeps_it_from_following_ends_nothing_and_is_told_once(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker must not end for want of copies, which decide nothing."""
    settings = _settings_on(cluster)
    monkeypatch.setattr(standby, "RETRY_S", 0.01)

    async def scenario() -> Copy:
        emitter, ready = Emitter(settings), asyncio.Event()
        followed = Failing(settings, tmp_path / "copies", set, ForeignRecords())
        await emitter.start()
        ready.set()
        following = asyncio.create_task(followed.run(ready))
        await emitter.send_rows("user-states", partition_of("u", 2), [(b"u", row(1), HEADERS)])
        await _eventually(lambda: following.done() or _offset(followed.copy("u")) == 1)
        found = followed.copy("u")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        followed.close()
        await emitter.stop()
        return found

    assert asyncio.run(scenario()).row == UserRow(offset=1)
    told = [record.getMessage() for record in caplog.records if "not followed" in record.getMessage()]
    assert len(told) == 1


def _settings_on(cluster: Any) -> Settings:
    name = f"standby-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": f"{name}.", "group": name, "partitions": 2}
    settings = settings_from({"kafka": kafka})
    create_topics(settings)
    return settings


def _offset(copy: Copy) -> int:
    return -1 if copy.row is None else copy.row.offset


async def _eventually(holds: Any, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
