"""A training run: from a window of the log to a judged checkpoint folder. Knows the folder, and nothing of Kafka.

The numbered steps:
1. Lay the window out as a corpus, and hold the newest engagements out.
2. Choose the codebook: the parent's, or (from version zero, once there are enough items) a learned one.
3. Warm-start from the parent, or begin anew.
4. Pre-train; write the folder under a temporary name, seal it with its manifest, rename it.
5. Examine candidate and serving model on what was held out, judge, and write the verdict into the manifest.

Invariant: until the rename of step 4 nothing is visible; until the verdict of step 5 the checkpoint is `pending` and
nobody serves it. An interrupted run leaves at most a temporary folder or a pending checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from store.checkpoints import CODEBOOK, CheckpointFolder, LogRange, Manifest, Verdict, seal
from store.items import ItemCard
from store.settings import Settings, Training
from store.topics import ENGAGEMENTS
from trainer.checkpoint_loading import LoadedCheckpoint
from trainer.gate.gate import Judgement
from trainer.gate.judging import Asked, judge_candidate
from trainer.model.batches import Behaviour, Metadata
from trainer.model.beam_search import Generator
from trainer.model.contrast import Contrast
from trainer.model.corpus import MOMENTS, Corpus, at_or_after, corpus_of, cut_offsets, moments, popularity_of, recency
from trainer.model.decoder import Decoder, Shape
from trainer.model.item_tower import TowerShape
from trainer.model.learning.growth import OF_CODES, grown
from trainer.model.learning.optimiser import MOMENTS_FILE, Moments, load_moments, save_moments, without
from trainer.model.learning.pretraining import Outcome, Plan, Pretraining
from trainer.model.vector_snapshot import save_vectors
from trainer.model.vocabulary import Vocabulary, train_vocabulary
from trainer.ranking.example import Example
from trainer.rules import ranker_rules
from trainer.runs.causes.codebook_choice import CodebookRequest, assigner, choose_codebook
from trainer.runs.log_window import Window
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.files import save_codebook
from trainer.semantic_ids.training import churn

Heartbeat = Callable[[str, float], None]
"""Called often with (step, part done in 0..1); may raise to end the run, which then leaves nothing behind."""


class NotEnoughDataError(RuntimeError):
    """The log holds too little to learn from: the message says how much is missing. Publish more, then train again."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run made: the manifest (with its verdict), the gate's judgement, the learning's figures, and by level the
    share of items whose codes another codebook changed."""

    manifest: Manifest
    judgement: Judgement
    outcome: Outcome
    churn: list[float]


def run_training(
    window: Window,
    settings: Settings,
    folder: CheckpointFolder,
    parent: LoadedCheckpoint | None,
    heartbeat: Heartbeat,
    request: CodebookRequest = "",
    examples: Sequence[Example] = (),
) -> Result:
    """One run; raises NotEnoughDataError before anything is written when the window holds too little. `examples`: the
    newest ranking examples, oldest first, by which the gate asks what the system gains."""
    torch.set_num_threads(settings.training.threads)
    _enough(window, settings, request)
    vectors = parent.vectors if parent else {}
    corpus = corpus_of(window.engagements, window.items, settings.events.weights, window.attributes, vectors)
    window, cut, note = _spans(window, corpus, settings.training, request)
    held_E = at_or_after(corpus, cut)
    heartbeat("codebook", 0.0)
    listed = [window.items[item_id] for item_id in corpus.item_ids]
    codebook = choose_codebook(
        parent.codebook if parent else None, listed, corpus, held_E, settings, heartbeat, request
    )
    corpus = replace(corpus, codes_IL=assigner(codebook)(listed))
    changed = [] if parent is None or parent.codebook.version == codebook.version else _churn(parent, corpus, listed)
    model, vocabulary = _start(corpus, settings, parent, codebook, window)
    learned_E = ~held_E & (corpus.weight_E > 0)
    prior, moment_E = moments(corpus, learned_E, vocabulary.widths)
    known = _known_moments(folder, parent, codebook)
    begun = Generator(model, vocabulary, prior)
    pretraining = _pretraining(begun, corpus, held_E, moment_E, window, settings, known)
    outcome = pretraining.run(lambda done, _: heartbeat("train", done))
    made = Generator(model, vocabulary, prior.at(MOMENTS))
    popularity = {f"popularity.{name}": value for name, value in popularity_of(corpus, learned_E).items()}
    checkpoint = folder.next_id(time.time())
    with folder.writing(checkpoint) as path:
        model.save(path)
        vocabulary.save(path)
        made.prior.save(path)
        save_moments(pretraining.moments(), path)
        save_vectors(window.vectors, path)
        save_codebook(codebook, path / CODEBOOK)
        told = popularity | {"optimiser.bytes": (path / MOMENTS_FILE).stat().st_size}
        seal(path, _manifest(checkpoint, parent, codebook, window, corpus, held_E, cut, outcome, settings, told))
    heartbeat("gate", 0.0)
    asked = judge_candidate(
        Asked(made, corpus.codes_IL),
        None if parent is None else Asked(parent.generator, assigner(parent.codebook)(listed)),
        corpus,
        held_E,
        examples,
        settings.training,
        history=settings.model.history,
        ranking=ranker_rules(settings),
        heartbeat=lambda done: heartbeat("gate", done),
    )
    judgement = asked.judgement
    verdict: Verdict = "passed" if judgement.passed else "refused"
    reasons = [*judgement.reasons, f"decided by {judgement.rule}", *([note] if note else [])]
    manifest = folder.set_verdict(checkpoint, verdict, reasons, finite(asked.metrics()))
    return Result(manifest, judgement, outcome, changed)


def _churn(parent: LoadedCheckpoint, corpus: Corpus, listed: list[ItemCard]) -> list[float]:
    """By level, the share of items that no longer have the codes they had under the parent's codebook."""
    before_IL = assigner(parent.codebook)(listed)
    return churn(before_IL, corpus.codes_IL) if before_IL.shape == corpus.codes_IL.shape else [1.0]


def _enough(window: Window, settings: Settings, request: CodebookRequest) -> None:
    have, wanted = len(window.engagements) if request else window.new(), settings.training.min_engagements
    if have < wanted:
        kind = "engagements" if request else "new engagements"
        there = f"{have} {kind}" if have else f"there is nothing new to learn from: no {kind}"
        raise NotEnoughDataError(f"{there} of at least {wanted}: {wanted - have} are missing")
    if not window.items:
        raise NotEnoughDataError("no item has a semantic ID yet: publish uploads and run a worker")


def _spans(
    window: Window, corpus: Corpus, rules: Training, request: CodebookRequest
) -> tuple[Window, dict[int, int], str]:
    """The window with the place from which it is learned, the offsets from which it is held out, and what a reader of
    the verdict should know.

    A request for a codebook needs no new engagements. The changed codes are learned from older ones again, and the gate
    asks about the newest ones that the serving model has not learned from: in a quiet log those that its own gate
    held out, which the next run will find untouched. Only if even these are too few, it asks about ones that both know.
    """
    positive_E = corpus.weight_E > 0
    new, every = int((at_or_after(corpus, window.begin) & positive_E).sum()), int(positive_E.sum())
    if not request:
        if new < rules.min_engagements // 2:
            raise NotEnoughDataError(f"only {new} of the new engagements are positive ones with a live item")
        return window, cut_offsets(corpus, min(rules.gate_engagements, new // 3)), ""
    if every < rules.min_engagements // 2:
        raise NotEnoughDataError(f"only {every} engagements are positive ones with a live item")
    untouched = rules.gate_min_events <= new < every
    held = min(rules.gate_engagements, new if untouched else every // 3)
    wanted = rules.lookback_engagements if request == "anew" else rules.first_engagements
    reach = cut_offsets(corpus, max(new, held + wanted))
    begin = {partition: min(at, reach.get(partition, at)) for partition, at in window.begin.items()}
    note = "" if untouched or new == every else "judged on engagements that the serving model had learned from"
    return replace(window, begin=begin), cut_offsets(corpus, held), note


def _start(
    corpus: Corpus, settings: Settings, parent: LoadedCheckpoint | None, codebook: Codebook, window: Window
) -> tuple[Decoder, Vocabulary]:
    """The parent's weights and words under this codebook; or, in a first run, new ones."""
    seed = settings.training.seed
    if parent is not None:
        vocabulary = parent.generator.vocabulary.with_widths(codebook.widths)
        listed = [window.items[item_id] for item_id in corpus.item_ids]
        old_codes_IL = assigner(parent.codebook)(listed)
        return grown(parent.generator.model, vocabulary, old_codes_IL, corpus.codes_IL, seed), vocabulary
    vocabulary = train_vocabulary(filter(None, corpus.texts), codebook.widths, settings.model.text_vocabulary)
    shape = settings.model
    tower = TowerShape(own=shape.item_rows)
    made = Shape.of(vocabulary, layers=shape.layers, width=shape.width, heads=shape.heads, tower=tower)
    model = Decoder(made, seed)
    model.tower.begin(corpus.content_IC)
    return model, vocabulary


def _known_moments(folder: CheckpointFolder, parent: LoadedCheckpoint | None, codebook: Codebook) -> Moments:
    """What the parent's optimiser knew, but of codes that mean something else now."""
    if parent is None:
        return {}
    known = load_moments(folder.path(parent.manifest.checkpoint))
    return known if parent.codebook.version == codebook.version else without(known, OF_CODES)


def _pretraining(
    made: Generator,
    corpus: Corpus,
    held_E: np.ndarray,
    moment_E: np.ndarray,
    window: Window,
    settings: Settings,
    known: Moments,
) -> Pretraining:
    training = settings.training
    new_E = at_or_after(corpus, window.begin) & ~held_E
    older_E = ~new_E & ~held_E
    share = training.replay_ratio * new_E.sum() / max(1, older_E.sum())
    replayed_E = older_E & (np.random.default_rng(training.seed).random(len(corpus)) < share)
    learn_E = new_E | replayed_E
    known_E = moment_E > 0  # before the first moment there is no prior to learn beside
    weight_E = recency(corpus, new_E | older_E) * np.where(older_E & ~replayed_E, training.replay_ratio, 1.0)
    behaviour = Behaviour(
        corpus, made.vocabulary, learn_E & known_E, weight_E, settings.model.history, moment_E, older_E & known_E
    )
    plan = Plan(
        max_seconds=training.max_seconds, max_steps=training.max_steps, epochs=training.epochs, seed=training.seed
    )
    metadata = Metadata(corpus.texts, corpus.codes_IL, made.vocabulary, MOMENTS)
    own = made.model.shape.tower.own
    contrast = Contrast.of(corpus, made.prior, MOMENTS + 1, (new_E | older_E) & (corpus.weight_E > 0), own)
    return Pretraining(made.model, made.prior, behaviour, metadata, contrast, plan, known)


def _manifest(
    checkpoint: str,
    parent: LoadedCheckpoint | None,
    codebook: Codebook,
    window: Window,
    corpus: Corpus,
    held_E: np.ndarray,
    cut: Mapping[int, int],
    outcome: Outcome,
    settings: Settings,
    told: Mapping[str, float],
) -> Manifest:
    learned_E = ~held_E & at_or_after(corpus, window.begin)
    learned_E = learned_E if learned_E.any() else ~held_E
    topic = settings.topic(ENGAGEMENTS)
    ends = {partition: min(cut.get(partition, end), end) for partition, end in window.end.items()}
    return Manifest(
        checkpoint=checkpoint,
        parent=parent.manifest.checkpoint if parent is not None else None,
        codebook=codebook.version,
        created_at=time.time(),
        log={f"{topic}/{p}": LogRange(window.begin[p], max(ends[p], window.begin[p])) for p in sorted(ends)},
        occurred_from=float(corpus.occurred_E[learned_E].min()),
        occurred_until=float(corpus.occurred_E[learned_E].max()),
        data_until=float(corpus.stamp_E[learned_E].max()) / 1000.0,
        metrics=finite({f"training.{name}": float(value) for name, value in asdict(outcome).items()} | {**told}),
        code_version=_code_version(),
        seed=settings.training.seed,
        topic_id=window.topic_id,
    )


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: JSON has no NaN (a loss that was never taken), and a manifest must be read again."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def offsets_of(manifest: Manifest, topic: str) -> dict[int, int]:
    """Where the next run's new engagements begin: partition → offset."""
    named = {name.rpartition("/"): reached.end for name, reached in manifest.log.items()}
    return {int(partition): end for (at, _, partition), end in named.items() if at == topic}


def _code_version() -> str:
    try:
        return version("sidestream")
    except PackageNotFoundError:
        return "unknown"
