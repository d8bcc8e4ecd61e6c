"""A publisher through a long outage: what becomes of each event, and what the publisher holds meanwhile.

    python -m bench.outage --seconds 600 --fault pause --spill

Events are published steadily, before, while and after the broker is away (killed, or paused as by SIGSTOP). Told are
how their deliveries ended, the longest time one took to end, the resident memory of the publisher's process in the
outage, and what a consumer finds: which are lost (not on the log, though acknowledged or spilled), twice there, or out
of their user's order.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sidestream import Publisher
from stream.kafka.deliveries import Delivery, DeliveryError, PublishTimeoutError
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream.log import events_of, read_topic, settings_on

USERS = 97
AFTER_S = 10.0
"""It is published for so long before and after the outage."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen; `held` is the growth of the resident memory from a tenth of the outage to its end, MiB."""

    published: int
    refused: int
    acknowledged: int
    spilled: int
    failed: int
    slowest_s: float
    held_mib: float
    peak_mib: float
    spill_mib: float
    drained_s: float
    lost: int
    doubled: int
    out_of_order: int


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class _Ledger:
    """How each event ended, a byte for each, and the longest time that one took; what has ended is not kept."""

    def __init__(self) -> None:
        self.ends = bytearray()
        self.slowest_s = 0.0
        self._pending: dict[Delivery, list[tuple[int, float]]] = {}
        self._lock = threading.Lock()

    def published(self, number: int, delivery: Delivery) -> None:
        """The event is part of the delivery, which may have ended before this is told."""
        with self._lock:
            self.ends.extend(b"?" * (number + 1 - len(self.ends)))
            if delivery.done:
                self._note(number, delivery)
            else:
                self._pending.setdefault(delivery, []).append((number, time.monotonic()))

    def ended(self, delivery: Delivery) -> None:
        with self._lock:
            for number, since in self._pending.pop(delivery, ()):
                self.slowest_s = max(self.slowest_s, time.monotonic() - since)
                self._note(number, delivery)

    def kept(self) -> set[str]:
        """Events that are on the log, or are to be there."""
        return {f"e{number}" for number, end in enumerate(self.ends) if end in b"as"}

    def _note(self, number: int, delivery: Delivery) -> None:
        self.ends[number] = ord("f" if delivery.error else "s" if delivery.spilled else "a")


class _Traffic:
    """Publishes so many events a second until stopped."""

    def __init__(self, publisher: Publisher, ledger: _Ledger, per_s: float) -> None:
        self.sent = self.refused = 0
        self._publisher, self._ledger, self._pause_s = publisher, ledger, 1.0 / per_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            number, self.sent = self.sent, self.sent + 1
            event = {"event_id": f"e{number}", "user_id": f"u{number % USERS}", "item_id": "i", "kind": "click"}
            try:
                self._ledger.published(number, self._publisher.engagement({**event, "occurred_at": time.time()}))
            except PublishTimeoutError:
                self.refused += 1
            due += self._pause_s
            time.sleep(max(0.0, due - time.monotonic()))


def measure(
    seconds: float, *, fault: str = "pause", spill: bool = True, kafka: bool = False, per_s: float = 200.0, **how: Any
) -> Outcome:
    """One outage of so many seconds. `how`: of the publisher."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = KafkaCluster(Path(folder) / "broker") if kafka else EmbeddedCluster(Path(folder) / "broker")
        cluster.start()
        try:
            return _measure(cluster, Path(folder) / "spill" if spill else None, seconds, fault, per_s, how)
        finally:
            cluster.resume()
            cluster.stop()


def _measure(
    cluster: EmbeddedCluster | KafkaCluster, spill: Path | None, seconds: float, fault: str, per_s: float, how: Any
) -> Outcome:
    settings = settings_on(cluster.bootstrap_servers, "outage.")
    create_topics(settings)
    ledger = _Ledger()
    publisher = Publisher(settings=settings, spill=spill, on_delivery=ledger.ended, **how)
    traffic = _Traffic(publisher, ledger, per_s)
    time.sleep(AFTER_S)
    getattr(cluster, fault)()
    memory = _memory_through(seconds)
    spill_mib = sum(file.stat().st_size for file in spill.iterdir()) / 2**20 if spill else 0.0
    cluster.resume() if fault == "pause" else cluster.restart()
    back = time.monotonic()
    time.sleep(AFTER_S)
    traffic.stop()
    drained_s = _drained(publisher, back)
    found = [event["event_id"] for event in events_of(read_topic(settings, "engagements"))]
    return Outcome(
        published=traffic.sent - traffic.refused,
        refused=traffic.refused,
        acknowledged=publisher.acknowledged,
        spilled=publisher.spilled,
        failed=publisher.failed,
        slowest_s=round(ledger.slowest_s, 1),
        held_mib=round(memory[-1] - memory[len(memory) // 10], 1),
        peak_mib=round(max(memory), 1),
        spill_mib=round(spill_mib, 1),
        drained_s=round(drained_s, 1),
        lost=len(ledger.kept() - set(found)),
        doubled=sum(count - 1 for count in Counter(found).values()),
        out_of_order=_out_of_order(found),
    )


def _memory_through(seconds: float) -> list[float]:
    end, seen = time.monotonic() + seconds, []
    while time.monotonic() < end:
        seen.append(resident_mib())
        time.sleep(min(1.0, seconds / 20))
    return seen


def _drained(publisher: Publisher, back: float) -> float:
    """Seconds from when the broker was back until the spill was empty; the publisher is closed then."""
    try:
        while publisher.waiting:
            publisher.flush()
            time.sleep(0.1)
        drained_s = time.monotonic() - back
        publisher.close()
    except DeliveryError:
        return time.monotonic() - back
    return drained_s


def _out_of_order(found: list[str]) -> int:
    """Events before which a later one of their user came first."""
    newest: dict[int, int] = {}
    wrong = 0
    for number in dict.fromkeys(int(name[1:]) for name in found):
        wrong += newest.get(number % USERS, -1) > number
        newest[number % USERS] = max(number, newest.get(number % USERS, -1))
    return wrong


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=55.0)
    options.add_argument("--fault", choices=["pause", "kill"], default="pause")
    options.add_argument("--spill", action="store_true")
    options.add_argument("--kafka", action="store_true", help="on real Kafka instead of the embedded broker")
    options.add_argument("--per-s", type=float, default=200.0)
    said = vars(options.parse_args())
    print(json.dumps(asdict(measure(said.pop("seconds"), **said))))


if __name__ == "__main__":
    main()
