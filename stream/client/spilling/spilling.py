"""Spilling: writes to the spill what the brokers did not take in time, and sends it again when one answers.

One thread does both. What is handed to it is written together, forced to the disk, and only then told as spilled. Of
each partition the oldest records that lie there are sent, a chunk at a time; what is acknowledged is taken out.

Invariant: while the spill holds records of a partition (`holds`), they are the oldest of it that are not on the log, in
the order of their publication; the publisher puts later ones behind them. A record that was acknowledged is sent again
only if the process ends before it is taken out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from kafka.errors import InvalidRecordError, KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError

from store.files.crash_points import reached
from store.headers import CAME_AT, numbered
from store.reporting.outages import Outage
from stream.client.spilling.broker_clock import BrokerClock
from stream.client.spilling.fresh_producer import FreshProducer
from stream.client.spilling.spill import Kept, Place, Spill, Spilled, SpillError, SpillFullError
from stream.kafka.deliveries import Delivery, is_away

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""How often it is looked whether what was sent is overdue, and whether a broker answers again."""
CHUNK, CHUNK_BYTES = 500, 1 << 20
"""Of a partition so many records are on their way at most."""
REFUSED_PAUSE_S = 10.0
"""So long a partition waits after a broker refused its records for want of a right, or a topic."""
PATIENCE_S = 300.0
"""A chunk has twice the time of the one before that ran out of it, up to this."""
_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)


class _Lane:
    """One partition: how many records of it are held, those on their way, the number behind which is read next."""

    __slots__ = ("began_at", "held", "passed", "rests_until", "sent")

    def __init__(self, held: int = 0) -> None:
        self.held = held
        self.sent: dict[int, Spilled] = {}
        self.passed = 0
        self.began_at = self.rests_until = 0.0

    def turn_back(self) -> None:
        """What was on its way is sent again, from the oldest on that was not acknowledged."""
        if self.sent:
            self.passed = next(iter(self.sent)) - 1
            self.sent.clear()


class _Answer(NamedTuple):
    """What a client said of a record that it was given."""

    client: Any
    place: Place
    number: int
    error: Exception | None


class Spilling:
    """`ended(delivery, error)` is called, from its thread, when a delivery is on the disk, or could not be put
    there; `refused(error)` for a record that no broker will take; `give_up(client, why)` when what was sent is overdue.
    `answer_s`: the time that a chunk has at first."""

    def __init__(
        self,
        spill: Spill,
        producer: FreshProducer,
        *,
        answer_s: float,
        clock: BrokerClock,
        ended: Callable[[Delivery, Exception | None], None],
        refused: Callable[[Exception], None],
        give_up: Callable[[Any, str], None],
    ) -> None:
        self._spill = spill
        self._producer = producer
        self._clock = clock
        self._ended, self._refused, self._give_up = ended, refused, give_up
        self._answer_s = self._patience_s = answer_s
        self._news = threading.Condition()
        self._taken: list[tuple[Delivery, Spilled]] = []
        self._answers: list[_Answer] = []
        self._lanes = {place: _Lane(records) for place, records in spill.held.items()}
        self._client: Any = None
        self._gone: list[int] = []  # acknowledged, to be taken out
        self._skipped: set[int] = set()  # in the file, and not to be sent again: gone, or refused
        self._stuck = Outage(
            log, f"the spill {spill.file} does not get on", "what lies there stays, and is tried again"
        )
        self._closing = False
        self.waiting = spill.events  # events that are here
        self._thread = threading.Thread(target=self._run, name="sidestream-spill", daemon=True)
        self._thread.start()

    def holds(self, place: Place) -> bool:
        """Whether records of this partition are here: later ones go behind them."""
        with self._news:
            return place in self._lanes

    def take(self, delivery: Delivery, record: Spilled) -> None:
        """A record to be written, behind those that were taken before."""
        with self._news:
            self._lanes.setdefault(record.place, _Lane()).held += 1
            self._taken.append((delivery, record))
            self.waiting += record.events
            self._news.notify_all()

    def wait_while_sent(self, deadline: float) -> None:
        """Returns when nothing is here any more, or no broker is connected to which it could go, or at the deadline
        (monotonic seconds)."""
        with self._news:
            while self._lanes and self._producer.client is not None and (left_s := deadline - time.monotonic()) > 0:
                self._news.wait(min(left_s, LOOK_S))

    def close(self) -> None:
        """Writes what was taken, hears what was answered, and lets go of the folder. The producer is closed before."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join()
        self._spill.close()

    def _run(self) -> None:
        while True:
            with self._news:
                pause_s = LOOK_S if self._lanes else None
                self._news.wait_for(lambda: self._taken or self._answers or self._closing, pause_s)
                taken, self._taken = self._taken, []
                answers, self._answers = self._answers, []
                closing = self._closing
            for answer in answers:
                self._hear(answer)
            self._take_out()
            self._write(taken)
            if closing and not taken:
                return
            if not closing:
                self._send()

    # What is written.

    def _write(self, taken: list[tuple[Delivery, Spilled]]) -> None:
        if not taken:
            return
        fitting = 0
        failed: Exception | None = None
        try:
            fitting = self._spill.append([record for _, record in taken])
            failed = self._spill.full()
            reached("spill_forced")
        except Exception as error:  # whatever it is: the deliveries must end
            failed = error
        for index, (delivery, record) in enumerate(taken):
            if index >= fitting:
                self._drop(record)
            self._ended(delivery, failed if index >= fitting else None)

    def _drop(self, record: Spilled) -> None:
        """It is waited for no more."""
        with self._news:
            lane = self._lanes[record.place]
            lane.held -= 1
            self.waiting -= record.events
            if not lane.held:
                del self._lanes[record.place]
            self._news.notify_all()

    def _take_out(self) -> None:
        if not self._gone:
            return
        reached("spill_answered")
        try:
            self._spill.remove(self._gone)
        except SpillFullError as full:
            self._stuck.met(full)
            return
        self._stuck.over()
        self._skipped.difference_update(self._gone)
        self._gone = []

    # What is sent.

    def _send(self) -> None:
        client = self._producer.client
        if client is not self._client:
            self._turn_back()
            self._client = client
        if client is None:
            return
        with self._news:
            lanes = list(self._lanes.items())
        now = time.monotonic()
        if any(lane.sent and now - lane.began_at > self._patience_s for _, lane in lanes):
            self._start_over(f"nothing acknowledged within {self._patience_s:g} s")
            self._patience_s = max(self._answer_s, min(2 * self._patience_s, PATIENCE_S))
            return
        for place, lane in lanes:
            if not lane.sent and now >= lane.rests_until:
                try:
                    self._send_chunk(client, place, lane)
                except SpillError as error:
                    self._rest(lane, error)

    def _send_chunk(self, client: Any, place: Place, lane: _Lane) -> None:
        chunk = self._spill.read(place, lane.passed, CHUNK, CHUNK_BYTES)
        lane.began_at = time.monotonic()
        for kept in chunk:
            lane.passed = kept.number
            if kept.number in self._skipped:
                continue
            if not kept.intact:
                self._refuse(kept, "the disk has changed it")
                continue
            lane.sent[kept.number] = kept.record
        for number, record in list(lane.sent.items()):
            answered = partial(self._answered, client, place, number)
            try:
                sent = client.send(
                    record.topic, key=record.key, value=record.value, partition=record.partition,
                    headers=numbered(**{CAME_AT: record.came_at_ms}),
                )  # fmt: skip
            except KafkaTimeoutError as error:  # the topic is not known
                self._rest(lane, error)
                return
            except Exception as error:  # whatever it is: the record is here, and stays
                self._hear(_Answer(client, place, number, error))
                if number in lane.sent or not lane.sent:
                    return
                continue
            sent.add_callback(partial(self._acknowledged, answered, place))
            sent.add_errback(answered)

    def _acknowledged(self, answered: Callable[[None], None], place: Place, metadata: Any) -> None:
        self._clock.told(place, metadata.timestamp)
        answered(None)

    def _answered(self, client: Any, place: Place, number: int, error: Exception | None) -> None:
        with self._news:
            self._answers.append(_Answer(client, place, number, error))
            self._news.notify_all()

    def _hear(self, answer: _Answer) -> None:
        lane = self._lanes.get(answer.place)
        record = None if lane is None else lane.sent.get(answer.number)
        if lane is None or record is None:
            return  # of a client that was given up
        if answer.error is None:
            self._patience_s = self._answer_s
            lane.sent.pop(answer.number)
            self._gone.append(answer.number)
            self._skipped.add(answer.number)
            self._drop(record)
        elif isinstance(answer.error, _REFUSALS):
            lane.sent.pop(answer.number)
            self._refuse(Kept(answer.number, record, True), str(answer.error))
        elif is_away(answer.error):
            if answer.client is self._client and not self._closing:
                self._start_over(f"{answer.error}")
        else:
            self._rest(lane, answer.error)

    def _rest(self, lane: _Lane, why: Exception) -> None:
        """The partition is refused for now."""
        self._stuck.met(why)
        lane.rests_until = time.monotonic() + REFUSED_PAUSE_S
        lane.turn_back()

    def _refuse(self, kept: Kept, why: str) -> None:
        topic, partition = kept.record.place
        error = ValueError(
            f"{topic} partition {partition}: record {kept.number} of {self._spill.file} cannot be sent ({why}): it "
            "stays there, and the next process tries again"
        )
        log.error("%s", error)
        self._skipped.add(kept.number)
        self._refused(error)
        self._drop(kept.record)

    def _start_over(self, why: str) -> None:
        self._give_up(self._client, why)
        self._client = None
        self._turn_back()

    def _turn_back(self) -> None:
        with self._news:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.turn_back()
