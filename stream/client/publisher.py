"""Publisher: how applications put events on the log.

Engagements of one partition are gathered into frames (one Kafka record of many events) until a frame is full or old
enough. Uploads and profiles live in compacted topics, where a record stands for its key: they go one per record.

Invariants: every accepted event belongs to exactly one `Delivery`, which ends acknowledged, failed or, with a spill,
spilled, within `delivery_timeout_s` of leaving its frame, however long the broker is away; an event lies in the
partition of its key (murmur2, as any Kafka client would place it); no more than `max_buffered_bytes` are held, events
that failed included until the Kafka client lets go of them: beyond it `publish` waits, and raises when waiting does not
help.

Failed means: not known to be on the log. What was on its way when its time ended may still arrive; publishing it again
is harmless: of uploads and profiles the newest counts, an engagement counts once by its `event_id`. The workers know
the ids of each user's last 128 engagements (`store.history_length`), as long as the user's row is kept
(`store.user_days`): one that is published again after so many others counts twice. So retry soon.

Spilled means: on the disk, forced to it, in the folder `spill`; not on the log yet. It is sent, in the order of its
user, when a broker answers: by this publisher, or by the next one with that folder (one at a time). It may come twice,
from the client that was given up or because the process ended before it was taken out: as harmless as above.

Errors, all subclasses of what they are to Python::

    InvalidEventError(ValueError)          the event is wrong; nothing was sent
    BrokerUnavailableError(ConnectionError) no broker answers
    PublishTimeoutError(TimeoutError)      the buffer stayed full, or a flush did not end in time
    DeliveryError(RuntimeError)            the broker did not take a record, and the spill has no room for it
    SpillError(RuntimeError)               the spill folder is held by another, damaged, or no spill
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec
from kafka.codec import has_gzip, has_lz4, has_snappy, has_zstd

from store.keys import partition_of
from store.records.frames import frame
from store.settings import Settings, load_settings
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS, EventTopic
from stream.client.admission import Event, admit, admit_key
from stream.client.sending import Sending
from stream.client.spilling.spill import Spill
from stream.client.spilling.spilled_sending import SpilledSending
from stream.kafka.deliveries import Delivery, DeliveryError, Framing, Patience, PublishTimeoutError
from stream.kafka.emitter_lane import Header
from stream.tracing.publishing import Caller, PublishTraces

LOOK_S = 0.1
"""How often deliveries are looked at that are not acknowledged."""

_CODECS: Mapping[str, Callable[[], bool]] = {"gzip": has_gzip, "snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}

_FRAME_BYTES = len(frame([]))


class _OpenFrame:
    """Events of one partition that wait for company."""

    __slots__ = ("caller", "delivery", "events", "headers", "key", "opened_at", "size")

    def __init__(self, delivery: Delivery, key: bytes, caller: Caller, headers: Sequence[Header]) -> None:
        self.delivery = delivery
        self.key = key
        self.caller = caller
        self.headers = headers
        self.events: list[bytes] = []
        self.size = _FRAME_BYTES
        self.opened_at = time.monotonic()


class Publisher:
    """Publishes events; safe to share between threads.

    `delivery_timeout_s`: so long a record may be on its way; then it has failed, and `flush` and `close` say so. During
    an outage what is published goes on failing at that age, until the broker is back; then it is taken again, with
    nothing to be done. `max_buffered_bytes`: so much may wait for the broker; then `publish` waits up to `block_s`, and
    raises. `framing` None sends every event in its own record. `on_delivery` is called with each finished `Delivery`,
    from a sending thread: keep it short. Times in seconds, sizes in bytes.

    `spill`: a folder for what the brokers do not take in its time, instead of failing, up to `spill_limit_bytes`. With
    one that was used before, no broker need answer at the start. While it is written to, `publish` does not wait for
    the brokers; a full buffer is written there, too, after `block_s`.
    """

    def __init__(
        self,
        bootstrap_servers: str | None = None,
        *,
        settings: Settings | None = None,
        framing: Framing | None = Framing(),
        compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None,
        max_buffered_bytes: int = 32 << 20,
        block_s: float = 30.0,
        delivery_timeout_s: float = 30.0,
        connect_timeout_s: float | None = None,
        spill: Path | str | None = None,
        spill_limit_bytes: int = 1 << 30,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> None:
        settings = settings or load_settings()
        given = {"bootstrap_servers": bootstrap_servers, "connect_timeout_s": connect_timeout_s}
        kafka = msgspec.structs.replace(settings.kafka, **{key: x for key, x in given.items() if x is not None})
        settings = msgspec.structs.replace(settings, kafka=kafka)
        if delivery_timeout_s <= 0:
            raise ValueError(f"delivery_timeout_s = {delivery_timeout_s:g}: give the seconds that a record may take")
        if compression is not None and not _CODECS[compression]():
            raise ValueError(f"compression {compression}: its library is not installed; use gzip, or None")
        self._settings = settings
        self._framing = framing
        self._frame_bytes = min(framing.max_bytes if framing else 0, settings.kafka.max_record_bytes)
        self._delivery_timeout_s = delivery_timeout_s
        self._limits = settings.event_limits()
        self._open: dict[tuple[str, int], _OpenFrame] = {}
        self._closed = False
        self._ended = threading.Event()
        self._traces = PublishTraces(settings.tracing, on_delivery)
        patience = Patience(delivery_timeout_s, max_buffered_bytes, block_s)
        how: Any = {"compression": compression, "on_delivery": self._traces.ended}
        try:
            if spill is None:
                self._sending = Sending(settings, patience, **how)
            else:
                self._sending = SpilledSending(settings, patience, Spill(Path(spill), spill_limit_bytes), **how)
        except BaseException:
            self._traces.stop()
            raise
        self._lock, self._begun = self._sending.lock, self._sending.begun
        self._watcher = threading.Thread(target=self._watch, name="sidestream-publisher", daemon=True)
        self._watcher.start()

    @property
    def acknowledged(self) -> int:
        """Events that the broker has."""
        return self._sending.outstanding.acknowledged

    @property
    def failed(self) -> int:
        """Events that the broker did not take, and no spill has."""
        return self._sending.outstanding.failed

    @property
    def spilled(self) -> int:
        """Events of which the delivery ended in the spill, whether they were sent from there since or not."""
        return self._sending.outstanding.spilled

    @property
    def waiting(self) -> int:
        """Events that are in the spill now, those of earlier processes included."""
        return self._sending.waiting

    @property
    def buffered_bytes(self) -> int:
        """What is held now."""
        return self._sending.buffered

    # What applications say.

    def upload(self, event: Event) -> Delivery:
        """Publishes an item, new or edited."""
        return self.publish(UPLOADS, event)

    def engagement(self, event: Event) -> Delivery:
        """Publishes one act of a user on an item. Publishing the same `event_id` again is harmless while it is among
        those of the user's last 128 engagements (`store.history_length`); later it counts again."""
        return self.publish(ENGAGEMENTS, event)

    def profile(self, event: Event) -> Delivery:
        """Publishes what is known of a user."""
        return self.publish(PROFILES, event)

    def take_down(self, item_id: str) -> Delivery:
        """The item is never recommended again from now on."""
        return self.send(UPLOADS, admit_key(UPLOADS, item_id), None)

    def forget(self, user_id: str) -> Delivery:
        """Profile, history and vector of the user go, everywhere; the next training run no longer sees the events."""
        return self.send(PROFILES, admit_key(PROFILES, user_id), None)

    def publish(self, topic: EventTopic, event: Event) -> Delivery:
        """Checks one event and sends it. Raises `InvalidEventError` when it is wrong, and see `send`."""
        key, value = admit(topic, event, self._limits)
        if topic == ENGAGEMENTS and self._framing is not None and len(value) + _FRAME_BYTES <= self._frame_bytes:
            return self._gather(topic, key, value)
        return self.send(topic, key, value)

    def send(self, topic: str, key: str, value: bytes | None) -> Delivery:
        """Sends one record as it is, unchecked; None is a tombstone.

        Raises `PublishTimeoutError` when the buffer stays full, `BrokerUnavailableError` and `TopicsError` when there
        is nowhere to send.
        """
        partition = partition_of(key, self._sending.partitions(topic))
        delivery = Delivery(self._settings.topic(topic), partition)
        delivery.events = 1
        size = len(value or b"")
        with self._lock:
            self._reserve(size)
            headers = self._traces.begin(topic, delivery, self._traces.caller())
            self._sending.hand_over(delivery, key.encode(), value, size, headers)
        return delivery

    def flush(self, timeout_s: float | None = None) -> None:
        """Returns when everything published so far is acknowledged or spilled; None waits until each record's time is
        over. With a spill, and while a broker answers, it also waits until what lies there is sent, for so long.

        Raises `DeliveryError` if any record failed since the last flush, `PublishTimeoutError` at the end of the time.
        """
        self._close_frames(time.monotonic() + 1.0)
        self._sending.flush(self._delivery_timeout_s + 5.0 if timeout_s is None else timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Flushes and disconnects. Raises what `flush` raises; it is closed even so, and every delivery has ended."""
        if self._closed:
            return
        try:
            self.flush(timeout_s)
        finally:
            with self._lock:
                self._closed = True
                self._begun.notify_all()
            self._ended.set()
            self._watcher.join()
            self._sending.close()
            self._traces.stop()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except (DeliveryError, PublishTimeoutError) as failed:
            error.add_note(f"and while the publisher was closed: {failed}")  # the first cause is what must be seen

    # How it happens.

    def _gather(self, topic: str, key: str, value: bytes) -> Delivery:
        assert self._framing is not None
        partition = partition_of(key, self._sending.partitions(topic))
        with self._lock:
            self._reserve(len(value))
            held, caller = self._open.get((topic, partition)), self._traces.caller()
            if held is not None and (held.caller != caller or held.size + len(value) + 1 > self._frame_bytes):
                self._send_frame(self._open.pop((topic, partition)))
                held = None
            if held is None:
                delivery = Delivery(self._settings.topic(topic), partition)
                held = _OpenFrame(delivery, key.encode(), caller, self._traces.begin(topic, delivery, caller))
                self._open[topic, partition] = held
                if len(self._open) == 1:
                    self._begun.notify_all()
            held.events.append(value)
            held.size += len(value) + 1
            held.delivery.events += 1
            if len(held.events) >= self._framing.events:
                self._send_frame(self._open.pop((topic, partition)))
        return held.delivery

    def _send_frame(self, held: _OpenFrame) -> None:
        size = sum(map(len, held.events))
        self._sending.hand_over(held.delivery, held.key, frame(held.events), size, held.headers)

    def _reserve(self, size: int) -> None:
        if self._closed:
            raise RuntimeError("the publisher is closed: make a new one")
        self._sending.reserve(size)

    def _watch(self) -> None:
        """Closes frames that have waited long enough and fails deliveries whose time is over, until the end."""
        linger_s = self._framing.linger_s if self._framing is not None else 0.0
        while not self._ended.is_set():
            with self._lock:
                if not (self._open or self._sending.outstanding or self._closed):
                    self._begun.wait()
                pause_s = min(linger_s / 2, LOOK_S) if self._open else LOOK_S
            self._ended.wait(pause_s)
            self._close_frames(time.monotonic() - linger_s)
            self._sending.end_overdue()

    def _close_frames(self, opened_before: float) -> None:
        with self._lock:
            for place in [place for place, held in self._open.items() if held.opened_at <= opened_before]:
                self._send_frame(self._open.pop(place))
