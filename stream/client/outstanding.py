"""Outstanding deliveries: what was handed to the Kafka client and has not ended, and what came of the rest.

The Kafka client has a deadline of its own for each record; but while it waits for a producer id, as it does after the
first record that ran out of time, it looks at no deadline, however long the broker is away. So the time is kept here.

Invariant: a delivery that was opened ends exactly once; what the client says of it after that changes nothing.
"""

from __future__ import annotations

import time
from itertools import takewhile

from kafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError

from stream.kafka.deliveries import Delivery, DeliveryError, PublishTimeoutError


class Outstanding:
    """Deliveries by their deadline. Not locked: the publisher's lock guards it."""

    def __init__(self, bootstrap_servers: str, delivery_timeout_s: float) -> None:
        self.acknowledged = 0
        self.failed = 0
        self._servers = bootstrap_servers
        self._timeout_s = delivery_timeout_s
        self._deadlines: dict[Delivery, float] = {}  # the first opened ends first: each has the same time
        self._failures = 0
        self._first_failure: DeliveryError | None = None

    def __len__(self) -> int:
        return len(self._deadlines)

    def open(self, delivery: Delivery) -> None:
        """The delivery's time begins."""
        self._deadlines[delivery] = time.monotonic() + self._timeout_s

    def finish(self, delivery: Delivery, offset: int, error: Exception | None) -> bool:
        """Ends a delivery; returns False if it had ended before."""
        if self._deadlines.pop(delivery, None) is None:
            return False
        if error is None:
            self.acknowledged += delivery.events
        else:
            error = self._named(error)
            self.failed += delivery.events
            self._failures += 1
            if self._first_failure is None:
                self._first_failure = DeliveryError(f"{delivery.topic} partition {delivery.partition}: {error}")
        delivery.finish(offset, error)
        return True

    def overdue(self) -> list[Delivery]:
        """Those whose time is over."""
        now = time.monotonic()
        return [delivery for delivery, _ in takewhile(lambda one: one[1] <= now, self._deadlines.items())]

    def all(self) -> list[Delivery]:
        return list(self._deadlines)

    def raise_failures(self) -> None:
        """Raises `DeliveryError` if any has failed since this was last asked."""
        count, first = self._failures, self._first_failure
        self._failures, self._first_failure = 0, None
        if first is not None:
            raise DeliveryError(f"{count} records failed; the first: {first}") from first

    def timeout(self) -> PublishTimeoutError:
        """What is wrong with a delivery whose time is over."""
        return PublishTimeoutError(
            f"not acknowledged within {self._timeout_s:g} s by {self._servers}: look at the broker, then publish its "
            "events again"
        )

    def _named(self, error: Exception) -> Exception:
        """The error with its remedy: that a broker was away is said by the client in many ways."""
        if isinstance(error, IllegalStateError):  # it was closed with the record in hand
            return PublishTimeoutError(
                f"given up with the connection to {self._servers}, which was made anew: publish its events again"
            )
        away = isinstance(error, KafkaTimeoutError) or (isinstance(error, KafkaError) and error.retriable)
        return self.timeout() if away else error
