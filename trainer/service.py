"""The trainer: a plain process that watches the log, starts training runs, and announces what passed the gate.

A run starts when a person asks for one (`sidestream train`), when enough engagements came since the serving checkpoint,
when enough time passed, or when the serving model does much worse on the newest engagements than when it was judged.
Only locations travel over Kafka: the record on `checkpoints` names the folder.

What happens in which order, and why nothing is lost or half-published:
1. `started` goes to `checkpoints` before any work: a trainer that takes over sees which runs are open.
2. The folder appears by one rename; the verdict by one exchange of the manifest.
3. Only then the checkpoint's record is sent, and acknowledged, and last the run's end.
A trainer that is killed before 3 leaves an open run. The next one runs a person's request again (three times at most)
and closes the others as failed; temporary folders are removed. A stop signal (SIGTERM) ends a run at the next step of
learning; its folder is removed before it was ever named.

Other periodic learning (the ranker's) is a `Chore`: it gets its turn between polls and during runs.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from store.checkpoints import (
    CHECKPOINT_KEY,
    RUN_KEY,
    SERVABLE,
    CheckpointError,
    CheckpointFolder,
    CheckpointRecord,
    RunRecord,
    TrainRequest,
    announced,
    serving,
)
from store.log import Log, LogError, client_options
from store.settings import Settings
from trainer.progress import RunProgress
from trainer.training_run import Loaded, NotEnoughDataError, Result, load_checkpoint, offsets_of, run_training
from trainer.triggers import Moment, trigger
from trainer.window import count_new, read_window

log = logging.getLogger("sidestream.trainer")

MAX_ATTEMPTS = 3
_POLL_S = 1.0
_COUNT_EVERY_S = 5.0
_TURN_EVERY_S = 0.5


class Chore(Protocol):
    """Another periodic job of the trainer. `turn` is called about twice a second, with wall time in epoch seconds,
    also during training runs; it should return within a second."""

    def turn(self, now: float) -> None: ...

    def close(self) -> None: ...


class _Stopped(BaseException):
    """The person or the supervisor wants the process to end; not an error."""


class TrainerService:
    """See the module's text. `serve` returns when `stop` was called (by a signal, see `run_trainer`)."""

    def __init__(self, settings: Settings, chores: Sequence[Chore] = ()) -> None:
        self._settings = settings
        self._chores = list(chores)
        self._folder = CheckpointFolder(settings.checkpoint_folder())
        self._topic = settings.topic("checkpoints")
        self._log = Log(settings.kafka)
        self._producer: KafkaProducer | None = None
        self._position = 0
        self._records: list[CheckpointRecord] = []
        self._requests: dict[str, TrainRequest] = {}
        self._started: dict[str, int] = {}
        self._ended: set[str] = set()
        self._progress = RunProgress()
        self._stopping = False
        self._turned_at = self._counted_at = 0.0
        self._new = 0
        self._began = time.time()
        self._last_run_at = 0.0
        self.registry = CollectorRegistry()
        self._runs = Counter("sidestream_training_runs", "training runs by end", ["result"], registry=self.registry)
        self._scores = Gauge(
            "sidestream_gate_score",
            "hit ratio at 10 in the gate's last comparison",
            ["checkpoint_role", "slice"],
            registry=self.registry,
        )

    def stop(self) -> None:
        """Ends `serve` soon, and a run in progress at its next step. Safe in a signal handler."""
        self._stopping = True

    def serve(self) -> None:
        """Watches and trains until stopped. A broker that is away is waited for."""
        for left in self._folder.clean():
            log.info("removed %s, left by a trainer that was killed", left)
        restored = False
        try:
            while not self._stopping:
                try:
                    self._follow()
                    if not restored:
                        self._close_open_runs()
                        restored = True
                    self._turn()
                    self._maybe_train()
                    self._sleep(_POLL_S)
                except (LogError, KafkaError) as error:
                    log.warning("%s; trying again", error)
                    self._disconnect()
                    self._sleep(2.0)
        except _Stopped:
            log.info("stopped; the run in progress was given up")
        finally:
            self._disconnect()
            for chore in self._chores:
                chore.close()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(0.05)

    def _turn(self) -> None:
        if self._stopping:
            raise _Stopped
        if time.monotonic() - self._turned_at >= _TURN_EVERY_S:
            for chore in self._chores:
                chore.turn(time.time())
            self._turned_at = time.monotonic()

    def _follow(self) -> None:
        """Reads what is new on `checkpoints`."""
        end = self._log.ends(self._topic).get(0, 0)
        if end <= self._position:
            return
        for record in self._log.read(self._topic, {0: self._position}, {0: end}):
            said = announced(record.key, record.value)
            if isinstance(said, CheckpointRecord):
                self._records.append(said)
            elif isinstance(said, TrainRequest):
                self._requests[said.run or f"request-{record.offset}"] = said
            elif isinstance(said, RunRecord) and said.state == "started":
                self._started[said.run] = self._started.get(said.run, 0) + 1
            elif isinstance(said, RunRecord) and said.ended:
                self._ended.add(said.run)
        self._position = end

    def _close_open_runs(self) -> None:
        """Closes what a trainer before this one left open; a person's request is tried again."""
        for run, attempts in self._started.items():
            if run not in self._ended and (run not in self._requests or attempts >= MAX_ATTEMPTS):
                self._say(run, "failed", detail=f"the trainer ended during the run ({attempts} attempts): ask again")
                self._ended.add(run)

    def _maybe_train(self) -> None:
        waiting = [run for run in self._requests if run not in self._ended]
        if waiting:
            self._train(waiting)
            return
        if time.monotonic() - self._counted_at < _COUNT_EVERY_S:
            return
        self._counted_at = time.monotonic()
        manifest = self._serving_manifest()
        since = offsets_of(manifest, self._settings.topic("engagements")) if manifest is not None else {}
        self._new = count_new(self._log, self._settings, since, time.time())
        last_at = max(manifest.created_at if manifest is not None else self._began, self._last_run_at)
        moment = Moment(first=manifest is None, new=self._new, since_s=time.time() - last_at)
        cause = trigger(moment, self._settings.training)
        if cause is not None:
            self._train([f"{cause}-{time.time():.0f}"])

    def _serving_manifest(self) -> Any:
        record = serving(self._records)
        wanted = record.checkpoint if record is not None else None
        with suppress(CheckpointError):
            if wanted is not None:
                return self._folder.manifest(wanted)
        return self._folder.newest(SERVABLE)

    def _parent(self) -> Loaded | None:
        manifest = self._serving_manifest()
        if manifest is None:
            return None
        try:
            return load_checkpoint(self._folder, manifest.checkpoint)
        except (CheckpointError, ValueError, OSError) as error:
            log.warning("cannot continue from %s (%s): starting anew", manifest.checkpoint, error)
            return None

    def _train(self, runs: list[str]) -> None:
        """One run that answers all of `runs`."""
        self._last_run_at = time.time()
        step = ""

        def beat(now_at: str, done: float) -> None:
            nonlocal step
            self._progress(now_at, done)
            if now_at != step:
                log.info("run %s: %s", runs[0], now_at)
                if now_at == "gate":
                    self._say_all(runs, "trained")
                step = now_at
            self._turn()

        self._say_all(runs, "started")
        try:
            result = self._run(beat)
        except NotEnoughDataError as error:
            self._end(runs, "refused", detail=f"not enough data: {error}")
        except (LogError, KafkaError):
            raise  # the run stays open: it is tried again when the broker is back
        except Exception as error:
            log.exception("run %s failed", runs[0])
            self._end(runs, "failed", detail=f"{type(error).__name__}: {error}")
        else:
            self._publish(runs, result)
        finally:
            self._progress.close()

    def _run(self, beat: Any) -> Result:
        parent = self._parent()
        since = offsets_of(parent.manifest, self._settings.topic("engagements")) if parent is not None else {}
        beat("read", 0.0)
        window = read_window(
            self._log, self._settings, since, time.time(), lambda at, total: beat("read", at / max(1, total))
        )
        return run_training(window, self._settings, self._folder, parent, beat)

    def _publish(self, runs: list[str], result: Result) -> None:
        manifest = result.manifest
        for (role, name), value in result.judgement.hit_ratio.items():
            self._scores.labels(role, name).set(value)
        detail = "; ".join(result.judgement.reasons)
        self._say_all(runs, "gated", checkpoint=manifest.checkpoint, detail=detail)
        record = CheckpointRecord(
            checkpoint=manifest.checkpoint,
            parent=manifest.parent,
            location=str(self._folder.path(manifest.checkpoint).resolve()),
            verdict=manifest.verdict,
            published_at=time.time(),
            codebook=manifest.codebook,
            data_until=manifest.data_until,
        )
        self._send(CHECKPOINT_KEY, record)
        self._records.append(record)
        state = "published" if result.judgement.passed else "refused"
        self._end(runs, state, checkpoint=manifest.checkpoint, detail=detail)
        kept = serving(self._records)
        self._folder.prune(self._settings.training.keep_checkpoints, kept.checkpoint if kept is not None else None)

    def _end(self, runs: list[str], state: Any, checkpoint: str = "", detail: str = "") -> None:
        log.info("run %s: %s %s %s", runs[0], state, checkpoint, detail)
        self._runs.labels(state).inc()
        self._say_all(runs, state, checkpoint, detail)
        self._ended.update(runs)

    def _say_all(self, runs: list[str], state: Any, checkpoint: str = "", detail: str = "") -> None:
        for run in runs:
            self._say(run, state, checkpoint, detail)

    def _say(self, run: str, state: Any, checkpoint: str = "", detail: str = "") -> None:
        self._send(RUN_KEY, RunRecord(run=run, state=state, at=time.time(), checkpoint=checkpoint, detail=detail))

    def _send(self, key: bytes, record: msgspec.Struct) -> None:
        if self._producer is None:
            self._producer = KafkaProducer(acks="all", **client_options(self._settings.kafka))
        self._producer.send(self._topic, key=key, value=msgspec.json.encode(record)).get(timeout=30)

    def _disconnect(self) -> None:
        self._log.close()
        if self._producer is not None:
            with suppress(KafkaError):
                self._producer.close(timeout=5)
            self._producer = None


def run_trainer(settings: Settings, chores: Sequence[Chore] = ()) -> int:
    """The process behind `sidestream trainer`; returns its exit status when a signal ended it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what it says, our own errors repeat with a remedy
    service = TrainerService(settings, chores)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    os.nice(settings.training.niceness)  # serving comes first on a machine that both share
    port = settings.training.metrics_port
    if port >= 0:
        try:
            start_http_server(port, settings.training.metrics_host, service.registry)
        except OSError as error:
            log.warning("no metrics on port %d (%s): set training.metrics_port", port, error)
    service.serve()
    return 0
