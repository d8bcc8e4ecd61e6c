"""The trainer: a plain process that watches the log, starts training runs, and announces what passed the gate.

A run starts when a person asks for one (`sidestream train`), when enough engagements came since the serving checkpoint,
when enough time passed, when the serving model does much worse on the newest engagements than when it was judged, or
when fresh items fit the codebook badly (then with a refresh of it).
Only locations travel over Kafka: the record on `checkpoints` names the folder.

What happens in which order, and why nothing is lost or half-published:
1. `started` goes to `checkpoints` before any work: a trainer that takes over sees which runs are open.
2. The folder appears by one rename; the verdict by one exchange of the manifest.
3. Only then the checkpoint's record is sent, and acknowledged, and last the run's end.
A trainer that is killed before 3 leaves an open run. The next one goes on with it from the last state that was kept of
it (`trainer.runs.starting.work_folder`), runs a person's request again where none was, and closes the others as failed,
and all after the third attempt; temporary folders are removed. A stop signal (SIGTERM) ends a run at the next step of
learning, and it is gone on with in the same way.

Of several trainers one is at work (`trainer.runs.leadership`); it asks whether it still is at every step of a run and
before it announces anything.

Other periodic learning (the ranker's) goes on between runs and during them (`trainer.runs.background_jobs`).
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from kafka.errors import KafkaError

from store.checkpoints import CODEBOOK, SERVABLE, CheckpointError, CheckpointFolder, Manifest
from store.files.crash_points import reached
from store.log import Log, LogError
from store.records.foreign import ForeignRecords
from store.reporting.outages import Outage
from store.settings import Settings
from store.topics import CHECKPOINTS, ENGAGEMENTS
from trainer.checkpoint_loading import LoadedCheckpoint, load_checkpoint
from trainer.ranking.example import Example
from trainer.runs.background_jobs import BackgroundJob, BackgroundJobs
from trainer.runs.causes.codebook_choice import CodebookRequest
from trainer.runs.causes.drift import Drift
from trainer.runs.causes.triggers import TriggerState, allowance, seconds_allowed, trigger
from trainer.runs.face.server import readiness, serve_face
from trainer.runs.leadership import Leadership
from trainer.runs.log_window import read_window, still_known
from trainer.runs.metrics import TrainerMetrics
from trainer.runs.new_engagements import NewEngagements
from trainer.runs.progress import RunProgress
from trainer.runs.ranker_job import RankerJob
from trainer.runs.run_log import RunLog, State
from trainer.runs.starting.identity import made_with
from trainer.runs.starting.span import NotEnoughDataError
from trainer.runs.starting.work_folder import Work, WorkFolder
from trainer.runs.training_run import Heartbeat, Result, offsets_of, run_training
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.drift import CodebookDrift
from trainer.semantic_ids.files import DamagedCodebookError, load_codebook

log = logging.getLogger("sidestream.trainer")

MAX_ATTEMPTS = 3
_POLL_S = 1.0
_COUNT_EVERY_S = 5.0


class LeadershipLostError(LogError):
    """Another trainer is at work now: what this one has begun stays open, and that one closes it or tries again."""


class _Stopped(BaseException):
    """The person or the supervisor wants the process to end; not an error."""


class TrainerService:
    """See the module's text. `serve` returns when `stop` was called (by a signal, see `run_trainer`)."""

    def __init__(
        self,
        settings: Settings,
        jobs: Sequence[BackgroundJob] = (),
        drift: Drift | None = None,
        examples: Callable[[], Sequence[Example]] = tuple,
        metrics: TrainerMetrics | None = None,
        foreign: ForeignRecords | None = None,
    ) -> None:
        """`examples` gives the newest ranking examples, oldest first: what the gate asks the system with. `foreign` is
        told of records that are passed over."""
        self._settings = settings
        self._examples = examples
        self._jobs = BackgroundJobs(jobs)
        self._drift = drift or Drift(settings.training.drift_ratio, settings.training.drift_window)
        self._folder = CheckpointFolder(settings.checkpoint_folder())
        self._work = WorkFolder(self._folder.root)
        self._log = Log(settings.kafka, foreign=foreign)
        self._run_log = RunLog(settings, self._log)
        self._new = NewEngagements(self._log, settings)
        self._leadership = Leadership(settings)
        self._stands_by = False
        self._codebook_drift = CodebookDrift(self._log, settings)
        self._codebook: Codebook | None = None
        self._codebook_due: CodebookRequest = ""
        self._items = 0  # in the catalogue, as the last run found it
        self._progress = RunProgress()
        self._stopping = False
        self._away = Outage(log, "the trainer cannot work with the log", "it tries again")
        self._counted_at = self._requests_read_at = 0.0
        self._last_run_at = time.time()
        self._seconds_allowed = settings.training.max_seconds
        self.metrics = metrics or TrainerMetrics()

    def stop(self) -> None:
        """Ends `serve` soon, and a run in progress at its next step. Safe in a signal handler."""
        self._stopping = True

    def ready(self) -> tuple[bool, str]:
        """Whether it hears of the group and of the log, and why (not). Safe in any thread."""
        return readiness(self._leadership.standing, away=self._away.lasts)

    def serve(self) -> None:
        """Watches and trains until stopped. A broker that is away is waited for."""
        for left in self._folder.clean():
            log.info("removed %s, left by a trainer that was killed", left)
        self._leadership.start()
        try:
            restored = False
            while not self._stopping:
                try:
                    if not self._leads():
                        restored = False
                        self._look()
                        self._sleep(_POLL_S)
                        continue
                    self._run_log.follow()
                    if not restored:
                        restored = True
                        self._go_on()
                    if (serving := self._run_log.serving()) is not None:
                        self._drift.restart(serving.published_at)
                    self._poll_jobs()
                    self._maybe_train()
                    self._away.over()
                    self._sleep(_POLL_S)
                except (LogError, KafkaError) as error:
                    self._away.met(error)
                    self._disconnect()
                    restored = False  # a run that the outage ended is closed, or tried again if a person asked
                    self._sleep(2.0)
        except _Stopped:
            log.info("stopped; a run in progress was given up")
        finally:
            self._jobs.close()
            self._leadership.close()
            self._disconnect()

    def _leads(self) -> bool:
        """Whether this trainer is the one at work; says once when it stands by."""
        standing = self._leadership.standing
        self.metrics.leads(standing == "leading")
        if standing == "standing by" and not self._stands_by:
            log.info("another trainer is at work: standing by")
        self._stands_by = standing == "standing by"
        return standing == "leading"

    def _look(self) -> None:
        """One that stands by asks for the log, too: else it would not know that no broker answers."""
        if self._stands_by:
            self._log.ends(self._settings.topic(CHECKPOINTS))
            self._away.over()

    def _insist(self) -> None:
        """Goes on only as the trainer at work; waits while the group decides. Raises `LeadershipLostError`."""
        while self._leadership.standing == "undecided" and not self._stopping:
            time.sleep(0.05)
        if not self._leads() and not self._stopping:
            raise LeadershipLostError("another trainer has taken over")

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(0.05)

    def _poll_jobs(self) -> None:
        if self._stopping:
            raise _Stopped
        self._jobs.poll()

    def _disconnect(self) -> None:
        self._run_log.close()
        self._log.close()

    def _maybe_train(self) -> None:
        requested = self._run_log.open_requests()
        if requested:
            self._train(requested, self._run_log.codebook_request(requested))
        elif time.monotonic() - self._counted_at >= _COUNT_EVERY_S:
            cause = trigger(self._trigger_state(), self._settings.training)
            self._counted_at = time.monotonic()
            if cause is not None:
                self._train([f"{cause}-{time.time():.0f}"], self._codebook_due if cause == "codebook" else "")

    def _go_on(self) -> None:
        """Goes on with the run that was begun, by this trainer or one before it; closes those that nobody can."""
        plan = self._work.plan()
        self._run_log.close_abandoned(MAX_ATTEMPTS, plan.runs if plan is not None else ())
        runs = [] if plan is None else self._run_log.still_open(plan.runs)
        if plan is not None and runs:
            self._train(runs, plan.request, "it goes on with what an earlier trainer had begun")
        else:
            self._work.clear()

    def _trigger_state(self) -> TriggerState:
        manifest = self._serving_manifest()
        new = self._new.count(self._since(manifest), time.time())
        since_s = time.time() - max(self._last_run_at, manifest.created_at if manifest is not None else 0.0)
        self._codebook_due = self._codebook_drift.due(self._serving_codebook(manifest), self._items)
        return TriggerState(manifest is None, new, since_s, self._drift.drifted(), bool(self._codebook_due))

    def _serving_codebook(self, manifest: Manifest | None) -> Codebook | None:
        if manifest is None:
            return None
        if self._codebook is None or self._codebook.version != manifest.codebook:
            self._codebook = None
            with suppress(DamagedCodebookError):
                self._codebook = load_codebook(self._folder.path(manifest.checkpoint) / CODEBOOK / manifest.codebook)
        return self._codebook

    def _since(self, manifest: Manifest | None) -> dict[int, int]:
        topic = self._settings.topic(ENGAGEMENTS)
        return {} if manifest is None else still_known(self._log, topic, offsets_of(manifest, topic))

    def _serving_manifest(self) -> Manifest | None:
        record = self._run_log.serving()
        with suppress(CheckpointError):
            if record is not None:
                return self._folder.manifest(record.checkpoint)
        return self._folder.newest(SERVABLE)

    def _parent(self) -> LoadedCheckpoint | None:
        manifest = self._serving_manifest()
        if manifest is None:
            return None
        try:
            return load_checkpoint(self._folder, manifest.checkpoint)
        except (CheckpointError, ValueError, OSError) as error:
            log.warning("cannot continue from %s (%s): starting anew", manifest.checkpoint, error)
            return None

    def _train(self, runs: list[str], request: CodebookRequest, detail: str = "") -> None:
        """One run that answers all of `runs`."""
        manifest = self._serving_manifest()
        since_s = math.inf if manifest is None else time.time() - max(self._last_run_at, manifest.created_at)
        self._seconds_allowed = seconds_allowed(since_s, self._settings.training)
        self._last_run_at = time.time()
        self._run_log.report(runs, "started", detail=detail or allowance(since_s, self._settings.training))
        try:
            result = self._run(runs, request)
            self._insist()
        except NotEnoughDataError as error:
            self._end(runs, "refused", detail=f"not enough data: {error}")
        except (LogError, KafkaError):
            raise  # the run stays open: it is gone on with when the broker is back
        except Exception as error:
            log.exception("run %s failed", runs[0])
            self._end(runs, "failed", detail=f"{type(error).__name__}: {error}")
        else:
            self._publish(runs, result)
        finally:
            self._progress.close()
        self._work.clear()

    def _heartbeat(self, runs: list[str]) -> Heartbeat:
        last = ""

        def heartbeat(step: str, done: float) -> None:
            nonlocal last
            if step != last:
                last = step
                log.info("run %s: %s", runs[0], step)
                if step == "gate":
                    self._run_log.report(runs, "trained")
            self._progress(f"train, {self._seconds_allowed:.0f} s at most" if step == "train" else step, done)
            self._insist()
            self._poll_jobs()
            if time.monotonic() - self._requests_read_at >= _POLL_S:
                self._requests_read_at = time.monotonic()
                self._run_log.queue_new_requests(runs)

        return heartbeat

    def _run(self, runs: list[str], request: CodebookRequest) -> Result:
        heartbeat = self._heartbeat(runs)
        parent = self._parent()
        heartbeat("read", 0.0)
        since = self._since(parent.manifest if parent is not None else None)
        if parent is not None:
            since = still_known(self._log, self._settings.topic(ENGAGEMENTS), since, parent.manifest.topic_id)
        begun = self._work.begun(made_with(self._settings), parent.manifest.checkpoint if parent is not None else None)
        if begun is not None and begun.plan.topic_id != self._log.topic_id(self._settings.topic(ENGAGEMENTS)):
            begun = None
        until = begun.plan.end if begun is not None else None
        progress = lambda at, total: heartbeat("read", at / max(1, total))  # noqa: E731
        window = read_window(self._log, self._settings, since, time.time(), progress, until)
        self._items = len(window.items)
        self._seconds_allowed = begun.plan.max_seconds if begun is not None else self._seconds_allowed
        training = msgspec.structs.replace(self._settings.training, max_seconds=self._seconds_allowed)
        settings = msgspec.structs.replace(self._settings, training=training)
        work = Work(self._work, runs, begun)
        return run_training(window, settings, self._folder, parent, heartbeat, request, self._examples(), work)

    def _publish(self, runs: list[str], result: Result) -> None:
        manifest = result.manifest
        self.metrics.gate_measured(result.judgement.hit_ratio, result.judgement.nats)
        detail = "; ".join([*result.judgement.reasons, result.judgement.figures])
        reached("run_judged")
        self._run_log.report(runs, "gated", manifest.checkpoint, detail)
        reached("run_gated")
        self._run_log.publish_checkpoint(manifest, str(self._folder.path(manifest.checkpoint).resolve()))
        reached("run_announced")
        state: State = "published" if result.judgement.passed else "refused"
        self._end(runs, state, manifest.checkpoint, detail, result.churn)
        kept = self._run_log.serving()
        self._folder.prune(self._settings.training.keep_checkpoints, kept.checkpoint if kept is not None else None)

    def _end(
        self, runs: list[str], state: State, checkpoint: str = "", detail: str = "", churn: Sequence[float] = ()
    ) -> None:
        log.info("run %s: %s %s %s", runs[0], state, checkpoint, detail)
        self.metrics.run_ended(state)
        self._run_log.report(runs, state, checkpoint, detail, churn)


def run_trainer(settings: Settings) -> int:
    """The process behind `sidestream trainer`; returns its exit status when a signal ended it."""
    drift = Drift(settings.training.drift_ratio, settings.training.drift_window)
    metrics = TrainerMetrics()
    foreign = ForeignRecords(metrics.foreign_record)
    ranker = RankerJob(settings, drift=drift, foreign=foreign)
    service = TrainerService(settings, [ranker], drift, ranker.recent_examples, metrics, foreign)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    os.nice(settings.training.niceness)  # serving comes first on a machine that both share
    serve_face(settings.training, service.metrics.registry, service.ready)
    service.serve()
    return 0
