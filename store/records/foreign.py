"""Foreign records: what lies on a topic that sidestream itself writes, and was not written by it.

Anybody with a producer can put anything on any topic: a mistyped topic, a copy tool, a test against the wrong cluster.
Such a record is passed over, counted by topic, and told of with its place. A value that can be decoded may still be
none of ours: an offset or a time that no log can have would put the position, or the clock, out of reach for good.

Invariant: a foreign record changes nothing and stops nothing; none is passed over uncounted.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec

from store.keys import partition_of

log = logging.getLogger(__name__)

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that decoding hostile bytes raises."""

OFFSETS_END: Final = 1 << 48
"""No partition has as many records: a million a second for nine years."""
TIMES_END_S: Final = 1e10
"""The year 2286: a later time is in milliseconds, or no time."""

Offset = Annotated[int, msgspec.Meta(ge=-1, lt=OFFSETS_END)]
"""An offset, or a count of records; -1 stands for none. These types are checked where a record is decoded: a check of
its own for every number of every row costs more than all else that happens to the row."""
Moment = Annotated[float, msgspec.Meta(lt=TIMES_END_S)]
"""A time (epoch seconds), never NaN. What applications say happened may lie as far back as they like."""
Second = Annotated[int, msgspec.Meta(ge=0, lt=int(TIMES_END_S))]
"""A whole second since the epoch (0: not known)."""
Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Weight = Annotated[float, msgspec.Meta(ge=0.0, le=sys.float_info.max)]
"""A finite number, at least 0."""
TOLD_A_MINUTE: Final = 20
"""Lines of the log for each topic: a copy tool that has gone astray writes thousands."""


class ForeignRecordError(ValueError):
    """A record is not what its topic holds: find who writes to the topic. It is passed over."""


def is_offset(*numbers: int) -> bool:
    """Whether each may be an offset, or a count of records; -1 stands for none."""
    return all(-1 <= number < OFFSETS_END for number in numbers)


def is_time(*moments_s: float) -> bool:
    """Whether each may be a time (epoch seconds). What applications say happened may lie as far back as they like."""
    return all(moment_s < TIMES_END_S for moment_s in moments_s)  # never true of NaN


def is_time_ms(moment_ms: int) -> bool:
    """Whether it may be a time (epoch milliseconds). JSON holds whole numbers that no division by 1000 takes."""
    return moment_ms < TIMES_END_S * 1000


class Checked(Protocol):
    """What a record's value may hold. `fault`: why none of ours can have written this; empty if one can."""

    def fault(self) -> str: ...


Held = TypeVar("Held", bound=Checked)


def held_in(value: bytes, decode: Callable[[bytes], Held], what: str) -> Held:
    """What a value holds; `what` names it. Raises `ForeignRecordError`."""
    try:
        held = decode(value)
    except UNREADABLE as error:
        raise ForeignRecordError(f"no {what}: {error}") from None
    if fault := held.fault():
        raise ForeignRecordError(f"no {what}: {fault}")
    return held


def id_in(key: bytes | None) -> str:
    """The id that is the key of a record. Raises `ForeignRecordError`."""
    try:
        found = (key or b"").decode()
    except UnicodeDecodeError as error:
        raise ForeignRecordError(f"its key is no id: {error}") from None
    if not 0 < len(found) <= 256 or found[0] <= " ":
        raise ForeignRecordError("its key is no id: 1 to 256 characters that begin with a printable one")
    return found


def owned_id_in(key: bytes | None, partition: int, partitions: int) -> str:
    """The same, if the record lies in the partition of that id."""
    found = id_in(key)
    if partition_of(found, partitions) != partition:
        raise ForeignRecordError(f"key {found!r} belongs to partition {partition_of(found, partitions)}")
    return found


@dataclass(slots=True)
class _Minute:
    """What a topic was told of since `began`: so many lines, and so many records beyond."""

    began: float
    told: int = 0
    untold: int = 0


class ForeignRecords:
    """Counts foreign records by topic and tells of them. `counted` is called with the topic, without its prefix."""

    def __init__(
        self, counted: Callable[[str], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counted = counted
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}

    def met(self, topic: str, record: Any, why: object) -> None:
        """A record of `topic` (named without its prefix) is passed over; it has a partition and an offset."""
        self._counted(topic)
        now = self._clock()
        minute = self._minutes.setdefault(topic, _Minute(now))
        if now - minute.began >= 60.0:
            if minute.untold:
                log.warning("%s: %s more foreign records were passed over in a minute", topic, minute.untold)
            minute = self._minutes[topic] = _Minute(now)
        if minute.told < TOLD_A_MINUTE:
            minute.told += 1
            where = f"{topic}-{record.partition} at offset {record.offset}"
            log.warning("foreign record on %s passed over: %s", where, str(why)[:300] or repr(why))
        else:
            minute.untold += 1
