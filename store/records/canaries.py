"""Canaries: records that travel the way of uploads and engagements, and stand for nothing.

On the log a canary is an empty frame, beside it in the field `canary` an upload or an engagement whose ids are
sidestream's own. So whoever reads events finds none in it: trainers, replays, workers of earlier releases,
applications. Each partition has one id, which lies in it by the usual partitioner: of a compacted topic one canary a
partition stays.

Behind `uploads` and `engagements` a canary is what it says in the header `store.headers.CANARY_AT`: when it came.

Invariant: a canary is a function of its partition and its time; no event has an id that one has (`store.events`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import TypeVar

import msgspec

from store.events import Engagement, Upload
from store.keys import RESERVED, partition_of
from store.records.foreign import UNREADABLE

_HEAD = b'{"events":[],"canary":'
TITLE = "A canary of sidestream"

Canary = TypeVar("Canary", Upload, Engagement)


@lru_cache(maxsize=4096)
def canary_id(partition: int, partitions: int) -> str:
    """The id, of user and item, of the canary of one of so many partitions."""
    ids = (f"{RESERVED}{number}" for number in count())
    return next(found for found in ids if partition_of(found, partitions) == partition)


def upload_canary(partition: int, partitions: int, now: float) -> bytes:
    """A value for `uploads`."""
    return _value(Upload(item_id=canary_id(partition, partitions), uploaded_at=now, title=TITLE))


def engagement_canary(partition: int, partitions: int, now: float) -> bytes:
    """A value for `engagements`."""
    own = canary_id(partition, partitions)
    return _value(Engagement(event_id=own, user_id=own, item_id=own, kind="impression", occurred_at=now))


def _value(canary: Upload | Engagement) -> bytes:
    return _HEAD + msgspec.json.encode(canary) + b"}"


def canary_in(value: bytes, kind: type[Canary], partition: int, partitions: int) -> Canary | None:
    """The canary of this partition that a value holds; None for everything else."""
    if not value.startswith(_HEAD):
        return None
    try:
        found = msgspec.json.decode(value[len(_HEAD) : -1], type=kind)
    except UNREADABLE:
        return None
    return found if found.item_id == canary_id(partition, partitions) else None
