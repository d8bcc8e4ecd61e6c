"""Every decoder that reads bytes of others, with bytes that are right: what `bench.fuzz` begins from.

`act` returns whether the bytes were taken, or raises one of `refusals`; all else is a crash. What is taken is looked at
as far as its readers do before they change anything.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from multidict import MultiDict
from yarl import URL

from bench.fuzz_batches import CODECS, batch, resealed
from bench.fuzz_broker import frames
from store.checkpoints import (
    CHECKPOINT_KEY,
    RANKER_KEY,
    RUN_KEY,
    TRAIN_KEY,
    CheckpointError,
    read_manifest,
    record_in,
)
from store.envelopes.reading import EventReader
from store.events import Upload, decode_engagements, decode_profiles, decode_uploads, tombstone_id
from store.headers import CAME_AT, number_in
from store.histories import UserRow
from store.items import ItemCard, ItemRow, card_in, row_in
from store.log import Forgotten, LogRecord, forgotten_in
from store.records.canaries import canary_in, upload_canary
from store.records.foreign import UNREADABLE, ForeignRecordError, held_in, id_in
from store.records.frames import frame, raw_events
from store.records.republish_request import REPUBLISH_KEY, request_in
from store.requests import BadRequestError
from store.rows import Position
from store.schemas.avro import avro_reader
from store.schemas.wire import SchemaError
from store.settings import Settings
from store.signals import Origin, Signal, SignalFrame, decode_frames, encode_frames
from store.topics import (
    FORGOTTEN_USERS,
    ITEM_SIGNALS,
    ITEM_STATES,
    RANKING_EXAMPLES,
    SEMANTIC_IDS,
    UPLOAD_STATES,
    USER_STATES,
)
from stream.broker.errors import RefusedError
from stream.broker.protocol import UnknownCallError
from stream.broker.protocol import decode as decode_call
from stream.broker.storage.batches import accept
from stream.broker.storage.codecs import CodecError, decompress
from stream.cli.publish_file import Tally, _publish_line
from stream.client.admission import InvalidEventError, admit
from stream.client.csv_lines import table_of
from stream.client.line_files import RecordingError, read_lines
from stream.ingest.take_downs import TakeDown
from stream.kafka.dead_letters import DeadLetter, DeadLetterError
from stream.kafka.dead_letters import decode as decode_letter
from stream.kafka.state_topics import Announcement, announcement_in
from stream.web import parameters
from tests.store.envelopes.wrapped import WRAPS
from tests.store.schemas.test_avro import SCHEMA, written
from trainer.ranking.columns import NAMES
from trainer.ranking.example import Example
from trainer.ranking.impressions import ImpressionOutcome, Shown


class Target(NamedTuple):
    name: str
    seeds: list[bytes]
    act: Callable[[bytes], bool]
    refusals: tuple[type[BaseException], ...] = ()


NOW = 1.7e9
LIMITS = Settings().event_limits()
READER = EventReader(LIMITS)
_UPLOAD = {"item_id": "i1", "uploaded_at": NOW, "title": "Käse", "tags": ["a"], "features": {"visual": [0.1, 0.2]}}
_ENGAGEMENT = {"event_id": "e1", "user_id": "u1", "item_id": "i1", "kind": "click", "occurred_at": NOW, "value": 0.5}
_PROFILE = {"user_id": "u1", "updated_at": NOW, "attributes": {"age": 31, "country": "DE"}}


def decoders(folder: Path) -> list[Target]:
    """All of them; `folder` is for those that read files."""
    return [*_events(), *_rows(), *_records(), *_asked(), *_files(folder), *_broker()]


def _json(*documents: object) -> list[bytes]:
    return [msgspec.json.encode(document) for document in documents]


def _packed(*documents: object) -> list[bytes]:
    return [msgspec.msgpack.encode(document) for document in documents]


def _framed(document: object) -> list[bytes]:
    one = msgspec.json.encode(document)
    return [one, frame([one, one])]


# ---- events ----


def _accepts(decode: Any) -> Callable[[bytes], bool]:
    return lambda value: not decode(value, now=NOW).refusals


def _wrapped(wrap: Any, document: object) -> bytes:
    return bytes(wrap(document))


def _events() -> Iterator[Target]:
    for name, document, decode in (
        ("uploads", _UPLOAD, decode_uploads),
        ("engagements", _ENGAGEMENT, decode_engagements),
        ("profiles", _PROFILE, decode_profiles),
    ):
        yield Target(name, _framed(document), _accepts(decode))
    for name, document, read in (
        ("uploads", _UPLOAD, READER.uploads),
        ("engagements", _ENGAGEMENT, READER.engagements),
        ("profiles", _PROFILE, READER.profiles),
    ):
        wrapped = [_wrapped(wrap, document) for wrap in WRAPS.values()]
        yield Target(f"envelopes: {name}", wrapped, _accepts(read))
    text = msgspec.json.encode(SCHEMA).decode()
    avro = written(SCHEMA, {"item_id": "i1", "uploaded_at": int(NOW * 1000), "title": "Käse", "tags": ["a"]})
    yield Target("avro", [avro], lambda value: bool(avro_reader(text, [])(value)), (SchemaError,))
    yield Target("frames", _framed(_UPLOAD), lambda value: bool(raw_events(value)))
    canary = upload_canary(0, 4, NOW)
    yield Target("canaries", [canary], lambda value: canary_in(value, Upload, 0, 4) is not None)
    yield Target("keys of take-downs", [b"i1"], lambda value: isinstance(tombstone_id(value), str))
    yield Target("ids of records", [b"i1", "ü".encode()], lambda value: bool(id_in(value)), (ForeignRecordError,))
    yield Target("headers", [b"1700000000000"], lambda value: number_in([(CAME_AT, value)], CAME_AT, -1) >= 0)
    for name, document in (("uploads", _UPLOAD), ("engagements", _ENGAGEMENT)):
        admitted = lambda value, name=name: bool(admit(name, value, LIMITS))  # noqa: E731
        yield Target(f"publisher: {name}", _framed(document), admitted, (InvalidEventError,))


# ---- rows of state topics ----


def _rows() -> Iterator[Target]:
    user = UserRow(offset=3, seen=b"\0" * 16, attributes={"a": 1.0}, touched_s=int(NOW))
    item = ItemRow(offset=3, counters={1: 2}, positives=2, popularity=[1.0, 2.0], vector=np.ones(4, "<f2").tobytes())
    item.neighbours = {"i2": 1.0}
    signal = Signal("i1", "e1", 1, NOW, 1.0, None, ["i2"])
    frames = [SignalFrame(0, Origin(5, 0), int(NOW * 1000), [signal])]
    yield Target(ITEM_SIGNALS, [encode_frames(frames)], lambda v: bool(decode_frames(v)), UNREADABLE)
    foreign = (ForeignRecordError,)
    for name, row in ((USER_STATES, user), (UPLOAD_STATES, TakeDown(4, int(NOW * 1000)))):
        decoder: Any = msgspec.msgpack.Decoder(type(row))
        taken = lambda v, decoder=decoder: bool(held_in(v, decoder.decode, "row"))  # noqa: E731
        yield Target(name, _packed(row), taken, foreign)
    yield Target(ITEM_STATES, _packed(item), lambda v: bool(len(row_in(v).vector_D()) + 1), foreign)
    position = Announcement(Position(), "http://127.0.0.1:1", 0)
    yield Target("positions", _packed(position), lambda v: bool(announcement_in(v, 0)), foreign)


# ---- other topics ----


def _records() -> Iterator[Target]:
    card = ItemCard(
        item_id="i1",
        codebook="v0",
        codes=[1, 2, 3],
        suffix=9,
        assigned_at=NOW,
        uploaded_at=NOW,
        published_at_ms=int(NOW * 1000),
        content={"text": "AAAAPA=="},
    )
    yield Target(SEMANTIC_IDS, _json(card), lambda v: bool(card_in(v, "i1").parts()), (ForeignRecordError,))
    forgotten = Forgotten(user_id="u1", offset=4, forgotten_at_ms=int(NOW * 1000))

    def is_forgotten(value: bytes) -> bool:
        return bool(forgotten_in([LogRecord(0, 0, 0, forgotten.key(), value, [])]))

    yield Target(FORGOTTEN_USERS, _json(forgotten), is_forgotten)
    keys = {
        CHECKPOINT_KEY: {"checkpoint": "c", "parent": None, "location": "c", "verdict": "passed", "published_at": NOW},
        TRAIN_KEY: {"requested_at": NOW, "action": "train", "run": "r", "codebook": "refresh"},
        RUN_KEY: {"run": "r", "state": "started", "at": NOW},
        RANKER_KEY: {"ranker": "r", "location": "r.json", "published_at": NOW},
        REPUBLISH_KEY: {"request": "r1", "requested_at": NOW},
    }
    for key, document in keys.items():
        taken = lambda v, key=key: bool(record_in(key, v))  # noqa: E731
        yield Target(f"checkpoints: {key.decode()}", _json(document), taken, (ForeignRecordError,))
    yield Target("republish requests", _json(keys[b"republish"]), lambda v: bool(request_in(b"republish", v)))
    yield Target(RANKING_EXAMPLES, _evidence(), _is_evidence, (ForeignRecordError,))
    letter = DeadLetter(reason="not_json", detail="?", topic="t", partition=0, offset=1, key=b"k", value=b"{")
    yield Target("dead-letters", [letter.encode()], lambda v: bool(decode_letter(v).preview()), (DeadLetterError,))


def _evidence() -> list[bytes]:
    width = len(NAMES)
    example = Example(
        user_id="u",
        item_id="i",
        task="next",
        kind="click",
        occurred_at=NOW,
        weight=1.0,
        rank=0,
        candidates=9,
        source="fresh",
        positives=1,
        age_s=5.0,
        history=2,
        columns=width,
        cold_negatives=1,
        features=bytes(2 * width * 3),
    )
    shown = Shown(
        request_id="r",
        user_id="u",
        task="home",
        shown_at=NOW,
        item_ids=["a", "b"],
        columns=width,
        features=bytes(2 * width * 2),
    )
    outcome = ImpressionOutcome(user_id="u", item_id="a", kind="click", occurred_at=NOW, weight=1.0, request_id="r")
    return _packed(example, shown, outcome)


_evidence_decoder: Any = msgspec.msgpack.Decoder(Example | Shown | ImpressionOutcome)


def _is_evidence(value: bytes) -> bool:
    found = held_in(value, _evidence_decoder.decode, "ranking example")
    if isinstance(found, Example):
        found.group()
        found.first_engagement()
    return True


# ---- requests ----


def _asked() -> Iterator[Target]:
    asked = {"user_id": "u", "task": "search", "query": "brot", "k": 5, "exclude": ["i1"], "within_ms": 100}
    refusals = (BadRequestError,)

    def posted(value: bytes) -> bool:
        fields = parameters.json_object(value)
        return bool(
            parameters.from_batch(fields["requests"]) if "requests" in fields else parameters.from_fields(fields)
        )

    yield Target("request bodies", _json(asked, {"requests": [asked, asked]}), posted, refusals)

    def queried(value: bytes) -> bool:
        query = URL("/?" + value.decode("latin-1").replace("#", "%23"), encoded=True).query
        return bool(parameters.from_query(MultiDict(query)))

    text = b"user_id=u&k=5&exclude=a&exclude=%C3%BC&explain=true&task=home&within_ms=9"
    yield Target("query strings", [text], queried, (*refusals,))
    clicked = _json({"user_id": "u", "item_id": "i", "kind": "click", "task": "home"})
    engaged = lambda v: bool(parameters.engagement_fields(parameters.json_object(v)))  # noqa: E731
    yield Target("console engagements", clicked, engaged, refusals)


# ---- files ----


class _Admitting:
    """A publisher that goes no further than its checks."""

    def publish(self, topic: Any, event: Any) -> None:
        admit(topic, event, LIMITS)


def _files(folder: Path) -> Iterator[Target]:
    local = {**_ENGAGEMENT, "occurred_at": "2026-01-02T03:04:05Z"}
    lines = b"\n".join(_json(_ENGAGEMENT, local, {"events": [_ENGAGEMENT]}))
    heading = "event_id,user_id,item_id,kind,occurred_at,value\n"
    table = heading + 'e1,u1,i1,click,1700000000,0.5\ne2,u1,"i\n1",click,2026-01-02T03:04:05Z,\n'
    uploads = 'item_id;uploaded_at;tags;features\ni1;1700000000;"[""a""]";"{""v"": [1]}"\n'

    def published(topic: Any, value: bytes) -> bool:
        path = folder / "lines"
        path.write_bytes(value)
        tally = Tally(quiet=True)
        for line in read_lines(path, table=table_of(topic)):
            _publish_line(_Admitting(), topic, line, tally)  # type: ignore[arg-type]
        return not tally.bad

    refusals = (RecordingError,)
    clicks, cards = (lambda v: published("engagements", v)), (lambda v: published("uploads", v))
    yield Target("files: JSON lines", [lines, b"\xef\xbb\xbf" + lines.replace(b"\n", b"\r\n")], clicks, refusals)
    yield Target("files: gzip", [gzip.compress(lines), gzip.compress(lines) * 2], clicks, refusals)
    yield Target("files: CSV", [table.encode(), table.replace(",", "\t").encode()], clicks, refusals)
    yield Target("files: CSV of uploads", [uploads.encode()], cards, refusals)

    def manifest(value: bytes) -> bool:
        (folder / "manifest.json").write_bytes(value)
        return bool(read_manifest(folder))

    fields = {"checkpoint": "c", "parent": None, "codebook": "v0", "created_at": NOW}
    yield Target("files: manifests", _json({**fields, "offsets": {}, "metrics": {}}), manifest, (CheckpointError,))


# ---- the embedded broker, without its socket ----


def _broker() -> Iterator[Target]:
    data = b"a row of text, again and again. " * 400
    for number, name in enumerate(("gzip", "snappy", "lz4", "zstd"), start=1):
        opened = lambda v, number=number: bool(decompress(number, v) or True)  # noqa: E731
        yield Target(f"codec {name}", [CODECS[number](data), CODECS[number](data) * 2], opened, (CodecError,))
    batches = [batch(), *(batch(number) for number in CODECS)]

    def taken(value: bytes) -> bool:
        return bool(accept(value, 1 << 24).record_count)

    yield Target("batches", batches, taken, (RefusedError,))
    yield Target("batches, checksum right", batches, lambda v: taken(resealed(v)), (RefusedError,))
    yield Target("broker: requests", frames(), lambda v: bool(decode_call(v)), (UnknownCallError,))
