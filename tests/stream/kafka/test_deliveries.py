"""A delivery: unknown until it is finished, then an offset or the reason, for everybody who waits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka.errors import (
    IllegalStateError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumberError,
    TopicAuthorizationFailedError,
)

from stream.kafka.connections import BrokerUnavailableError
from stream.kafka.deliveries import Delivery, DeliveryError, PublishTimeoutError, is_away


def test_one_that_is_under_way_is_neither_taken_nor_failed() -> None:
    delivery = Delivery("uploads", 3)
    assert (delivery.done, delivery.offset, delivery.error) == (False, -1, None)
    assert not delivery.wait(timeout_s=0.01)
    with pytest.raises(PublishTimeoutError, match=r"no acknowledgement from uploads within 0\.01 s"):
        delivery.result(timeout_s=0.01)


def test_all_who_wait_hear_of_its_end() -> None:
    delivery = Delivery("uploads", 3)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(delivery.result, 20.0) for _ in range(3)]
        assert not any(one.done() for one in waiting)
        delivery.finish(17, None)
        assert [one.result(20.0) for one in waiting] == [delivery] * 3
    assert (delivery.done, delivery.wait(), delivery.result().offset) == (True, True, 17)


def test_one_that_failed_says_where_it_was_going_and_why() -> None:
    delivery, cause = Delivery("uploads", 3), OSError("no room")
    delivery.finish(-1, cause)
    assert delivery.done
    with pytest.raises(DeliveryError, match="uploads partition 3: no room") as failed:
        delivery.result()
    assert failed.value.__cause__ is cause


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (KafkaTimeoutError("x"), True),
        (NotLeaderForPartitionError("x"), True),
        (OutOfOrderSequenceNumberError("x"), True),
        (IllegalStateError("it was closed"), True),
        (BrokerUnavailableError("broker:9092"), True),
        (MessageSizeTooLargeError("x"), False),
        (TopicAuthorizationFailedError("x"), False),
        (ValueError("x"), False),
    ],
)
def test_a_broker_that_is_away_is_told_from_one_that_refuses(error: Exception, away: bool) -> None:
    assert is_away(error) is away
