"""Compaction: of each key only the newest value stays; of a removed key, in time, nothing.

Works on closed segments, which nobody changes. The keys of the segments not compacted yet are mapped to their newest
offsets (a bounded map); then every closed segment up to there is rewritten without the records that the map
supersedes, small neighbours merged into one. `plan` does the slow half and may run on a thread; `swap` puts the new
files in place, oldest first, so that a tombstone never disappears before what it removed. A tombstone goes once its
batch is older than delete.retention.ms. Nothing is done to a segment, nor because of it, as long as it has a record
younger than min.compaction.lag.ms. A batch whose codec is not installed is kept whole.
"""

from __future__ import annotations

import shutil
from hashlib import blake2b
from itertools import takewhile

from store.files.crash_points import reached
from stream.broker.storage.batches import Batch, BatchRecord, header_at, payload_of, records, thinned
from stream.broker.storage.logs import Log
from stream.broker.storage.segments import Segment

_MOST_KEYS = 2_000_000  # about 300 MB of map

Plan = list[tuple[list[Segment], Segment]]


def due(log: Log, now_ms: int | None = None) -> bool:
    """True if enough of the closed segments has not been compacted yet (of those old enough at `now_ms`)."""
    closed = log.sealed if now_ms is None else _old_enough(log, now_ms)
    total = sum(segment.size for segment in closed)
    dirty = sum(segment.size for segment in closed if not segment.clean)
    return log.config.compacted and dirty > 0 and dirty >= float(log.config["min.cleanable.dirty.ratio"]) * total


def plan(log: Log, now_ms: int) -> Plan:
    """Writes the compacted segments beside the old ones; which sources each of them replaces."""
    closed = _old_enough(log, now_ms)
    shutil.rmtree(log.compacting, ignore_errors=True)
    newest, mapped_to = _newest_offsets(closed)
    horizon_ms = now_ms - log.config.number("delete.retention.ms")
    out: Plan = []
    for segment in closed:
        if segment.base_offset >= mapped_to:
            break
        if not out or out[-1][1].size + segment.size > log.config.number("segment.bytes"):
            log.compacting.mkdir(exist_ok=True)
            out.append(([], Segment(log.compacting, segment.base_offset)))
        sources, target = out[-1]
        sources.append(segment)
        _copy(segment, target, newest, horizon_ms)
    reached("compaction_planned")
    return out


def swap(log: Log, planned: Plan) -> None:
    """Puts the compacted segments in the place of their sources."""
    for sources, written in planned:
        if any(segment not in log.segments for segment in sources):
            written.remove()  # retention was quicker
            continue
        written.clean = True
        at = log.segments.index(sources[0])
        if written.size:
            written.seal(sources[-1].producers())
            written.close()
            sources[0].disown_index()
            reached("compaction_unsealed")
            written.path.rename(sources[0].path)
            reached("compaction_replaced")
            written.seal_path.rename(sources[0].seal_path)
            written.path, written.seal_path = sources[0].path, sources[0].seal_path
            log.segments[at] = written
            reached("compaction_sealed")
        else:
            sources[0].remove()
            log.segments.pop(at)
        for segment in sources[1:]:
            log.segments.remove(segment)
            segment.remove()


def _old_enough(log: Log, now_ms: int) -> list[Segment]:
    lag_ms = log.config.number("min.compaction.lag.ms")
    closed = log.sealed
    return list(takewhile(lambda segment: segment.max_timestamp <= now_ms - lag_ms, closed)) if lag_ms else closed


def _newest_offsets(closed: list[Segment]) -> tuple[dict[bytes, int], int]:
    """Newest offset by key over the segments not compacted yet, and the offset up to which that holds."""
    newest: dict[bytes, int] = {}
    mapped_to = 0
    for segment in closed:
        if not segment.clean:
            for batch, data in segment.batches():
                payload = payload_of(data, batch)
                for record in records(payload, batch.record_count) if payload is not None else ():
                    newest[_digest(record.key)] = batch.base_offset + record.offset_delta
        mapped_to = segment.end_offset
        if len(newest) >= _MOST_KEYS:
            break
    return newest, mapped_to


def _copy(source: Segment, target: Segment, newest: dict[bytes, int], horizon_ms: int) -> None:
    for batch, data in source.batches():
        payload = payload_of(data, batch)
        if payload is None:
            target.append(data, batch)
            continue
        found = list(records(payload, batch.record_count))
        kept = [record for record in found if _stays(record, batch, newest, horizon_ms)]
        if len(kept) == len(found):
            target.append(data, batch)
        elif kept:
            rewritten = thinned(batch, payload, kept)
            header = header_at(rewritten)
            assert header is not None
            target.append(rewritten, header)


def _stays(record: BatchRecord, batch: Batch, newest: dict[bytes, int], horizon_ms: int) -> bool:
    superseded = newest.get(_digest(record.key), -1) > batch.base_offset + record.offset_delta
    return not superseded and not (record.tombstone and batch.max_timestamp < horizon_ms)


def _digest(key: bytes | None) -> bytes:
    """The key, or 16 bytes that stand for a long one."""
    return key if key is not None and len(key) <= 16 else blake2b(key or b"", digest_size=16).digest()
