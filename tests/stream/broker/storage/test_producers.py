"""Idempotent producers: repetitions are stored once, gaps are refused, and a restart changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.broker.errors import Code, RefusedError
from stream.broker.storage.configs import TopicConfig
from stream.broker.storage.logs import Log
from stream.broker.storage.producers import ProducerIds
from tests.stream.broker.batches import batch

NOW_MS = 1_000_000


def opened(folder: Path, **configs: str) -> Log:
    return Log(folder, TopicConfig({name.replace("_", "."): value for name, value in configs.items()}, {}), NOW_MS)


def send(log: Log, sequence: int, count: int = 1, epoch: int = 0, producer_id: int = 7) -> int:
    rows = [(b"k", b"%d" % (sequence + number)) for number in range(count)]
    return log.append(batch(rows, producer=(producer_id, epoch, sequence)), NOW_MS)[0]


def refusal(log: Log, sequence: int, epoch: int = 0) -> Code:
    with pytest.raises(RefusedError) as refused:
        send(log, sequence, epoch=epoch)
    return refused.value.code


def test_a_repeated_batch_is_acknowledged_and_not_stored(tmp_path: Path) -> None:
    log = opened(tmp_path)
    offsets = [send(log, sequence, 3) for sequence in (0, 3, 6, 9, 12)]
    assert offsets == [0, 3, 6, 9, 12]
    assert [send(log, sequence, 3) for sequence in (0, 3, 6, 9, 12)] == offsets
    assert log.end == 15


def test_a_gap_an_old_number_and_an_old_epoch_are_refused(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for sequence in range(8):
        send(log, sequence)
    assert refusal(log, 9) is Code.OUT_OF_ORDER_SEQUENCE
    assert refusal(log, 1) is Code.OUT_OF_ORDER_SEQUENCE  # longer ago than is remembered
    assert refusal(log, 5, epoch=1) is Code.OUT_OF_ORDER_SEQUENCE
    send(log, 0, epoch=1)
    assert refusal(log, 8) is Code.INVALID_PRODUCER_EPOCH
    assert log.end == 9


def test_sequence_numbers_wrap_around(tmp_path: Path) -> None:
    log = opened(tmp_path)
    send(log, 2**31 - 2, 2)
    assert send(log, 0) == 2
    assert send(log, 2**31 - 2, 2) == 0


@settings(max_examples=40, deadline=None)
@given(
    acts=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["send", "repeat", "crash", "close"])), max_size=25),
    segment_bytes=st.sampled_from(["100", "400", "100000"]),
)
def test_no_batch_is_stored_twice_through_rolls_and_restarts(
    acts: list[tuple[int, str]], segment_bytes: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = opened(folder, segment_bytes=segment_bytes)
    sent: list[list[int]] = [[], [], []]
    for producer_id, act in acts:
        offsets = sent[producer_id]
        if act == "send":
            offsets.append(send(log, len(offsets), producer_id=producer_id))
        elif act == "repeat" and offsets:
            assert send(log, len(offsets) - 1, producer_id=producer_id) == offsets[-1]
        elif act in ("crash", "close"):
            if act == "close":
                log.close(NOW_MS)
            for segment in log.segments:
                segment.close()
            log = opened(folder, segment_bytes=segment_bytes)
    assert log.end == sum(map(len, sent))
    for segment in log.segments:
        segment.close()


def test_a_producer_that_was_silent_for_a_day_is_forgotten_at_the_next_roll(tmp_path: Path) -> None:
    log = opened(tmp_path)
    send(log, 0)
    log.roll(NOW_MS + 25 * 3600 * 1000)
    assert send(log, 40) == 1


def test_producer_ids_are_never_given_twice(tmp_path: Path) -> None:
    given_out = []
    for _ in range(3):
        ids = ProducerIds(tmp_path / "ids")
        given_out += [ids.new() for _ in range(1500)]
    assert len(set(given_out)) == len(given_out)
