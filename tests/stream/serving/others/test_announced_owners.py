"""Which worker has which partition."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from store.keys import partition_of
from store.records.foreign import ForeignRecordError
from store.rows import Position
from stream.kafka.state_topics import GENERATION, Announcement, encode_announcement
from stream.serving.others.announced_owners import AnnouncedOwners
from tests.stream.serving.test_scorer import Told


def test_the_last_announcement_counts_and_owners_here_hear_of_it() -> None:
    told: list[object] = []
    owners = AnnouncedOwners(2, Told(told))
    number = partition_of("u", 2)
    assert owners.of("u") is None
    for generation, url in ((3, "http://a"), (2, "http://b"), (4, "")):
        value = encode_announcement(Announcement(Position(), url, number))
        owners.on_position(
            SimpleNamespace(value=value, partition=number, headers=[(GENERATION, str(generation).encode())])
        )
    assert owners.of("u") == "http://b"
    assert told == [(number, 3), (number, 2)]
    with pytest.raises(ForeignRecordError):
        owners.on_position(SimpleNamespace(value=b"x", partition=0, headers=[(GENERATION, b"1")]))
