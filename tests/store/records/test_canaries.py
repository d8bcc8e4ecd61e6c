"""Canaries: no reader of events finds one, each partition has one id, and what looks like one is none."""

from __future__ import annotations

import pytest

from store.envelopes.newest_events import uploads
from store.events import Engagement, Refusal, Upload, decode_engagements, decode_uploads, tombstone_id
from store.keys import partition_of
from store.log import LogRecord, engagements
from store.records.canaries import canary_id, canary_in, engagement_canary, upload_canary

PARTITIONS = 5
NOW = 1000.0


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_each_partition_has_one_id_that_lies_in_it(partition: int) -> None:
    assert partition_of(canary_id(partition, PARTITIONS), PARTITIONS) == partition
    assert len({canary_id(each, PARTITIONS) for each in range(PARTITIONS)}) == PARTITIONS


def test_whoever_reads_events_finds_none() -> None:
    """So a trainer, a replay and a worker of an earlier release pass canaries over, and refuse nothing."""
    uploaded, engaged = upload_canary(3, PARTITIONS, NOW), engagement_canary(3, PARTITIONS, NOW)
    for decoded in (decode_uploads(uploaded, now=NOW), decode_engagements(engaged, now=NOW)):
        assert (decoded.events, decoded.refusals, decoded.dropped) == ([], [], [])
    assert uploads([LogRecord(3, 0, 1, b"k", uploaded)], now=NOW) == {}
    assert list(engagements([LogRecord(3, 0, 1, b"k", engaged)], now=NOW)) == []


def test_a_canary_is_known_in_its_own_partition_only() -> None:
    uploaded, engaged = upload_canary(3, PARTITIONS, NOW), engagement_canary(3, PARTITIONS, NOW)
    own = canary_id(3, PARTITIONS)
    upload, engagement = canary_in(uploaded, Upload, 3, PARTITIONS), canary_in(engaged, Engagement, 3, PARTITIONS)
    assert upload is not None
    assert (upload.item_id, upload.uploaded_at) == (own, NOW)
    assert engagement is not None
    assert (engagement.user_id, engagement.item_id, engagement.occurred_at) == (own, own, NOW)
    assert canary_in(uploaded, Upload, 2, PARTITIONS) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b'{"events":[]}',
        b'{"events":[],"canary":',
        b'{"events":[],"canary":{}}',
        b'{"events":[],"canary":{"item_id":"i1","uploaded_at":1}}',
        b'{"events":[],"canary":' + b"[" * 5000,
    ],
)
def test_what_looks_like_a_canary_is_none(value: bytes) -> None:
    assert canary_in(value, Upload, 3, PARTITIONS) is None


def test_nobody_takes_a_canary_down() -> None:
    refused = tombstone_id(canary_id(0, PARTITIONS).encode())
    assert isinstance(refused, Refusal)
    assert refused.reason == "reserved_id"
