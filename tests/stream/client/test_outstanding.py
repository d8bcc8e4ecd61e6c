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
