"""The ranker's background job: it follows `ranking-examples`, fits rankers, and announces them.

The topic has three sorts of records: engagements ranked before they were learned from (`Example`), answers as they were
shown (`Shown`), and what was said of shown lines (`ImpressionOutcome`). The last two meet in `Impressions`, in event
time: the highest time read, or wall time once all is read and the stream is within an hour of it. A scorer that dies or
loses a partition takes no open window with it: windows are here, and come back from the log when the trainer starts
anew.

A fit takes seconds, so it runs in a thread beside the training runs. A fitted ranker is a file in the checkpoint
folder; its location goes to `checkpoints` under key `ranker`, and every scorer exchanges its ranker for it.

Invariant: a file is whole before it is announced. Records are read again after a restart from `READ_BACK` windows
back, so a restarted trainer soon fits on what it had.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import msgspec
from kafka import KafkaProducer

from store.checkpoints import RANKER_KEY, RankerRecord
from store.log import Log, LogRecord, forgotten_in
from store.records.foreign import ForeignRecordError, ForeignRecords, held_in
from store.security import client_options
from store.settings import Settings
from store.topics import CHECKPOINTS, FORGOTTEN_USERS, RANKING_EXAMPLES
from trainer.ranking.example import Example
from trainer.ranking.impressions import ImpressionOutcome, Impressions, Shown
from trainer.ranking.learner import RankerLearner, RankerRules
from trainer.ranking.ranker import Ranker
from trainer.rules import impression_rules, ranker_rules
from trainer.runs.causes.drift import Drift
from trainer.runs.example_backfill import ExampleBackfill

log = logging.getLogger(__name__)

Evidence = Example | Shown | ImpressionOutcome

KEPT = 3
READ_PER_POLL = 2000
RECENT = 6_000
"""So many of the newest examples are kept whole, for the gate."""
READ_BACK = 2
CAUGHT_UP_S = 3600.0
QUIET_S = 10.0
QUIET_GROWTH = 0.1
"""When no example has come for so long, a fit is due that would rest on so much more: the learner's own growth waits
for examples that may not come for hours."""


class RankerJob:
    """A `trainer.runs.background_jobs.BackgroundJob`."""

    def __init__(
        self,
        settings: Settings,
        rules: RankerRules | None = None,
        drift: Drift | None = None,
        foreign: ForeignRecords | None = None,
    ) -> None:
        """`drift` observes every ordered example; `foreign` is told of what is none."""
        self._drift = drift
        self._rules = rules or ranker_rules(settings)
        self.learner = RankerLearner(self._rules)
        self._impressions = Impressions(impression_rules(settings))
        self._now_s = 0.0
        self._settings = settings
        self._topic = settings.topic(RANKING_EXAMPLES)
        self._folder = settings.checkpoint_folder() / "rankers"
        self._log = Log(settings.kafka, foreign=foreign)
        self._backfill = ExampleBackfill(settings, self._log, self._rules.kept)
        self._recent: deque[Example] = deque(maxlen=RECENT)
        self._live = 0
        self._producer: KafkaProducer | None = None
        self._positions: dict[int, int] = {}
        self._forgotten: dict[str, int] = {}
        self._ledger_ends: dict[int, int] = {}
        self._caught_up = False
        self._read_at = 0.0
        decoder: msgspec.msgpack.Decoder[Evidence] = msgspec.msgpack.Decoder(Evidence)
        self._decode = decoder.decode
        self._fitting: Future[Ranker] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ranker")

    def poll(self, now: float) -> None:
        """Reads what is new, starts a fit when one is due, announces one that has ended."""
        self._read(now)
        self._close_windows(now)
        for finding in self._backfill.poll(now, self._live):
            if isinstance(finding, Example):
                self._learn(finding)
            else:
                self.learner.absorb_impression(finding)
        if self._fitting is not None and self._fitting.done():
            ranker, self._fitting = self._fitting.result(), None
            self._announce(ranker, now)
        if self._fitting is None and (self.learner.due() or self._is_quiet(now)):
            self._fitting = self._pool.submit(self.learner.refit)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._backfill.close()
        self._log.close()
        if self._producer is not None:
            self._producer.close(timeout=2)

    def _is_quiet(self, now: float) -> bool:
        grown = self.learner.absorbed >= (1.0 + QUIET_GROWTH) * self.learner.fitted_at > 0
        return grown and now - self._read_at > QUIET_S

    def _read(self, now: float) -> None:
        ends = self._log.ends(self._topic)
        begins = {p: self._positions.get(p, max(0, end - READ_BACK * self._rules.kept)) for p, end in ends.items()}
        begins = {p: at if at <= ends[p] else 0 for p, at in begins.items()}  # beyond: the topic was created anew
        until = {p: min(end, begins[p] + READ_PER_POLL) for p, end in ends.items()}
        if begins != until:
            self._read_at = now
            self._learn_of_forgotten()
            for record in self._log.read(self._topic, begins, until):
                if not self._is_forgotten(record):
                    self._read_record(record)
        self._positions = until
        self._caught_up = until == ends

    def _learn_of_forgotten(self) -> None:
        """Who was forgotten, as far as it is known now: what came of them before is not learned from."""
        topic = self._settings.topic(FORGOTTEN_USERS)
        ends = self._log.ends(topic)
        if ends != self._ledger_ends:
            begins = {p: at if at <= ends.get(p, 0) else 0 for p, at in self._ledger_ends.items()}
            records = self._log.read(topic, begins, ends)
            found = forgotten_in(records, partial(self._log.foreign.met, FORGOTTEN_USERS))
            self._forgotten |= {user_id: one.forgotten_at_ms for user_id, one in found.items()}
            self._ledger_ends = ends

    def _is_forgotten(self, record: LogRecord) -> bool:
        user_id = (record.key or b"").decode("utf-8", "replace")
        return record.came_at_ms <= self._forgotten.get(user_id, -1)

    def _read_record(self, record: LogRecord) -> None:
        try:
            found = held_in(record.value or b"", self._decode, "ranking example of this version")
        except ForeignRecordError as error:
            self._log.foreign.met(RANKING_EXAMPLES, record, error)
        else:
            self._absorb(found, record.timestamp_ms / 1000)

    def _absorb(self, record: Evidence, at_s: float) -> None:
        happened_at = record.shown_at if isinstance(record, Shown) else record.occurred_at
        self._now_s = max(self._now_s, min(happened_at, at_s))  # a clock ahead of the broker's must close no window
        if isinstance(record, Shown):
            self._impressions.show(record)
            return
        if isinstance(record, ImpressionOutcome):
            self._impressions.engage(record)
            return
        self._learn(record)
        self._live += record.found and record.weight > 0
        if self._drift is not None and record.weight > 0 and record.ordered:
            self._drift.observe(0 <= record.rank < 10, at_s)

    def recent_examples(self) -> list[Example]:
        """The newest examples that a training run's gate asks the system with, in event time."""
        return sorted(self._recent, key=_occurred_at)

    def _learn(self, example: Example) -> None:
        self.learner.absorb(example)
        if example.items:
            self._recent.append(example)

    def _close_windows(self, now: float) -> None:
        live = self._caught_up and now - self._now_s < CAUGHT_UP_S
        now_s = max(now, self._now_s) if live else self._now_s
        for impression in self._impressions.advance(now_s):
            self.learner.absorb_impression(impression)

    def _announce(self, ranker: Ranker, now: float) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"ranker-{int(now * 1000)}.txt"
        temporary = path.with_suffix(".writing")
        temporary.write_bytes(ranker.to_bytes())
        temporary.rename(path)
        record = RankerRecord(ranker=ranker.name, location=str(path.absolute()), published_at=now)
        self._send(msgspec.json.encode(record))
        for old in sorted(self._folder.glob("ranker-*.txt"))[:-KEPT]:
            old.unlink()
        measured = ranker.heads.measured() if ranker.heads is not None else {}
        expected = ", ".join(f"{name} {one.predicted:.3f} (came {one.observed:.3f})" for name, one in measured.items())
        log.info("ranker fitted on %s examples; expected %s", ranker.name, expected or "nothing yet")

    def _send(self, value: bytes) -> None:
        if self._producer is None:
            self._producer = KafkaProducer(**client_options(self._settings.kafka))
        self._producer.send(self._settings.topic(CHECKPOINTS), value, key=RANKER_KEY).get(timeout=10)


def _occurred_at(example: Example) -> float:
    return example.occurred_at
