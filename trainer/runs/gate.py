"""The gate: no model serves unless it holds on the newest events, which neither it nor the serving model has seen.

Each held-out engagement is asked for with what was known before it; both models answer by constrained decoding over
the same live items (each under its own codebook), and so does the list of what is popular. Compared is, event by event,
the gain of the true item's rank (NDCG at 10) overall, per task and on fresh items (fewer than 5 engagements in what the
candidate learned from).

A candidate is refused on a slice only when the evidence says so: when its gain is below the serving model's less the
tolerance by more than chance explains (one-sided, 90 %), or its hits below a share of what popularity gets. Slices of
fewer than `min_events` are reported and do not decide.

Invariant: `judge` is a pure function; the same scores give the same verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from store.prefix_tree import PrefixTree
from trainer.model.beam_search import Generator
from trainer.model.corpus import Corpus
from trainer.model.prompts import Past, Prompt, prompt_for
from trainer.model.vocabulary import TASKS

FRESH_BELOW = 5
"""An item is fresh with fewer engagements than this in what was learned from."""
_CUTOFF = 10
_CONFIDENCE_Z = 1.2816
"""One-sided 90 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """`tolerance`: part of the serving model's gain that a candidate may lack; `floor`: part of popular's hits that it
    must reach; `min_events`: the smallest slice that decides; below `least_events` overall nothing passes."""

    tolerance: float = 0.05
    floor: float = 0.25
    min_events: int = 50
    least_events: int = 20


@dataclass(frozen=True, slots=True)
class Scores:
    """How one model did on each of N events: hit (0 or 1) and gain (NDCG) at 10."""

    hit_N: np.ndarray
    gain_N: np.ndarray


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons, and hit ratio and gain per (role, slice): role is candidate, serving or popular."""

    passed: bool
    reasons: list[str]
    hit_ratio: dict[tuple[str, str], float] = field(default_factory=dict)
    gain: dict[tuple[str, str], float] = field(default_factory=dict)


def judge(
    slices: Mapping[str, np.ndarray], candidate: Scores, serving: Scores | None, popular: Scores, rules: GateRules
) -> Judgement:
    """The verdict. `slices`: name → which of the N events it holds (bool); `overall` must be among them."""
    reasons: list[str] = []
    if (asked := int(slices["overall"].sum())) < rules.least_events:
        reasons.append(f"only {asked} held-out engagements with items new to their users: too few to judge on")
    for name, mask_N in slices.items():
        if mask_N.sum() < rules.min_events:
            continue
        if serving is not None:
            wanted_N = (1.0 - rules.tolerance) * serving.gain_N[mask_N]
            if _surely_below(candidate.gain_N[mask_N], wanted_N):
                got, had = candidate.gain_N[mask_N].mean(), serving.gain_N[mask_N].mean()
                reasons.append(f"{name}: NDCG@10 {got:.4f}, the serving checkpoint {had:.4f}, on {mask_N.sum()} events")
        if name == "overall" and _surely_below(candidate.hit_N[mask_N], rules.floor * popular.hit_N[mask_N]):
            got, had = candidate.hit_N[mask_N].mean(), popular.hit_N[mask_N].mean()
            reasons.append(f"{name}: hits {got:.4f}, less than {rules.floor:g} of popular's {had:.4f}")
    roles = {"candidate": candidate, "popular": popular} | ({"serving": serving} if serving is not None else {})
    held = {name: mask_N for name, mask_N in slices.items() if mask_N.any()}
    return Judgement(
        passed=not reasons,
        reasons=reasons or [f"holds on {int(slices['overall'].sum())} held-out engagements"],
        hit_ratio={(r, n): float(s.hit_N[m].mean()) for r, s in roles.items() for n, m in held.items()},
        gain={(r, n): float(s.gain_N[m].mean()) for r, s in roles.items() for n, m in held.items()},
    )


def _surely_below(got_N: np.ndarray, wanted_N: np.ndarray) -> bool:
    """Whether the paired difference is below zero by more than its standard error explains."""
    difference_N = got_N - wanted_N
    error = difference_N.std(ddof=1) / np.sqrt(len(difference_N)) if len(difference_N) > 1 else np.inf
    return bool(difference_N.mean() + _CONFIDENCE_Z * error < 0)


@dataclass(frozen=True, slots=True)
class HeldOutEvents:
    """The events that a gate asks about: places in the corpus, their slices, and what was learned before them."""

    corpus: Corpus
    event_N: np.ndarray
    seen_E: np.ndarray
    """Which events (E bool) the candidate has learned from."""

    @staticmethod
    def of(corpus: Corpus, held_E: np.ndarray, limit: int, seed: int) -> HeldOutEvents:
        """At most `limit` of the held-out positive engagements with an item that their user does not have yet."""
        positive_E = corpus.weight_E > 0
        pair_E = corpus.user_E * len(corpus.item_ids) + corpus.item_E
        first = np.zeros(len(corpus), bool)
        first[np.unique(np.where(positive_E, pair_E, -1 - np.arange(len(corpus))), return_index=True)[1]] = True
        event_N = np.flatnonzero(held_E & positive_E & first)
        if len(event_N) > limit:
            event_N = np.sort(np.random.default_rng(seed).choice(event_N, limit, replace=False))
        return HeldOutEvents(corpus, event_N, ~held_E)

    def slices(self) -> dict[str, np.ndarray]:
        """overall, fresh, and one for each task that is named."""
        corpus = self.corpus
        learned_I = np.bincount(corpus.item_E[self.seen_E & (corpus.weight_E > 0)], minlength=len(corpus.item_ids))
        found = {
            "overall": np.ones(len(self.event_N), bool),
            "fresh": learned_I[corpus.item_E[self.event_N]] < FRESH_BELOW,
        }
        for place, task in enumerate(TASKS):
            mask_N = corpus.task_E[self.event_N] == place
            if mask_N.any():
                found[task] = mask_N
        return found

    def has(self, event: int) -> set[int]:
        """Items that the user has, by a positive engagement, before the event."""
        begin = self._begin(event)
        return set(self.corpus.item_E[begin:event][self.corpus.weight_E[begin:event] > 0].tolist())

    def past(self, event: int, codes_IL: np.ndarray, length: int) -> list[Past]:
        """The user's history before the event, oldest first."""
        corpus = self.corpus
        return [
            Past(
                codes_IL[corpus.item_E[e]].tolist(),
                int(corpus.kind_E[e]),
                float(corpus.occurred_E[e]),
                None if np.isnan(corpus.value_E[e]) else float(corpus.value_E[e]),
            )
            for e in range(max(self._begin(event), event - length), event)
        ]

    def _begin(self, event: int) -> int:
        return int(np.searchsorted(self.corpus.user_E, self.corpus.user_E[event]))

    def popular(self, window: float = 0.05) -> Scores:
        """What the most engaged items of the newest part of what was learned would have scored."""
        corpus = self.corpus
        learned = np.flatnonzero(self.seen_E & (corpus.weight_E > 0))
        newest = learned[np.argsort(corpus.occurred_E[learned], kind="stable")][-max(100, int(window * len(learned))) :]
        count_I = np.bincount(corpus.item_E[newest], minlength=len(corpus.item_ids))
        order = np.argsort(-count_I, kind="stable")
        ranks = [_rank(order[: _CUTOFF + len(has)].tolist(), int(corpus.item_E[e]), has) for e, has in self._asked()]
        return _scores(ranks)

    def _asked(self) -> list[tuple[int, set[int]]]:
        return [(int(event), self.has(int(event))) for event in self.event_N]


def evaluate_model(
    generator: Generator,
    held_out: HeldOutEvents,
    codes_IL: np.ndarray,
    *,
    beams: int = 32,
    history: int = 50,
    batch: int = 32,
    heartbeat: Callable[[float], object] = float,
) -> Scores:
    """How a model does. `codes_IL`: codes of the corpus's items under that model's codebook.

    Items in one leaf are ranked by how often they were engaged with in what was learned.
    """
    corpus = held_out.corpus
    tree = PrefixTree(generator.vocabulary.widths)
    tree.insert_many(np.arange(len(codes_IL)), codes_IL)
    learned_I = np.bincount(corpus.item_E[held_out.seen_E], minlength=len(corpus.item_ids))
    asked = held_out._asked()
    ranks: list[int | None] = []
    for begin in range(0, len(asked), batch):
        heartbeat(begin / len(asked))
        chunk = asked[begin : begin + batch]
        prompts = [_prompt(generator, held_out, event, codes_IL, history) for event, _ in chunk]
        for (event, has), leaves in zip(chunk, generator.generate(prompts, tree, beams), strict=True):
            items = [i for leaf, _ in leaves for i in sorted(tree.items(leaf).tolist(), key=lambda i: -learned_I[i])]
            ranks.append(_rank(items, int(corpus.item_E[event]), has))
    return _scores(ranks)


def _prompt(generator: Generator, held_out: HeldOutEvents, event: int, codes_IL: np.ndarray, history: int) -> Prompt:
    corpus = held_out.corpus
    query, context = corpus.asked.get(event, (None, None))
    task = int(corpus.task_E[event])
    return prompt_for(
        generator.vocabulary,
        task=TASKS[task] if task >= 0 else ("search" if query else "home"),
        now=float(corpus.occurred_E[event]),
        history=held_out.past(event, codes_IL, history),
        attributes=corpus.attributes.get(int(corpus.user_E[event])),
        context=None if context is None else codes_IL[context].tolist(),
        query=query,
    )


def _rank(items: Sequence[int], true: int, has: set[int]) -> int | None:
    """The place (0 is first) of the true item among those that the user does not have, None beyond the cutoff."""
    place = 0
    for item in items:
        if item == true:
            return place
        if item not in has:
            place += 1
            if place == _CUTOFF:
                return None
    return None


def _scores(ranks: Sequence[int | None]) -> Scores:
    hit_N = np.array([rank is not None for rank in ranks], np.float64)
    gain_N = np.array([0.0 if rank is None else 1.0 / np.log2(rank + 2.0) for rank in ranks])
    return Scores(hit_N, gain_N)
