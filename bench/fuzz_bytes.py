"""Bytes that no decoder expects: mutations of what is right, and what is wrong altogether. By seed, so it can be had
again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**53, 2**62, -(2**63), 2**64 - 1, 1e308, -1e308, 5e-324),
    *("", "\x00", " ", "🍞" * 50, "x" * 300, "../../etc/passwd", "NaN", "1_0"),
    *([], {}, [[]], [None] * 30, {"": None}, {"a": {"a": {}}}),
)
"""Values of other kinds than what they stand in for. MessagePack holds all of them, JSON too."""
PIECES: tuple[bytes, ...] = (
    *(b"\x00", b"\xff" * 8, b"\x80" * 12, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\xff"),
    *(b"NaN", b"Infinity", b"1e999", b"-0", b"9" * 400, b"\\ud800", b"\\u0000", b"\xed\xa0\x80", b"\xc3("),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b"\x91" * 3000,
        b"\x81\xa1a" * 3000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff",
    ),
    *(b'"', b"\r", b"\n", b"\r\n", b",", b";", b"\xef\xbb\xbf", b"\x1f\x8b"),
)
"""What has broken decoders: lengths, nesting, half characters, numbers beyond all bounds."""


def mutations(seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """Endlessly: the seeds themselves, then seeds changed in one to four places, each fourth time random bytes."""
    yield from seeds
    while True:
        if chance.random() < 0.1:
            yield chance.randbytes(chance.choice((0, 1, 2, 8, 61, 300, 5000)))
            continue
        found = chance.choice(seeds)
        for _ in range(chance.randint(1, 4)):
            found = chance.choice(CHANGES)(found, seeds, chance)
        yield found


Change = Callable[[bytes, Sequence[bytes], random.Random], bytes]


def _flip(found: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    changed = bytearray(found)
    if changed:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(found: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    return found[: chance.randint(0, len(found))]


def _insert(found: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randint(0, len(found))
    return found[:at] + chance.choice(PIECES) + found[at:]


def _overwrite(found: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    at, piece = chance.randint(0, len(found)), chance.choice(PIECES)
    return found[:at] + piece + found[at + len(piece) :]


def _repeat(found: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    begin = chance.randint(0, len(found))
    end = chance.randint(begin, min(len(found), begin + 40))
    return found[:end] + found[begin:end] * chance.choice((1, 2, 50)) + found[end:]


def _splice(found: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(seeds)
    return found[: chance.randint(0, len(found))] + other[chance.randint(0, len(other)) :]


def _exchange(found: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """One value of a JSON or MessagePack document is another kind of value."""
    for decode, encode in (
        (msgspec.json.decode, msgspec.json.encode),
        (msgspec.msgpack.decode, msgspec.msgpack.encode),
    ):
        try:
            return encode(_exchanged(decode(found), chance))
        except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, TypeError):
            continue
    return found


def _exchanged(document: Any, chance: random.Random) -> Any:
    if not isinstance(document, list | dict) or not document or chance.random() < 0.15:
        return chance.choice(JUNK)
    if isinstance(document, list):
        at = chance.randrange(len(document))
        return [*document[:at], _exchanged(document[at], chance), *document[at + 1 :]]
    key = chance.choice(list(document))
    if chance.random() < 0.15:
        return {name: value for name, value in document.items() if name != key}
    return {**document, key: _exchanged(document[key], chance)}


CHANGES: tuple[Change, ...] = (_flip, _cut, _insert, _overwrite, _repeat, _splice, _exchange, _exchange, _exchange)
