"""What each release left is read by this one: rows, records, a manifest, and, by a worker, all of a system's state."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from store.checkpoints import read_manifest, record_in
from store.events import decode_engagements, decode_profiles, decode_uploads
from store.histories import UserRow
from store.items import ItemRow, card_in, row_in
from store.log import Forgotten
from store.rows import POSITION_KEY, Position, RowStore
from store.signals import decode_frames, encode_frames
from store.topics import (
    CHECKPOINTS,
    DEAD_LETTERS,
    ENGAGEMENTS,
    FORGOTTEN_USERS,
    ITEM_SIGNALS,
    ITEM_STATES,
    PROFILES,
    RANKING_EXAMPLES,
    SEMANTIC_IDS,
    UPLOAD_STATES,
    UPLOADS,
    USER_STATES,
)
from stream.ingest.take_downs import TakeDown
from stream.kafka.dead_letters import decode as decode_letter
from stream.kafka.state_topics import announcement_in, encode_announcement
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster
from tests.formats.writing import AT_S, RELEASES, Records, settings_of, told_by
from trainer.runs.ranker_job import Evidence

ARCHIVES = sorted(RELEASES.glob("*.zip"))
packed = msgspec.msgpack.encode
in_json = msgspec.json.encode

Pair = tuple[bytes, bytes]


class Format(NamedTuple):
    """How a topic's records are read, and written again; events are read only: applications write them."""

    read: Callable[[Pair], Any]
    write: Callable[[Any], bytes] | None = None


def events_of(decode: Callable[..., Any]) -> Format:
    """Of these one record was refused on purpose."""
    return Format(lambda pair: decode(pair[1], now=AT_S + 1e6))


def state_of(read: Callable[[bytes], Any]) -> Format:
    """Rows, and the position under its key."""
    return Format(
        lambda pair: announcement_in(pair[1], 0) if pair[0] == POSITION_KEY else read(pair[1]),
        lambda held: encode_announcement(held) if hasattr(held, "position") else packed(held),
    )


FORMATS: dict[str, Format] = {
    UPLOADS: events_of(decode_uploads),
    ENGAGEMENTS: events_of(decode_engagements),
    PROFILES: events_of(decode_profiles),
    SEMANTIC_IDS: Format(lambda pair: card_in(pair[1], pair[0].decode()), in_json),
    ITEM_STATES: state_of(row_in),
    USER_STATES: state_of(lambda value: msgspec.msgpack.decode(value, type=UserRow)),
    UPLOAD_STATES: state_of(lambda value: msgspec.msgpack.decode(value, type=TakeDown)),
    ITEM_SIGNALS: Format(lambda pair: decode_frames(pair[1]), encode_frames),
    FORGOTTEN_USERS: Format(lambda pair: msgspec.json.decode(pair[1], type=Forgotten), in_json),
    RANKING_EXAMPLES: Format(lambda pair: msgspec.msgpack.decode(pair[1], type=Evidence), packed),
    CHECKPOINTS: Format(lambda pair: record_in(*pair), in_json),
    DEAD_LETTERS: Format(lambda pair: decode_letter(pair[1]), lambda letter: letter.encode()),
}


@pytest.fixture(params=ARCHIVES, ids=lambda archive: archive.stem)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a release left, unpacked."""
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def records_of(release: Path) -> Iterator[tuple[str, Pair]]:
    """(topic, record) of all that has a value."""
    records = msgspec.msgpack.decode((release / "records.msgpack").read_bytes(), type=Records)
    for topic, pairs in records.items():
        yield from ((topic, (key or b"", value)) for key, value in pairs if value is not None)


def test_every_record_is_read(release: Path) -> None:
    seen = set()
    for topic, pair in records_of(release):
        assert FORMATS[topic].read(pair) is not None
        seen.add(topic)
    assert seen == set(FORMATS), "a topic of which the release recorded nothing"


def test_rows_are_read_with_their_position(release: Path) -> None:
    told = json.loads((release / "told.json").read_text())
    users = RowStore(release / "data/rows/users-0", UserRow)
    items = RowStore(release / "data/rows/items-0", ItemRow)
    take_downs = RowStore(release / "data/rows/uploads-0", TakeDown)
    try:
        histories = {user: [entry.event_id for entry in row.entries] for user, row in users.scan() if row.entries}
        assert histories == {
            user: [entry["event_id"] for entry in told["history"]]
            for user, told in told["users"].items()
            if told.get("history")
        }
        assert len(histories) == 3
        counted = {item: sum(row.counters.values()) for item, row in items.scan()}
        assert counted == {item: sum(told["items"][item]["counters"].values()) for item in counted}
        assert {item for item, row in take_downs.scan() if not row.lifted} == {"item-7"}
        for rows in (users, items, take_downs):
            assert not rows.position.fault()
            assert rows.position != Position()
    finally:
        for rows in (users, items, take_downs):
            rows.close()


def test_a_manifest_is_read(release: Path) -> None:
    manifest = read_manifest(release / "checkpoint")
    assert (manifest.verdict, manifest.metrics, manifest.log["engagements/0"].end) == ("passed", {"hits": 0.25}, 24)


def test_what_is_written_now_is_what_was_recorded_last(tmp_path: Path) -> None:
    """A changed format needs a record of its own: `python -m tests.formats.writing`, under a new version where the last
    one was released; what was released must still be read."""
    with zipfile.ZipFile(ARCHIVES[-1]) as archive:
        archive.extractall(tmp_path)
    for topic, pair in records_of(tmp_path):
        if (write := FORMATS[topic].write) is not None:
            assert write(FORMATS[topic].read(pair)) == pair[1], f"{topic}: the format has changed (see above)"
    held = (tmp_path / "checkpoint/manifest.json").read_bytes()
    assert msgspec.json.format(in_json(read_manifest(tmp_path / "checkpoint")), indent=1) == held


@pytest.mark.long
def test_a_worker_goes_on_from_what_the_release_left(release: Path) -> None:
    """On the log and the rows that it left: every answer about users and items is the one of then."""
    broker = EmbeddedCluster(release / "of-broker")
    (release / "broker").rename(release / "of-broker/data")
    broker.start()
    settings = settings_of(broker.bootstrap_servers)
    for_ever = msgspec.structs.replace(settings.store, user_days=0.0, item_days=0.0, unknown_item_days=0.0)
    settings = msgspec.structs.replace(settings, store=for_ever)
    worker = WorkerProcess(settings, release / "worker", data_dir=release / "data")
    try:
        worker.start()
        worker.await_ready()
        assert told_by(worker) == json.loads((release / "told.json").read_text())
        refused = [line for line in worker.get("/metrics").text.splitlines() if "foreign_records_total{" in line]
        assert not [line for line in refused if not line.endswith(" 0.0")]
        assert worker.stop() == 0
    finally:
        worker.remove()
        broker.stop()
