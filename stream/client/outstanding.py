"""Outstanding deliveries: what was handed to the Kafka client and has not ended, and what came of the rest.

The Kafka client has a deadline of its own for each record; but while it waits for a producer id, as it does after the
first record that ran out of time, it looks at no deadline, however long the broker is away. So the time is kept here.

Where there is a spill, a delivery whose time is over is set aside: it is the spill's from then on, and ends when it is
on the disk, or does not fit there.

Invariant: a delivery that was opened ends exactly once; what the client says of it after that, or after it was set
aside, changes nothing.
"""

from __future__ import annotations

import time
from itertools import takewhile

from kafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError

from stream.client.spilling.spill import Spilled
from stream.kafka.deliveries import Delivery, DeliveryError, PublishTimeoutError


class Outstanding:
    """Deliveries by their deadline. Not locked: the publisher's lock guards it."""

    def __init__(self, bootstrap_servers: str, delivery_timeout_s: float) -> None:
        self.acknowledged = 0
        self.failed = 0
        self.spilled = 0
        self._servers = bootstrap_servers
        self._timeout_s = delivery_timeout_s
        self._deadlines: dict[Delivery, float] = {}  # the first opened ends first: each has the same time
        self._records: dict[Delivery, Spilled] = {}
        self._aside: set[Delivery] = set()
        self._failures = 0
        self._first_failure: DeliveryError | None = None

    def __len__(self) -> int:
        return len(self._deadlines) + len(self._aside)

    def open(self, delivery: Delivery, record: Spilled | None = None) -> None:
        """The delivery's time begins. `record`: what to give to the spill when it is over."""
        self._deadlines[delivery] = time.monotonic() + self._timeout_s
        if record is not None:
            self._records[delivery] = record

    def open_aside(self, delivery: Delivery) -> None:
        """One that is the spill's from the beginning."""
        self._aside.add(delivery)

    def set_aside(self) -> list[tuple[Delivery, Spilled]]:
        """Everything that the client has, in the order in which it got it: the spill's from now on."""
        moved = [(delivery, self._records.pop(delivery)) for delivery in self._deadlines]
        self._deadlines.clear()
        self._aside.update(delivery for delivery, _ in moved)
        return moved

    @property
    def with_client(self) -> int:
        """How many have neither ended nor been set aside."""
        return len(self._deadlines)

    def is_with_client(self, delivery: Delivery) -> bool:
        """Whether it has neither ended nor been set aside."""
        return delivery in self._deadlines

    def finish(self, delivery: Delivery, offset: int, error: Exception | None) -> bool:
        """Ends a delivery; returns False if it had ended before, or was set aside."""
        if self._deadlines.pop(delivery, None) is None:
            return False
        self._records.pop(delivery, None)
        if error is None:
            self.acknowledged += delivery.events
        else:
            error = self._failed(delivery, self._named(error))
        delivery.finish(offset, error)
        return True

    def finish_aside(self, delivery: Delivery, error: Exception | None) -> None:
        """Ends one that was set aside: spilled, or failed."""
        self._aside.discard(delivery)
        if error is None:
            self.spilled += delivery.events
        else:
            self._failed(delivery, error)
        delivery.finish(-1, error, spilled=error is None)

    def note_failure(self, error: Exception) -> None:
        """Something failed that had ended before: a record of the spill that no broker takes."""
        self._failures += 1
        if self._first_failure is None:
            self._first_failure = DeliveryError(str(error))

    def _failed(self, delivery: Delivery, error: Exception) -> Exception:
        self.failed += delivery.events
        self.note_failure(DeliveryError(f"{delivery.topic} partition {delivery.partition}: {error}"))
        return error

    def overdue(self) -> list[Delivery]:
        """Those whose time is over."""
        now = time.monotonic()
        return [delivery for delivery, _ in takewhile(lambda one: one[1] <= now, self._deadlines.items())]

    def all(self) -> list[Delivery]:
        return [*self._deadlines, *self._aside]

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
