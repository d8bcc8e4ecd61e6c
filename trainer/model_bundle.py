"""The model bundle: what belongs to one checkpoint and is exchanged as one: model, codebook and live prefix tree.

Semantic IDs mean something only to the model that learned them, so a scorer never mixes the parts of two bundles. A
scorer may keep several bundles alive (the serving one, the one before it, one being prepared); each has its own tree,
and each follows the catalogue.

Invariant: the tree holds exactly the live items of the catalogue that it has been told of, under this codebook.
"""

from __future__ import annotations

import logging
import operator
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from store.checkpoints import Manifest
from store.histories import UserRow
from store.items import ItemCard
from store.memory.prefix_tree import PrefixTree
from store.requests import Request
from trainer.content.projection import raw_of
from trainer.items.catalog import Catalog
from trainer.model.branch_prior import SMOOTHING
from trainer.retrieval.top import best_of
from trainer.semantic_ids.codebook import Codebook, suffix_of
from trainer.semantic_ids.prefix_words import CardsByHandle, PrefixWords
from trainer.semantic_ids.word_map import parts_of

if TYPE_CHECKING:  # the model needs torch, which a worker without a checkpoint never loads
    from trainer.model.beam_search import Generator
    from trainer.model.item_table import ItemTable
    from trainer.model.prompts import Prompt

_STRIDE = 4096

log = logging.getLogger(__name__)

NO_CHECKPOINT = "none"
"""The checkpoint named in answers before there is one."""

COSTS = 200
"""So many answers of a bundle tell what one costs."""
NEWEST = 3
"""So many of the newest answers tell how long somebody has to wait for one."""

ITEM_QUOTA = 100
"""So many items are proposed by the score of all items."""


Asked = tuple[Request, UserRow | None]
"""A request and its user."""


class Published(Protocol):
    """Items' vectors as published (`trainer.items.published_vectors`)."""

    changes_N: np.ndarray

    def known(self, places: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class ItemPopularity:
    """The logits that the model's prior would have now: from the popularity in the catalogue whose half-life is nearest
    to the prior's, `half_life_s`; `unit` is the weight of one engagement there."""

    half_life_s: float = 8 * 86_400.0
    unit: float = 1.0

    def logits(self, catalog: Catalog, size: int, now_s: float) -> np.ndarray:
        """By handle."""
        window = int(np.argmin(np.abs(np.log(catalog.half_lives_s_W / self.half_life_s))))
        heat_N = catalog.heat_NW[:size, window] - now_s / catalog.half_lives_s_W[window]
        return np.asarray(np.log1p(np.exp2(np.maximum(heat_N, -40.0)) / (self.unit * SMOOTHING)), np.float32)


def popularity_in(manifest: Manifest) -> ItemPopularity:
    """What a checkpoint's manifest says of its prior."""
    told = {name: manifest.metrics.get(f"popularity.{name}", 0.0) for name in ("half_life_s", "unit")}
    return ItemPopularity(**{name: value for name, value in told.items() if value > 0})


@dataclass(frozen=True, slots=True)
class Expected:
    """What the model expects of one request. `handles_M`: found by beam search, with log-probabilities `logs_M`, best
    first. `suits_N`: by handle, how much more than its popularity each item suits; `gain`: what popularity counts."""

    handles_M: np.ndarray
    logs_M: np.ndarray
    suits_N: np.ndarray
    gain: float


@dataclass(slots=True, eq=False)
class ModelBundle:
    """One checkpoint ready to serve. `published`: the vectors that its items are read with. `history`: how many
    engagements of a user the model reads. `published_at`, `data_until`: epoch seconds. Failures are counted."""

    codebook: Codebook
    checkpoint: str = NO_CHECKPOINT
    generator: Generator | None = None
    published_at: float = 0.0
    data_until: float = 0.0
    beams: int = 24
    published: Published | None = None
    history: int = 100
    popularity: ItemPopularity = field(default_factory=ItemPopularity)
    tree: PrefixTree = field(init=False)
    words: PrefixWords = field(init=False)
    asked: int = 0
    failures: int = 0
    _costs_s: deque[float] = field(default_factory=lambda: deque(maxlen=COSTS))
    _took_s: deque[float] = field(default_factory=lambda: deque(maxlen=NEWEST))
    _table: ItemTable | None = None

    def __post_init__(self) -> None:
        self.tree = PrefixTree(self.codebook.widths)
        self.words = PrefixWords(self.tree)
        if self.generator is not None and self.published is not None:
            from trainer.model.item_table import ItemTable

            self._table = ItemTable(self.generator.model, self.published)

    def takes(self, card: ItemCard) -> bool:
        """Whether the card's codes, if they are of this codebook, are some that it has."""
        if card.codebook != self.codebook.version:
            return True
        widths = self.codebook.widths
        return len(card.codes) == len(widths) and all(map(operator.lt, card.codes, widths)) and min(card.codes) >= 0

    def codes(self, cards: Sequence[ItemCard]) -> np.ndarray:
        """Codes (N, levels) of cards under this codebook: as published, or assigned here from their content."""
        codes_NL = np.zeros((len(cards), self.codebook.levels), np.int32)
        others = []
        for place, card in enumerate(cards):
            if card.codebook == self.codebook.version:
                codes_NL[place] = card.codes
            else:
                others.append(place)
        if others:
            codes_NL[others] = self.codebook.assign_parts([parts_of(cards[place]) for place in others])
        return codes_NL

    def insert(self, handle: int, card: ItemCard) -> None:
        """Puts a live item into the tree, or moves it."""
        codes_L = self.codes([card])[0]
        self.tree.insert(handle, codes_L)
        self._describe([handle], codes_L[None], [card])

    def insert_many(self, handles: Sequence[int], cards: Sequence[ItemCard]) -> None:
        """`fill`, with some cards."""
        self.fill(zip(handles, cards, strict=True))

    def fill(self, cards: Iterable[tuple[int, ItemCard]]) -> None:
        """Fills the tree, some thousand cards at a time; a hundred thousand items take seconds, so this is done before
        the bundle serves."""
        handles: list[int] = []
        codes: list[np.ndarray] = []
        coming = iter(cards)
        while some := list(islice(coming, _STRIDE)):
            mine = [card for _, card in some]
            codes_NL = self.codes(mine)
            self._describe([handle for handle, _ in some], codes_NL, mine)
            handles += [handle for handle, _ in some]
            codes.append(codes_NL)
        if handles:
            self.tree.insert_many(np.asarray(handles), np.concatenate(codes))

    def _describe(self, handles: Sequence[int], codes_NL: np.ndarray, cards: Sequence[ItemCard]) -> None:
        if self._table is not None and cards:
            raw_NR = np.stack([raw_of(card) for card in cards])
            self._table.describe(handles, codes_NL, raw_NR, [card.item_id for card in cards])

    def remove(self, handle: int) -> None:
        self.tree.remove(handle)

    def semantic_id(self, handle: int) -> list[int]:
        """The item's codes, empty when it is not live."""
        return list(self.tree.codes_of(handle) or ())

    def whole_id(self, handle: int, item_id: str) -> list[int]:
        """The codes and, last, the suffix that tells items with equal codes apart; empty when the item is not live."""
        codes = self.semantic_id(handle)
        return [*codes, suffix_of(item_id)] if codes else []

    def prefix_words(self, handle: int, cards: CardsByHandle, count: int = 5) -> list[str]:
        """Words that tell what the items below this one's first code are about; empty when it is not live."""
        codes = self.tree.codes_of(handle)
        return self.words.below(codes[:1], cards, count) if codes else []

    def expect(self, request: Request, user: UserRow | None, handles: Mapping[str, int], now_s: float) -> Expected:
        """What the model expects: live items by constrained beam search, and a score of all. Nothing when there is no
        model, or when it fails (counted: the scorer rolls back on that); a request never fails with the model."""
        return self.expect_many([(request, user)], handles, now_s)[0]

    def expect_many(self, asked: Sequence[Asked], handles: Mapping[str, int], now_s: float) -> list[Expected]:
        """`expect` of several requests, by one pass of the model: what each has alone, to rounding. If that fails each
        is asked for alone, so that one request takes nothing from the others."""
        if self.generator is None or not asked:
            return [_NOTHING] * len(asked)
        began, began_at = time.thread_time(), time.monotonic()
        try:
            found = self._expect(self.generator, asked, handles, now_s)
        except Exception:
            if len(asked) > 1:
                return [self.expect(request, user, handles, now_s) for request, user in asked]
            self.failures += 1
            log.exception("the model of %s failed; the answer goes without it", self.checkpoint)
            found = [_NOTHING]
        self.asked += len(asked)
        if len(asked) == 1:  # others share a pass, the more the busier it is: no measure of a checkpoint
            self._costs_s.append(time.thread_time() - began)
            self._took_s.append(time.monotonic() - began_at)
        return found

    def answers_within(self, most_ms: float) -> bool:
        """Whether most of the newest answers, those of its warming among them, were there in time."""
        took_s = sorted(self._took_s)
        return len(took_s) == NEWEST and 1000.0 * took_s[NEWEST // 2] <= most_ms

    def cost_ms(self, least: int) -> float | None:
        """Processor time of an answer, the median of the newest; None where fewer than `least` are known."""
        costs_s = sorted(self._costs_s)  # copied in one step: another thread may be answering
        return 1000.0 * costs_s[len(costs_s) // 2] if len(costs_s) >= max(1, least) else None

    def forget_warming(self) -> None:
        """What was asked so far was asked by nobody. How long it took is all that is known, so that stays."""
        self.asked = 0
        self._costs_s.clear()

    def prompt(self, request: Request, user: UserRow | None, handles: Mapping[str, int], now_s: float) -> Prompt:
        """What the model reads of a request."""
        from trainer.model.prompts import Past, PromptLimits, prompt_for

        assert self.generator is not None
        history = []
        newest = islice(user.decisions(), 2 * self.history) if user is not None else ()
        for entry in reversed([*newest]):  # as in training: what a user turned away is part of the history
            handle = handles.get(entry.item_id, -1)
            codes = self.tree.codes_of(handle)
            if codes:
                history.append(Past(codes, entry.kind, entry.occurred_at, entry.value, handle))
        at_hand = handles.get(request.item_id or "", -1)
        context = self.tree.codes_of(at_hand)
        return prompt_for(
            self.generator.vocabulary,
            task=request.task,
            now=now_s,
            history=history,
            attributes=user.attributes if user is not None else None,
            context=Past(context, 0, 0.0, None, at_hand) if context else None,
            query=request.query,
            country=request.country,
            device=request.device,
            limits=PromptLimits(history=self.history),
        )

    def _expect(
        self, generator: Generator, asked: Sequence[Asked], handles: Mapping[str, int], now_s: float
    ) -> list[Expected]:
        prompts = [self.prompt(request, user, handles, now_s) for request, user in asked]
        asked_RD = generator.read(prompts, self._table)
        if not asked_RD.isfinite().all():
            raise ValueError(f"{self.checkpoint} reads this request as numbers that are not finite")
        suits_RN, gain_R = [_NOTHING.suits_N] * len(asked), [0.0] * len(asked)
        if self._table is not None:
            found_RN, found_R = generator.suits(prompts, asked_RD, self._table)
            suits_RN, gain_R = [*found_RN], found_R.tolist()
        searched = generator.search(asked_RD, self.tree, self.beams)
        return [self._found(*one) for one in zip(searched, suits_RN, gain_R, strict=True)]

    def _found(self, leaves: list[tuple[int, float]], suits_N: np.ndarray, gain: float) -> Expected:
        if not leaves:
            return Expected(_NOTHING.handles_M, _NOTHING.logs_M, suits_N, gain)
        place_M, items_M = self.tree.items_of([leaf for leaf, _ in leaves])
        score_M = np.array([probability for _, probability in leaves])[place_M]
        order = np.argsort(-score_M, kind="stable")
        return Expected(items_M[order], score_M[order], suits_N, gain)


_NOTHING = Expected(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.float32), 0.0)


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """What the model says of one request, over the handles of its evidence. `score_N`: how much each suits and, as far
    as the model counts on it, how popular it is now; `codes_N`: log-probability by beam search, NaN for the others.
    `log_total`: what scores are less to be the log-probabilities of what may be returned."""

    suits_N: np.ndarray
    score_N: np.ndarray
    codes_N: np.ndarray
    proposed: dict[str, np.ndarray]
    log_total: float = 0.0

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What the ranker sees, by the names of its features: the score as a log-probability, which means the same in
        every request and of every checkpoint."""
        return {"model": self.suits_N, "model_score": self.score_N - self.log_total, "model_codes": self.codes_N}


def model_evidence(
    serving: ModelBundle,
    request: Request,
    user: UserRow | None,
    catalog: Catalog,
    allowed_N: np.ndarray,
    now_s: float,
    expected: Expected | None = None,
) -> ModelEvidence | None:
    """What the model of a bundle says; None when there is none, or when it failed. `expected`: what it said before, if
    it was asked with others."""
    if expected is None:
        expected = serving.expect(request, user, catalog.handles, now_s)
    size = len(allowed_N)
    if not len(expected.handles_M) and not len(expected.suits_N):
        return None
    known_M = expected.handles_M < size
    handles_M = expected.handles_M[known_M]
    codes_N = np.full(size, np.nan, np.float32)
    codes_N[handles_M] = expected.logs_M[known_M]
    proposed = {"model": handles_M[allowed_N[handles_M]]}
    suits_N = np.full(size, np.nan, np.float32)
    told = min(size, len(expected.suits_N))
    suits_N[:told] = expected.suits_N[:told]
    score_N = suits_N + expected.gain * serving.popularity.logits(catalog, size, now_s)
    if told:
        proposed["model_item"] = best_of(np.flatnonzero(np.isfinite(score_N)), score_N, allowed_N, ITEM_QUOTA)
    return ModelEvidence(suits_N, score_N, codes_N, proposed, _log_total(score_N[allowed_N]))


def _log_total(score_A: np.ndarray) -> float:
    score_A = score_A[np.isfinite(score_A)].astype(np.float64)
    most = float(score_A.max(initial=-np.inf))
    return most + float(np.log(np.exp(score_A - most).sum())) if len(score_A) else 0.0
