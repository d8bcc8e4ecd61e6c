"""A training run: from a window of the log to a judged checkpoint folder. Knows the folder, and nothing of Kafka.

The numbered steps:
1. Lay the window out as a corpus, and hold the newest engagements out.
2. Choose the codebook: the parent's, or (from version zero, once there are enough items) a learned one.
3. Warm-start from the parent, begin a lineage of another form that the parent teaches, or begin anew.
4. Pre-train; write the folder under a temporary name, seal it with its manifest, rename it.
5. Examine candidate and serving model on what was held out, judge, and write the verdict into the manifest.

Invariant: until the rename of step 4 nothing is visible; until the verdict of step 5 the checkpoint is `pending` and
nobody serves it. An interrupted run leaves at most a temporary folder or a pending checkpoint, and its work folder,
with which the next trainer goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from store.checkpoints import CODEBOOK, CheckpointFolder, LogRange, Manifest, Verdict, seal
from store.items import ItemCard
from store.settings import Settings
from store.topics import ENGAGEMENTS
from trainer.checkpoint_loading import LoadedCheckpoint
from trainer.gate.gate import Judgement
from trainer.gate.judging import Asked, Judged, judge_candidate
from trainer.model.batches import Behaviour, Metadata
from trainer.model.beam_search import Generator
from trainer.model.branch_prior import BranchPrior
from trainer.model.contrast import Contrast
from trainer.model.corpus import MOMENTS, Corpus, at_or_after, corpus_of, moments, popularity_of, recency
from trainer.model.learning.optimiser import moments_size, save_moments
from trainer.model.learning.pretraining import Outcome, Plan, Pretraining, follow
from trainer.model.learning.processes import joined
from trainer.model.vector_snapshot import save_vectors
from trainer.ranking.example import Example
from trainer.rules import ranker_rules
from trainer.runs.causes.codebook_choice import CodebookRequest, assigner, choose_codebook
from trainer.runs.log_window import Window
from trainer.runs.starting.first_weights import FirstWeights, continued, new_weights, taught
from trainer.runs.starting.identity import code_version, made_with
from trainer.runs.starting.lineage import Changes, changes, form_of, lineage_of, told
from trainer.runs.starting.span import Span, check_enough, span_of
from trainer.runs.starting.work_folder import Begun, RunPlan, Work
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.files import save_codebook
from trainer.semantic_ids.training import churn

log = logging.getLogger("sidestream.trainer")

Heartbeat = Callable[[str, float], None]
"""Called often with (step, part done in 0..1); may raise to end the run, which then leaves its work folder only."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run made: the manifest (with its verdict), the gate's judgement, the learning's figures, and by level the
    share of items whose codes another codebook changed."""

    manifest: Manifest
    judgement: Judgement
    outcome: Outcome
    churn: list[float]


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a run stands on: what it reads, the corpus's items as cards and what of it is held out, and the parent. What
    is learned has the codes of `codebook`, and begins with the `first` weights. `changed`: how its form differs from
    the parent's."""

    window: Window
    span: Span
    parent: LoadedCheckpoint | None
    corpus: Corpus
    listed: list[ItemCard]
    held_E: np.ndarray
    codebook: Codebook
    first: FirstWeights
    changed: Changes

    @property
    def learned_E(self) -> np.ndarray:
        return ~self.held_E & (self.corpus.weight_E > 0)

    @property
    def parent_id(self) -> str | None:
        return None if self.parent is None else self.parent.manifest.checkpoint

    def churn(self) -> list[float]:
        """By level, the share of items that no longer have the codes that they had under the parent's codebook."""
        if self.parent is None or self.parent.codebook.version == self.codebook.version:
            return []
        before_IL = assigner(self.parent.codebook)(self.listed)
        return churn(before_IL, self.corpus.codes_IL) if before_IL.shape == self.corpus.codes_IL.shape else [1.0]


def run_training(
    window: Window,
    settings: Settings,
    folder: CheckpointFolder,
    parent: LoadedCheckpoint | None,
    heartbeat: Heartbeat,
    request: CodebookRequest = "",
    examples: Sequence[Example] = (),
    work: Work | None = None,
) -> Result:
    """One run; raises NotEnoughDataError before anything is written when the window holds too little. `examples`: the
    newest ranking examples, oldest first, by which the gate asks what the system gains. With `work` the run can be gone
    on with after a kill, and goes on with what was begun there."""
    torch.set_num_threads(settings.training.threads)
    check_enough(window, settings, request)
    ground = _ground(window, settings, folder, parent, heartbeat, request, work.begun if work is not None else None)
    prior, moment_E = moments(ground.corpus, ground.learned_E, ground.first.vocabulary.widths)
    pretraining = _pretraining(ground, prior, moment_E, settings)
    if work is not None:
        _take_up(work, pretraining, ground, settings, request)
    keep = None if work is None else work.folder.keep
    outcome = pretraining.run(lambda done, _: heartbeat("train", done), keep, settings.training.keep_state_s)
    made = Generator(ground.first.model, ground.first.vocabulary, prior.at(MOMENTS))
    checkpoint = folder.next_id(time.time())
    with folder.writing(checkpoint) as path:
        made.model.save(path)
        made.vocabulary.save(path)
        made.prior.save(path)
        save_moments(pretraining.moments(), path)
        save_vectors(ground.window.vectors, path)
        save_codebook(ground.codebook, path / CODEBOOK)
        seal(path, _manifest(checkpoint, ground, outcome, settings, {"optimiser.bytes": moments_size(path)}))
    heartbeat("gate", 0.0)
    asked = _ask_gate(made, ground, examples, settings, lambda done: heartbeat("gate", done))
    judgement = asked.judgement
    verdict: Verdict = "passed" if judgement.passed else "refused"
    notes = filter(None, [ground.span.note, told(parent, ground.changed)])
    reasons = [*judgement.reasons, f"decided by {judgement.rule}", judgement.figures, *notes]
    manifest = folder.set_verdict(checkpoint, verdict, reasons, finite(asked.metrics()))
    return Result(manifest, judgement, outcome, ground.churn())


def learned_beside_another() -> bool:
    """In a process of torchrun's other than the first: learns with it, run after run, until it ends; then True."""
    if (processes := joined()).leads:
        return False
    follow(processes)
    return True


def send_others_home() -> None:
    """Ends `learned_beside_another` in the other processes."""
    joined().give(None)


def _ground(
    window: Window,
    settings: Settings,
    folder: CheckpointFolder,
    parent: LoadedCheckpoint | None,
    heartbeat: Heartbeat,
    request: CodebookRequest,
    begun: Begun | None,
) -> _Ground:
    """Steps 1 to 3; what was begun is not chosen again."""
    vectors = parent.vectors if parent else {}
    corpus = corpus_of(window.engagements, window.items, settings.events.weights, window.attributes, vectors)
    changed = changes(parent, settings.model)
    span = begun.plan.span if begun is not None else span_of(window, corpus, settings.training, request, bool(changed))
    held_E = at_or_after(corpus, span.cut)
    heartbeat("codebook", 0.0)
    listed = [window.items[item_id] for item_id in corpus.item_ids]
    if begun is not None:
        codebook = begun.codebook
    else:
        before = parent.codebook if parent else None
        codebook = choose_codebook(before, listed, corpus, held_E, settings, heartbeat, request)
    corpus = replace(corpus, codes_IL=assigner(codebook)(listed))
    words = begun.vocabulary if begun is not None else None
    if parent is None:
        first = new_weights(corpus, settings, codebook, words)
    elif changed:
        first = taught(parent, codebook, listed, corpus, settings, changed, words)
    else:
        first = continued(parent, folder, codebook, listed, corpus, settings.training.seed)
    return _Ground(span.of(window), span, parent, corpus, listed, held_E, codebook, first, changed)


def _take_up(
    work: Work, pretraining: Pretraining, ground: _Ground, settings: Settings, request: CodebookRequest
) -> None:
    """Writes down what the run is; or goes on from the newest state that was kept of it."""
    if work.begun is None:
        plan = RunPlan(
            runs=work.runs,
            request=request,
            parent=ground.parent_id,
            codebook=ground.codebook.version,
            begin=ground.span.begin,
            end=ground.window.end,
            cut=ground.span.cut,
            note=ground.span.note,
            topic_id=ground.window.topic_id,
            max_seconds=settings.training.max_seconds,
            made_with=made_with(settings),
        )
        work.folder.begin(Begun(plan, ground.codebook, ground.first.vocabulary))
    elif (state := work.folder.newest()) is not None:
        pretraining.go_on_from(state)
        log.info("run %s goes on from step %d, after %.0f s of learning", work.runs[0], state.steps, state.seconds)


def _pretraining(ground: _Ground, prior: BranchPrior, moment_E: np.ndarray, settings: Settings) -> Pretraining:
    training, corpus, first = settings.training, ground.corpus, ground.first
    new_E = at_or_after(corpus, ground.window.begin) & ~ground.held_E
    older_E = ~new_E & ~ground.held_E
    share = training.replay_ratio * new_E.sum() / max(1, older_E.sum())
    replayed_E = older_E & (np.random.default_rng(training.seed).random(len(corpus)) < share)
    learn_E = new_E | replayed_E
    known_E = moment_E > 0  # before the first moment there is no prior to learn beside
    weight_E = recency(corpus, new_E | older_E) * np.where(older_E & ~replayed_E, training.replay_ratio, 1.0)
    behaviour = Behaviour(
        corpus, first.vocabulary, learn_E & known_E, weight_E, settings.model.history, moment_E, older_E & known_E
    )
    plan = Plan(
        max_seconds=training.max_seconds, max_steps=training.max_steps, epochs=training.epochs, seed=training.seed
    )
    metadata = Metadata(corpus.texts, corpus.codes_IL, first.vocabulary, MOMENTS)
    own = first.model.shape.tower.own
    contrast = Contrast.of(corpus, prior, MOMENTS + 1, (new_E | older_E) & (corpus.weight_E > 0), own)
    told = (behaviour, metadata, contrast, plan, first.moments, first.teacher)
    return Pretraining(first.model, prior, *told, joined())


def _ask_gate(
    made: Generator, ground: _Ground, examples: Sequence[Example], settings: Settings, done: Callable[[float], None]
) -> Judged:
    parent, listed = ground.parent, ground.listed
    return judge_candidate(
        Asked(made, ground.corpus.codes_IL),
        None if parent is None else Asked(parent.generator, assigner(parent.codebook)(listed)),
        ground.corpus,
        ground.held_E,
        examples,
        settings.training,
        history=settings.model.history,
        ranking=ranker_rules(settings),
        heartbeat=done,
    )


def _manifest(
    checkpoint: str, ground: _Ground, outcome: Outcome, settings: Settings, sizes: Mapping[str, float]
) -> Manifest:
    corpus, window = ground.corpus, ground.window
    learned_E = ~ground.held_E & at_or_after(corpus, window.begin)
    learned_E = learned_E if learned_E.any() else ~ground.held_E
    topic = settings.topic(ENGAGEMENTS)
    ends = {partition: min(ground.span.cut.get(partition, end), end) for partition, end in window.end.items()}
    figures = {f"training.{name}": float(value) for name, value in asdict(outcome).items()}
    popularity = {f"popularity.{name}": value for name, value in popularity_of(corpus, ground.learned_E).items()}
    return Manifest(
        checkpoint=checkpoint,
        parent=ground.parent_id,
        codebook=ground.codebook.version,
        created_at=time.time(),
        log={f"{topic}/{p}": LogRange(window.begin[p], max(ends[p], window.begin[p])) for p in sorted(ends)},
        occurred_from=float(corpus.occurred_E[learned_E].min()),
        occurred_until=float(corpus.occurred_E[learned_E].max()),
        data_until=float(corpus.stamp_E[learned_E].max()) / 1000.0,
        metrics=finite({**figures, **popularity, **sizes}),
        code_version=code_version(),
        seed=settings.training.seed,
        topic_id=window.topic_id,
        form=form_of(settings.model),
        lineage=lineage_of(checkpoint, ground.parent, ground.changed),
        teacher=ground.parent_id if ground.changed else None,
    )


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: JSON has no NaN (a loss that was never taken), and a manifest must be read again."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def offsets_of(manifest: Manifest, topic: str) -> dict[int, int]:
    """Where the next run's new engagements begin: partition → offset."""
    named = {name.rpartition("/"): reached.end for name, reached in manifest.log.items()}
    return {int(partition): end for (at, _, partition), end in named.items() if at == topic}
