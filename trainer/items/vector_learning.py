"""Vector learning: item vectors learned per micro-batch from signals, so that a user's next item lies near the last.

The model is a factored item similarity (FISM, Kabbur et al. 2013) under a cosine softmax: a user's vector is the
discounted mean of the vectors of the items just before, so it is a function of the history and of the item vectors as
they are now, always current, and nothing of it is stored. Each signal is one softmax: its item against the other items
of the micro-batch, a sample of recent ones, so that popular items are drawn often, which log q takes back (Yi et al.,
RecSys 2019), and hard negatives: what lies nearest to some of the users. Both ends learn: the item moves to its
context, the owned part of the context moves to it. Steps are row-wise Adagrad.

A partition's learner writes only rows that the partition owns, and draws its negatives among these; vectors of others
are read from what their owners published. A new row starts where content and semantic-ID prefix say, as far as they say
anything (`trainer.items.published_vectors`), and its first steps are long: it is freed as evidence comes.

Invariants: a learner is a function of its table, the published vectors, the sequence of `learn` calls and the seed. How
signals fall into these calls changes vectors within a tolerance: on the world of `tests/trainer`, between batches of
1, 5, 16 and 100 signals the likenesses of items correlate above .8, and groups are found as well but for .1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import Protocol

import numpy as np

from store.embeddings import Block, EmbeddingRules
from store.items import ItemRow
from store.keys import Owned
from store.signals import Signal
from trainer.items.memory_table import MemoryTable
from trainer.items.spectral_embedding import unit

Owns = Callable[[str], bool]
"""Whether the learner's partition owns an item."""


class Published(Protocol):
    """All items' vectors as their owners published them: `trainer.items.published_vectors.PublishedVectors`."""

    def of(self, item_ids: Sequence[str]) -> np.ndarray:
        """Vectors (N × D), a copy; of an item that nobody has published, the expectation: shorter than 1, or zeros."""
        ...

    def nearest(self, users_UD: np.ndarray, k: int, draw: int) -> list[str]:
        """The k nearest to each user, of all or of a part of the catalogue that the number `draw` chooses."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorRules:
    """`width` is at most 512; `context` newest items speak, weighing (1 + place) ** -power; logits are cosines over
    `temperature`; `rate` is the length of a row's first step; up to `chunk` signals take one step together; `negatives`
    are drawn for each `learn` from the last `pool` items engaged with; the `hard` nearest to each of `hard_users` users
    join them, as far as they are owned. An item in a signal's context is no negative of it."""

    width: int = 64
    context: int = 6
    position_power: float = 0.7
    temperature: float = 0.1
    rate: float = 0.8
    chunk: int = 64
    negatives: int = 128
    hard: int = 20
    hard_users: int = 4
    pool: int = 20_000
    seed: int = 0


class Table(Protocol):
    """Where rows are kept: `store.embeddings.EmbeddingStore`, or `MemoryTable`."""

    def read(self, keys: Sequence[str]) -> Block: ...

    def stage(self, keys: Sequence[str], block: Block) -> None: ...


class VectorLearner:
    """The learner of one partition. `absorb` is all that happens per signal; `learn` does the rest per micro-batch."""

    def __init__(self, table: Table, owns: Owns, published: Published, rules: VectorRules = VectorRules()) -> None:
        self.table = table
        self.rules = rules
        self._owns = owns
        self._published = published
        self._pending: list[Signal] = []
        self._pool: list[str] = []
        self._drawn = 0
        self._discount_L = ((1.0 + np.arange(rules.context)) ** -rules.position_power).astype(np.float32)

    def absorb(self, signal: Signal) -> None:
        """Takes a signal of an owned item; what is not positive teaches no vector."""
        if signal.weight > 0:
            self._pending.append(signal)

    @property
    def pending(self) -> int:
        """How many signals wait to be learned from."""
        return len(self._pending)

    def learn(self) -> dict[str, tuple[np.ndarray, float]]:
        """`advance`; returns, for each item that had a signal and is admitted, its vector (D, float32, of length 1) and
        step accumulator."""
        changed = list(self.advance())
        block = self.table.read(changed)
        admitted = np.flatnonzero(block.admitted_B).tolist()
        return {changed[place]: (block.vectors_BD[place], float(block.steps_B[place])) for place in admitted}

    def advance(self) -> dict[str, None]:
        """Learns what was absorbed and stages the changed rows as one block. Returns the items that had a signal."""
        signals, self._pending = self._pending, []
        batch = _Batch(signals, self._draw(signals), self._owns, self.rules.context)
        block = self.table.read(batch.owned)
        x_ND, step_N = self._begin(batch, block)
        before_N = step_N.copy()
        for first in range(0, len(signals), self.rules.chunk):
            self._step(batch, slice(first, first + self.rules.chunk), x_ND, step_N)
        changed_N = step_N != before_N
        self._remember(signals)
        owned = len(batch.owned)
        sights_B = block.sights_B + np.bincount(batch.targets_P, minlength=owned)
        at_s_B = block.at_s_B.copy()
        np.maximum.at(at_s_B, batch.targets_P, np.fromiter((signal.occurred_at for signal in signals), float))
        changed_N[batch.targets_P] = True
        known = np.flatnonzero(changed_N[:owned] & (sights_B > 0))  # what has only been context is not a row yet
        self.table.stage(
            [batch.owned[place] for place in known.tolist()],
            Block(x_ND[known], step_N[known], sights_B[known], at_s_B[known], sights_B[known] > 0),
        )
        return dict.fromkeys(signal.item_id for signal in signals)

    def _draw(self, signals: Sequence[Signal]) -> list[str]:
        """Negatives for these signals: recent items, and what lies nearest to some of the users."""
        speaking = [signal for signal in signals if signal.context]
        if not speaking:
            return []
        rng = np.random.default_rng((self.rules.seed, self._drawn))
        self._drawn += 1
        places = rng.integers(0, len(self._pool), self.rules.negatives) if self._pool else np.zeros(0, np.int64)
        drawn = [self._pool[place] for place in places.tolist()]
        chosen = rng.permutation(len(speaking))[: self.rules.hard_users].tolist()
        users_UD = np.stack([self._user_of(speaking[place]) for place in chosen])
        nearest = self._published.nearest(users_UD, self.rules.hard, int(rng.integers(1 << 30)))
        return drawn + [item_id for item_id in nearest if self._owns(item_id)]

    def _user_of(self, signal: Signal) -> np.ndarray:
        """The user's vector by what is published."""
        context = signal.context[: self.rules.context]
        return np.asarray(self._discount_L[: len(context)] @ self._published.of(context))

    def _remember(self, signals: Sequence[Signal]) -> None:
        self._pool.extend(signal.item_id for signal in signals)
        if len(self._pool) > self.rules.pool + self.rules.pool // 4:
            del self._pool[: -self.rules.pool]

    def _begin(self, batch: _Batch, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Vectors and step accumulators, owned rows first; new rows start where they are expected, or by their id."""
        new = np.flatnonzero(~block.admitted_B).tolist()
        asked = [batch.owned[place] for place in new] + batch.others
        expected_ND = self._published.of(asked)
        for place, item_id in enumerate(asked[: len(new)]):
            expected_ND[place] = start_of(item_id, expected_ND[place])
        x_ND = np.concatenate([block.vectors_BD, expected_ND[len(new) :]]).astype(np.float32)
        x_ND[new] = expected_ND[: len(new)]
        step_N = np.concatenate([block.steps_B, np.zeros(len(batch.others), np.float32)])
        batch.log_q_N = np.log1p(np.concatenate([block.sights_B, np.zeros(len(batch.others))])).astype(np.float32)
        return unit(x_ND), step_N

    def _step(self, batch: _Batch, where: slice, x_ND: np.ndarray, step_N: np.ndarray) -> None:
        """One step for a chunk of signals (P): softmax of each over the columns (M): the chunk's items, then the
        negatives."""
        target_P, context_PL = batch.targets_P[where], batch.contexts_PL[where]
        weight_PL = self._discount_L * (context_PL >= 0)
        total_P1 = weight_PL.sum(axis=1, keepdims=True)
        speaks = np.flatnonzero(total_P1[:, 0] > 0)
        if not len(speaks):
            return
        target_P, context_PL = target_P[speaks], context_PL[speaks]
        weight_PL = weight_PL[speaks] / total_P1[speaks]
        user_PD = np.einsum("pl,pld->pd", weight_PL, x_ND[context_PL])
        length_P1 = np.maximum(np.sqrt(np.einsum("pd,pd->p", user_PD, user_PD)), 1e-6)[:, None]
        user_PD /= length_P1
        column_M = np.concatenate([target_P, batch.negatives_K])
        x_MD = x_ND[column_M]
        error_PM = self._errors(user_PD, x_MD, batch.log_q_N[column_M], _in_softmax(target_P, column_M, context_PL))
        toward_PD = error_PM @ x_MD
        toward_PD -= np.einsum("pd,pd->p", toward_PD, user_PD)[:, None] * user_PD
        p_C, l_C = np.nonzero((context_PL >= 0) & (context_PL < len(batch.owned)))
        row_E = np.concatenate([column_M, context_PL[p_C, l_C]])
        gradient_ED = np.concatenate([error_PM.T @ user_PD, weight_PL[p_C, l_C][:, None] * toward_PD[p_C]])
        _descend(row_E, gradient_ED, x_ND, step_N, self.rules.rate)

    def _errors(
        self, user_PD: np.ndarray, x_MD: np.ndarray, log_q_M: np.ndarray, in_softmax_PM: np.ndarray
    ) -> np.ndarray:
        """Gradient of the softmax by its cosines: probability less truth, over the temperature."""
        logit_PM = user_PD @ x_MD.T / np.float32(self.rules.temperature) - log_q_M
        logit_PM[~in_softmax_PM] = -np.inf
        logit_PM -= logit_PM.max(axis=1, keepdims=True)
        error_PM = np.exp(logit_PM)
        error_PM /= error_PM.sum(axis=1, keepdims=True)
        count = np.arange(len(user_PD))
        error_PM[count, count] -= 1.0
        return np.asarray(error_PM / np.float32(self.rules.temperature))


def memory_learners(
    published: Published, rules: VectorRules, kept: EmbeddingRules, partitions: int
) -> list[VectorLearner]:
    """A learner for each partition of items, with rows in memory."""
    return [
        VectorLearner(MemoryTable(kept), Owned(number, partitions).__getitem__, published, rules)
        for number in range(partitions)
    ]


def publish_vector(row: ItemRow, vector_D: np.ndarray, step: float) -> None:
    """Puts what `learn` returned into an item's row."""
    row.vector, row.step = vector_D.astype("<f2").tobytes(), step


class _Batch:
    """Signals by place: `owned` items first, then `others`. `contexts_PL` holds places of each signal's context, newest
    first, -1 beyond its end; `negatives_K` places of what was drawn, each once."""

    def __init__(self, signals: Sequence[Signal], drawn: Sequence[str], owns: Owns, length: int) -> None:
        targets = [signal.item_id for signal in signals]
        contexts = [_without(target, signal.context[:length]) for target, signal in zip(targets, signals, strict=True)]
        negatives = dict.fromkeys(drawn)
        self.owned = list({**dict.fromkeys(targets), **negatives})
        own = set(self.owned)
        self.others: list[str] = []
        for item_id in dict.fromkeys(chain.from_iterable(contexts)):
            if item_id not in own:
                (self.owned if owns(item_id) else self.others).append(item_id)
        every = [*self.owned, *self.others]
        place_of = dict(zip(every, range(len(every)), strict=True)).__getitem__
        self.targets_P = np.fromiter(map(place_of, targets), np.int32, len(targets))
        self.contexts_PL = np.full((len(signals), length), -1, np.int32)
        size_P1 = np.fromiter(map(len, contexts), np.int32, len(contexts))[:, None]
        self.contexts_PL[np.arange(length) < size_P1] = np.fromiter(
            map(place_of, chain.from_iterable(contexts)), np.int32, int(size_P1.sum())
        )
        self.negatives_K = np.fromiter(map(place_of, negatives), np.int32, len(negatives))
        self.log_q_N = np.zeros(0, np.float32)


def _without(item_id: str, context: list[str]) -> list[str]:
    return [earlier for earlier in context if earlier != item_id] if item_id in context else context


def start_of(item_id: str, expected_D: np.ndarray) -> np.ndarray:
    """Where an item starts: where it is expected, as far as that goes (the shorter, the less is known), and for the
    rest in a random direction that its id decides. Without it, all items with little evidence would lie together."""
    rest = max(0.0, 1.0 - float(expected_D @ expected_D)) ** 0.5
    return np.asarray(expected_D + rest * _direction(item_id, len(expected_D)), np.float32)


@lru_cache(maxsize=1 << 12)
def _direction(item_id: str, width: int) -> np.ndarray:
    """A direction of the item's own."""
    bits_D = np.unpackbits(np.frombuffer(blake2b(item_id.encode(), digest_size=-(-width // 8)).digest(), np.uint8))
    return np.asarray((2.0 * bits_D[:width] - 1.0) / np.sqrt(width))


def _in_softmax(target_P: np.ndarray, column_M: np.ndarray, context_PL: np.ndarray) -> np.ndarray:
    """Which columns stand in a signal's softmax: its own, and others but for further copies of its item and what is
    in its context."""
    in_softmax_PM = column_M != target_P[:, None]
    for place in range(context_PL.shape[1]):
        in_softmax_PM &= column_M != context_PL[:, place, None]
    count = np.arange(len(target_P))
    in_softmax_PM[count, count] = True
    return np.asarray(in_softmax_PM)


def _descend(row_E: np.ndarray, gradient_ED: np.ndarray, x_ND: np.ndarray, step_N: np.ndarray, rate: float) -> None:
    """A row-wise Adagrad step (Duchi et al. 2011, one accumulator a row) on the sphere, for every row named."""
    order = np.argsort(row_E, kind="stable")
    sorted_E = row_E[order]
    first_R = np.flatnonzero(np.concatenate([[True], sorted_E[1:] != sorted_E[:-1]]))
    rows = sorted_E[first_R]
    gradient_RD = np.add.reduceat(gradient_ED[order], first_R, axis=0)
    x_RD = x_ND[rows]
    gradient_RD -= np.einsum("rd,rd->r", gradient_RD, x_RD)[:, None] * x_RD
    square_R = np.einsum("rd,rd->r", gradient_RD, gradient_RD)
    step_N[rows] += square_R
    x_ND[rows] = unit(x_RD - rate * gradient_RD / np.sqrt(np.maximum(step_N[rows], 1e-12))[:, None])
