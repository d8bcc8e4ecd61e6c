"""Outstanding deliveries: each ends once, at its deadline or before, and failures are told once with their remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import (
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
)

from stream.client.outstanding import Outstanding
from stream.client.spilling.spill import Spilled
from stream.kafka.deliveries import Delivery, DeliveryError, PublishTimeoutError

SERVERS = "broker:9092"


def opened(outstanding: Outstanding, events: int = 1) -> Delivery:
    delivery = Delivery("engagements", 2)
    delivery.events = events
    outstanding.open(delivery)
    return delivery


@given(acts=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20))
def test_every_delivery_ends_once_and_is_counted_by_its_events(acts: list[tuple[int, bool]]) -> None:
    outstanding = Outstanding(SERVERS, 60.0)
    deliveries = [opened(outstanding, number + 1) for number in range(5)]
    first: dict[int, bool] = {}
    for number, fails in acts:
        error = MessageSizeTooLargeError() if fails else None
        assert outstanding.finish(deliveries[number], 7, error) is (number not in first)
        first.setdefault(number, fails)
    assert outstanding.acknowledged == sum(number + 1 for number, failed in first.items() if not failed)
    assert outstanding.failed == sum(number + 1 for number, failed in first.items() if failed)
    assert outstanding.all() == [delivery for number, delivery in enumerate(deliveries) if number not in first]
    assert len(outstanding) == 5 - len(first)
    for number, delivery in enumerate(deliveries):
        assert delivery.done is (number in first)
        assert (delivery.error is not None) is first.get(number, False)


def test_only_those_whose_time_is_over_are_overdue() -> None:
    outstanding = Outstanding(SERVERS, 60.0)
    opened(outstanding)
    assert outstanding.overdue() == []
    late = Outstanding(SERVERS, 0.0)
    first, second, third = (opened(late) for _ in range(3))
    late.finish(second, 0, None)
    assert late.overdue() == [first, third]


def test_failures_are_raised_once_with_their_number_and_the_first_cause() -> None:
    outstanding = Outstanding(SERVERS, 60.0)
    outstanding.raise_failures()
    outstanding.finish(opened(outstanding), -1, MessageSizeTooLargeError("too large"))
    outstanding.finish(opened(outstanding), -1, KafkaTimeoutError("later"))
    with pytest.raises(DeliveryError, match=r"2 records failed; the first: engagements partition 2: .*too large"):
        outstanding.raise_failures()
    outstanding.raise_failures()


@pytest.mark.parametrize("error", [KafkaTimeoutError("x"), NotLeaderForPartitionError("x")])
def test_a_broker_that_was_away_is_one_error_whatever_the_client_calls_it(error: KafkaError) -> None:
    outstanding = Outstanding(SERVERS, 1.5)
    delivery = opened(outstanding)
    outstanding.finish(delivery, -1, error)
    assert isinstance(delivery.error, PublishTimeoutError)
    assert str(delivery.error) == str(outstanding.timeout())
    assert "1.5 s by broker:9092: look at the broker, then publish its events again" in str(delivery.error)


def test_a_connection_that_was_given_up_says_what_to_do() -> None:
    outstanding = Outstanding(SERVERS, 1.5)
    delivery = opened(outstanding)
    outstanding.finish(delivery, -1, IllegalStateError("closed"))
    with pytest.raises(DeliveryError, match="made anew: publish its events again"):
        delivery.result()


def test_what_the_broker_refuses_keeps_its_own_words() -> None:
    outstanding, refused = Outstanding(SERVERS, 1.5), MessageSizeTooLargeError("17 MiB")
    delivery = opened(outstanding)
    outstanding.finish(delivery, -1, refused)
    assert delivery.error is refused


def record() -> Spilled:
    return Spilled("engagements", 2, b"k", b"v", 5, 1)


def test_what_is_set_aside_is_the_spills_whatever_the_client_says_of_it() -> None:
    outstanding = Outstanding(SERVERS, 0.0)
    first, second, third = (Delivery("engagements", 2) for _ in range(3))
    for delivery in (first, second, third):
        delivery.events = 1
        outstanding.open(delivery, record())
    outstanding.finish(second, 0, None)
    assert [delivery for delivery, _ in outstanding.set_aside()] == [first, third]
    assert (len(outstanding), outstanding.with_client, outstanding.overdue()) == (2, 0, [])
    assert not outstanding.finish(first, 7, None)
    assert not first.done
    outstanding.finish_aside(first, None)
    assert (first.done, first.spilled, first.offset, first.error) == (True, True, -1, None)
    assert first.result() is first
    outstanding.finish_aside(third, ValueError("no room: make some"))
    assert (outstanding.acknowledged, outstanding.spilled, outstanding.failed, len(outstanding)) == (1, 1, 1, 0)
    with pytest.raises(DeliveryError, match="1 records failed; the first: engagements partition 2: no room"):
        outstanding.raise_failures()


def test_what_fails_later_is_told_by_the_next_flush_and_counted_once() -> None:
    outstanding = Outstanding(SERVERS, 1.0)
    delivery = Delivery("engagements", 2)
    delivery.events = 3
    outstanding.open_aside(delivery)
    outstanding.finish_aside(delivery, None)
    outstanding.note_failure(ValueError("record 7 cannot be sent"))
    assert (outstanding.spilled, outstanding.failed) == (3, 0)
    with pytest.raises(DeliveryError, match="record 7 cannot be sent"):
        outstanding.raise_failures()
