"""The model in a replay: trained, judged and swapped in event time by the functions of a running system.

Every so many engagements a training run reads what has passed (`trainer.runs.training_run`, gate and all), continues
the checkpoint before it, and writes a folder. A running system would not have it at once: a run takes a share of the
time between two runs. So the new model serves after that share of the engagements, and until then the one before it.
Semantic IDs are those of the checkpoint's codebook, which the first run learns; items get them when the model comes.

Beside the ranker a second one learns from the same examples without the model's features, and ranks what other sources
propose: the pair tells what the model adds. An item is younger than the checkpoint when it was uploaded after
the newest engagement that the checkpoint has learned from.

Invariant: no model has learned from an engagement at or after the one that it is asked about.
"""

from __future__ import annotations

import logging
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from store.checkpoints import SERVABLE, CheckpointFolder
from store.events import Engagement
from store.items import ItemCard
from store.log import LoggedEngagement
from store.settings import Settings
from store.topics import ENGAGEMENTS
from trainer.candidate_ranking import Ranking
from trainer.checkpoint_loading import LoadedCheckpoint, load_checkpoint
from trainer.evaluation.model_in_replay import ColdOutcome, ModelOutcome, ModelRecord
from trainer.examples import RankedEngagement
from trainer.gate.system_gain import COLUMNS
from trainer.model_bundle import ModelBundle, popularity_in
from trainer.ranking.example import Example
from trainer.ranking.learner import Snapshot
from trainer.ranking.ranker import Ranker
from trainer.recommender import Recommender
from trainer.runs.log_window import Window
from trainer.runs.ranker_job import RECENT
from trainer.runs.starting.span import NotEnoughDataError
from trainer.runs.training_run import offsets_of, run_training
from trainer.semantic_ids.cards import renewed_cards

log = logging.getLogger(__name__)

MOST_COLD = 3000


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """`every`: engagements between two training runs; `first`: how many before the first. A new model serves after
    `swap_after` of the engagements until the next run. With `ungated`, whatever the gate says."""

    every: int = 10_000
    first: int = 5_000
    swap_after: float = 0.2
    ungated: bool = False


class ReplayedModel:
    """Trains on what it has `heard`, and serves in `recommender`."""

    def __init__(self, recommender: Recommender, settings: Settings, options: ModelOptions, folder: Path) -> None:
        self.record = ModelRecord()
        self.without: Ranker | None = None
        self._recommender = recommender
        self._settings, self._options = settings, options
        self._folder = CheckpointFolder(folder)
        self._heard: list[LoggedEngagement] = []
        self._examples: deque[Example] = deque(maxlen=RECENT)
        self._next_run = options.first
        self._newest: LoadedCheckpoint | None = None
        self._coming: tuple[int, LoadedCheckpoint, ModelBundle] | None = None
        self._serving: LoadedCheckpoint | None = None

    def hear(self, event: Engagement) -> None:
        self._heard.append(LoggedEngagement(event, 0, len(self._heard), int(event.occurred_at * 1000)))

    def follow(self, card: ItemCard) -> None:
        handle = self._recommender.catalog.handles[card.item_id]
        for bundle in [self._recommender.serving] + ([self._coming[2]] if self._coming else []):
            bundle.insert(handle, card)

    def advance(self) -> None:
        if self._coming is not None and len(self._heard) >= self._coming[0]:
            _, self._serving, bundle = self._coming
            self._coming = None
            self._recommender.exchange(bundle)
            self._rename()
        if len(self._heard) >= self._next_run:
            self._next_run += self._options.every
            self._train()

    def judge(
        self, place: int, ranked: RankedEngagement | None, handle: int | None, *, evaluated: bool, cold: bool
    ) -> None:
        example, ranking = ranked if ranked is not None else (None, None)
        if example is not None:
            self._examples.append(example)
        if evaluated:
            self.record.outcomes.append(self._outcome(place, ranking, handle))
        if cold and ranking is not None and handle is not None:
            self._note_cold(place, ranking, handle)

    def _outcome(self, place: int, ranking: Ranking | None, handle: int | None) -> ModelOutcome:
        alone, without_rank, serving = -1, -1, self._serving
        if ranking is not None and handle is not None:
            if ranking.model is not None:
                alone = _rank_alone(ranking, handle)
            without_rank = self._rank_without(ranking, handle)
        younger = serving is not None and self._younger(handle)
        behind = len(self._heard) - (self._end(serving) if serving is not None else 0)
        return ModelOutcome(place, serving is not None, alone, without_rank, younger, behind)

    def _note_cold(self, place: int, ranking: Ranking, handle: int) -> None:
        if ranking.model is None or len(self.record.cold) >= MOST_COLD:
            return
        positives_N = self._recommender.catalog.positives_N[: ranking.evidence.size]
        cold = np.flatnonzero(ranking.allowed_N & (positives_N == 0))
        own = np.flatnonzero(cold == handle)
        if len(own):
            model, content = ranking.model.suits_N[cold], ranking.evidence.of("content_taste", cold)
            ranks = (_middle_rank(model, int(own[0])), _middle_rank(content, int(own[0])))
            self.record.cold.append(ColdOutcome(place, *ranks, len(cold)))

    def fit(self, snapshot: Snapshot) -> None:
        """Fits the ranker that does not see the model, as long as there is one."""
        if self._serving is None:
            self.without = None
            return
        self.without = replace(snapshot, rules=replace(snapshot.rules, blank=COLUMNS)).fit()

    def _younger(self, handle: int | None) -> bool:
        assert self._serving is not None
        uploaded_at_N = self._recommender.catalog.uploaded_at_N
        return handle is not None and bool(uploaded_at_N[handle] > self._serving.manifest.occurred_until)

    def _rank_without(self, ranking: Ranking, handle: int) -> int:
        others = [handles for name, handles in ranking.proposed.items() if not name.startswith("model")]
        kept_B = (
            np.isin(ranking.handles_B, np.concatenate(others)) if others else np.zeros(len(ranking.handles_B), bool)
        )
        place = np.flatnonzero(ranking.handles_B[kept_B] == handle)
        if not len(place) or self.without is None:
            return int(place[0]) if len(place) else -1
        x_BF = ranking.x_BF[kept_B].copy()
        x_BF[:, list(COLUMNS)] = 0.0
        score_B = self.without.score(x_BF)
        return int(np.sum(score_B > score_B[place[0]]))

    def _train(self) -> None:
        cpu = time.process_time()
        cards = {card.item_id: card for card in self._recommender.catalog.cards if card is not None}
        since = self._end(self._newest) if self._newest is not None else 0
        first = max(0, since - self._settings.training.lookback_engagements)
        published = self._recommender.published
        handles = np.array([self._recommender.catalog.handles[item_id] for item_id in cards], np.int64)
        known_ND = published.known(handles).astype(np.float16)
        vectors = {name: vector for name, vector in zip(cards, known_ND, strict=True) if vector.any()}
        window = Window(cards, {}, self._heard[first:], {0: since}, {0: len(self._heard)}, "", vectors)
        try:
            result = run_training(
                window,
                self._settings,
                self._folder,
                self._newest,
                lambda _step, _done: None,
                examples=list(self._examples),
            )
        except NotEnoughDataError as error:
            log.info("no run: %s", error)
            return
        passed = result.manifest.verdict in SERVABLE or self._options.ungated
        if passed:
            loaded = load_checkpoint(self._folder, result.manifest.checkpoint)
            wait = round(self._options.swap_after * self._options.every)
            self._newest, self._coming = loaded, (len(self._heard) + wait, loaded, self._bundle(loaded, cards))
        self.record.runs.append(
            {
                "at": len(self._heard),
                "passed": passed,
                "reasons": result.judgement.reasons,
                "cpu_s": round(time.process_time() - cpu, 1),
                **{name: round(value, 4) for name, value in result.manifest.metrics.items()},
            }
        )

    def _bundle(self, loaded: LoadedCheckpoint, cards: dict[str, ItemCard]) -> ModelBundle:
        bundle = ModelBundle(
            loaded.codebook,
            checkpoint=loaded.manifest.checkpoint,
            generator=loaded.generator,
            data_until=loaded.manifest.data_until,
            published=self._recommender.published,
            history=self._settings.model.history,
            popularity=popularity_in(loaded.manifest),
        )
        bundle.insert_many([self._recommender.catalog.handles[item_id] for item_id in cards], list(cards.values()))
        return bundle

    def _rename(self) -> None:
        """Gives every live item its semantic ID under the codebook that serves now, if it has another."""
        assert self._serving is not None
        book = self._serving.codebook
        old = [card for card in self._recommender.catalog.cards if card is not None and card.codebook != book.version]
        for card in renewed_cards(old, book, self._recommender.now_s) if old else []:
            self._recommender.insert(card)

    def _end(self, loaded: LoadedCheckpoint) -> int:
        """The offset up to which a checkpoint has learned."""
        return offsets_of(loaded.manifest, self._settings.topic(ENGAGEMENTS)).get(0, 0)


def trained_every(every: int, settings: Settings) -> Callable[[Recommender], ReplayedModel]:
    """What makes a replay's model, as settings say; its checkpoints lie in a folder of its own, which goes with it."""
    first = min(every, settings.training.first_engagements)
    options = ModelOptions(every=every, first=first, swap_after=settings.training.run_share)

    def made(recommender: Recommender) -> ReplayedModel:
        folder = tempfile.TemporaryDirectory(prefix="sidestream-replay-")
        model = ReplayedModel(recommender, settings, options, Path(folder.name))
        weakref.finalize(model, folder.cleanup)
        return model

    return made


def _rank_alone(ranking: Ranking, handle: int) -> int:
    assert ranking.model is not None
    score_N = np.where(ranking.allowed_N, ranking.model.score_N, -np.inf)
    return int(np.sum(score_N > score_N[handle]))


def _middle_rank(score_B: np.ndarray, own: int) -> int:
    """The place of one among all; ties count half."""
    return int(np.sum(score_B > score_B[own])) + (int(np.sum(score_B == score_B[own])) - 1) // 2
