"""Recordings: event streams kept as JSON lines, plain or gzip, in the format that applications publish.

A recorded stream is a folder with `uploads.jsonl[.gz]` and `engagements.jsonl[.gz]`, each in time order.

Invariant: a line is passed on as the bytes that it was (see `line_files`); a recording that lacks a part or a time says
which.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from store.records.foreign import UNREADABLE
from store.topics import ENGAGEMENTS, UPLOADS
from stream.client.line_files import RecordingError, read_lines


class _Uploaded(msgspec.Struct):
    at: float = msgspec.field(name="uploaded_at")


class _Occurred(msgspec.Struct):
    at: float = msgspec.field(name="occurred_at")


class Recorded(NamedTuple):
    """One event of a recorded stream with its time (epoch seconds)."""

    at: float
    topic: str
    value: bytes


def read_stream(folder: Path) -> Iterator[Recorded]:
    """All events of a recorded stream in time order, an upload before an engagement of the same time."""
    parts = [
        _timed(_find(folder, "uploads"), UPLOADS, _Uploaded),
        _timed(_find(folder, "engagements"), ENGAGEMENTS, _Occurred),
    ]
    return heapq.merge(*parts, key=lambda event: event.at)


def paced(speed: float | None, clock: Callable[[], float] = time.monotonic) -> Callable[[float], float]:
    """A function from an event's time to how long to wait before it, seconds; 0 always when `speed` is None.

    At `speed` 60 a minute of the stream passes in a second.
    """
    start: tuple[float, float] | None = None

    def wait_s(at: float) -> float:
        nonlocal start
        if speed is None:
            return 0.0
        if start is None:
            start = (clock(), at)
        return max(0.0, start[0] + (at - start[1]) / speed - clock())

    return wait_s


def _find(folder: Path, name: str) -> Path:
    for file in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if file.is_file():
            return file
    raise RecordingError(f"{folder} has no {name}.jsonl or {name}.jsonl.gz: give the folder of a recorded stream")


def _timed(file: Path, topic: str, timed: type[_Uploaded | _Occurred]) -> Iterator[Recorded]:
    decode = msgspec.json.Decoder(timed).decode
    for line in read_lines(file):
        try:
            at = decode(line.value).at
        except UNREADABLE as error:
            raise RecordingError(f"{file} line {line.number}: {line.fault or error}") from None
        yield Recorded(at, topic, line.value)
