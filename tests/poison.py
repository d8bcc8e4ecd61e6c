"""Foreign records: what a client that is not ours may put on any topic, by kind of mistake.

Each kind is made of records that the topic really holds, so that it is as near to the truth as a mistake can be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from store.topics import ITEM_SIGNALS, ITEM_STATES, RANKING_EXAMPLES, UPLOAD_STATES, USER_STATES
from stream.kafka.topics import TOPICS

MSGPACK = frozenset({ITEM_SIGNALS, ITEM_STATES, USER_STATES, UPLOAD_STATES, RANKING_EXAMPLES})
"""Topics whose values are MessagePack; the others hold JSON."""


COMPACTED = frozenset(topic.name for topic in TOPICS if topic.configs.get("cleanup.policy") == "compact")


class Foreign(NamedTuple):
    """One foreign record; `partition` None: where its key belongs."""

    kind: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None


def poison(topic: str, samples: Sequence[Any], partitions: int) -> Iterator[Foreign]:
    """Foreign records for `topic` (without its prefix), made from `samples` of its own records (kafka-python's). A
    broker takes no record without a key for a compacted topic."""
    for kind, make in KINDS.items():
        for sample in samples:
            for key, value, headers, partition in make(topic, sample, partitions):
                if key is None and topic in COMPACTED:
                    continue
                yield Foreign(kind, key, value, headers, partition)


Made = list[tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]], int | None]]


def _random(_: str, sample: Any, __: int) -> Made:
    return [(sample.key, os.urandom(64), sample.headers, None), (os.urandom(9), os.urandom(40), (), None)]


def _empty(_: str, sample: Any, __: int) -> Made:
    return [(sample.key, b"", sample.headers, None), (b"", sample.value, sample.headers, None), (b"", b"", (), None)]


def _null_key(_: str, sample: Any, __: int) -> Made:
    return [(None, sample.value, sample.headers, None), (None, os.urandom(8), (), 0)]


def _null_value(_: str, __: Any, ___: int) -> Made:
    return [(b"nobody-knows-this", None, (), None)]


def _wrong_key(_: str, sample: Any, partitions: int) -> Made:
    elsewhere = (sample.partition + 1) % partitions
    return [
        (b"another-key", sample.value, sample.headers, None),
        (b"\xff\xfe\x00", sample.value, sample.headers, None),
        (b"\x01control", sample.value, sample.headers, None),
        (b"k" * 5000, sample.value, sample.headers, None),
        (sample.key, sample.value, sample.headers, elsewhere),
    ]


def _another_type(topic: str, sample: Any, _: int) -> Made:
    values: list[bytes] = []
    for found in ({"item_id": 5, "a": [1, None, {}]}, [], {}, None, 7, "text", [[]], [None] * 20, [1, 2, 3]):
        values += [msgspec.json.encode(found), msgspec.msgpack.encode(found)]
    return [(sample.key, value, sample.headers, None) for value in values]


def _truncated(_: str, sample: Any, __: int) -> Made:
    ends = (1, len(sample.value) // 2, len(sample.value) - 1)
    return [(sample.key, sample.value[:end], sample.headers, None) for end in ends]


def _deep(_: str, sample: Any, __: int) -> Made:
    values = (b"[" * 50_000, b'{"a":' * 50_000, b"\x91" * 50_000, b"\x81\xa1a" * 50_000)
    return [(sample.key, value, sample.headers, None) for value in values]


def _gigantic(topic: str, sample: Any, _: int) -> Made:
    packed = topic in MSGPACK
    codec = msgspec.msgpack if packed else msgspec.json
    found = codec.decode(sample.value)
    numbers: tuple[float | int, ...] = (2**62, -(2**62), 1e300, -1e300)
    numbers += (2**64 - 1, float("inf"), float("nan")) if packed else (10**40,)
    return [(sample.key, codec.encode(_with(found, number)), sample.headers, None) for number in numbers]


def _with(found: Any, number: float | int) -> Any:
    """The same with every number exchanged, of its own type if that can hold it."""
    if isinstance(found, dict):
        return {key: _with(value, number) for key, value in found.items()}
    if isinstance(found, list):
        return [_with(value, number) for value in found]
    if isinstance(found, bool) or not isinstance(found, int | float):
        return found
    if isinstance(found, float):
        return float(number)
    return number if isinstance(number, int) else int(max(-(2**63), min(number, 2**63 - 1))) if number == number else 0


def _headers(_: str, sample: Any, __: int) -> Made:
    strange: tuple[tuple[str, bytes | None], ...] = (
        ("generation", b"\xff\x00many"),
        ("caused_at_ms", b"yesterday"),
        ("came_at_ms", b"9" * 5000),
        ("upload_offset", None),
        ("", b""),
        ("traceparent", os.urandom(32)),
    )
    missing = [(sample.key, sample.value, (), None)]
    return [*missing, (sample.key, sample.value, strange, None), (sample.key, b"?", strange, None)]


KINDS: dict[str, Callable[[str, Any, int], Made]] = {
    "random bytes": _random,
    "empty": _empty,
    "null key": _null_key,
    "null value": _null_value,
    "wrong key": _wrong_key,
    "another type": _another_type,
    "truncated": _truncated,
    "nested without end": _deep,
    "gigantic numbers": _gigantic,
    "unknown headers": _headers,
}
