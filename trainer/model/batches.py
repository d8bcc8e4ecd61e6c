"""Examples: the batches of positions that the model learns from.

Behaviour: each user's engagements are a row; at every position the next positive item is to be written. Long histories
are cut into overlapping rows so that every engagement is a target exactly once, with at least half a row before it.
Metadata: text → codes (the way by which a fresh item enters: nobody has engaged with it, but it has words) and
codes → text.

Invariant: no row holds an engagement at or after the cut, as target or as context; so what the gate measures on was
never seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from trainer.model.corpus import Corpus
from trainer.model.prompts import ASK, NO_ITEM, begin_positions, history_positions, surroundings
from trainer.model.vocabulary import BEGIN, NONE, TASKS, Vocabulary, gap_buckets

DEFAULT_TASKS = ("home", "next", "similar", "notification")
_DEFAULT_SHARES = np.array([0.45, 0.35, 0.1, 0.1])
"""What an engagement that names no task stands for: it is an example of each, in these shares."""

TITLE_TOKENS = 24


def event_positions(corpus: Corpus, vocabulary: Vocabulary) -> np.ndarray:
    """The position (E K) of every engagement."""
    codes_EL = corpus.codes_IL[corpus.item_E]
    return history_positions(vocabulary, codes_EL, corpus.kind_E, corpus.gap_E(), corpus.value_E)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of positions, and what is to be written after some of them.

    `item_BT`: which item of the corpus a position holds, or none.
    Items: at (`row_N`, `column_N`), asked `ask_NA` at `occurred_N`, the item `item_N` with weight `weight_N`;
    `moment_N` is the prior's moment that they are learned at.
    Text: at (`text_row_W`, `text_column_W`), the column `text_W` of the text head.
    """

    tokens_BTK: np.ndarray
    item_BT: np.ndarray
    row_N: np.ndarray
    column_N: np.ndarray
    ask_NA: np.ndarray
    occurred_N: np.ndarray
    item_N: np.ndarray
    codes_NL: np.ndarray
    weight_N: np.ndarray
    moment_N: np.ndarray
    text_row_W: np.ndarray
    text_column_W: np.ndarray
    text_W: np.ndarray


class Behaviour:
    """Rows of engagements that hold one of `learn_E`. In such a row the other positive events of `free_E` are targets
    too: their states are computed anyway. `weight_E` is how much each counts in the loss,
    `moment_E` is the prior's moment that it is learned at."""

    def __init__(
        self,
        corpus: Corpus,
        vocabulary: Vocabulary,
        learn_E: np.ndarray,
        weight_E: np.ndarray,
        row_items: int,
        moment_E: np.ndarray,
        free_E: np.ndarray | None = None,
    ) -> None:
        self._corpus = corpus
        self._vocabulary = vocabulary
        self._learn_E = learn_E & (corpus.weight_E > 0)
        self._target_E = self._learn_E if free_E is None else self._learn_E | (free_E & (corpus.weight_E > 0))
        self._weight_E = weight_E
        self._moment_E = moment_E
        self._bag_EK = event_positions(corpus, vocabulary)
        self._gap_E = vocabulary.gap_begin + gap_buckets(corpus.gap_E())
        self._gap_E[np.isinf(corpus.gap_E())] = NONE
        self._ask_EA = self._asks()
        self._rows = self._cut_rows(row_items)
        self._asked = np.array([e for e in corpus.asked if self._learn_E[e]], np.int64)

    @property
    def targets(self) -> int:
        """How many engagements are learned in one pass."""
        return sum(int(self._target_E[target:end].sum()) for _, end, target in self._rows)

    def identity(self) -> str:
        """Equal for equal rows of equal engagements."""
        corpus, told = self._corpus, sha256(repr(self._rows.shape).encode())
        for array in (self._rows, self._target_E, corpus.partition_E, corpus.offset_E, corpus.item_E, corpus.codes_IL):
            told.update(np.ascontiguousarray(array).tobytes())
        return told.hexdigest()

    def batches(self, positions: int, random: np.random.Generator) -> Iterator[Batch]:
        """One pass over all rows."""
        for rows in self.groups(positions, random):
            yield self.batch(rows, random)

    def groups(self, positions: int, random: np.random.Generator) -> list[np.ndarray]:
        """One pass: the numbers of the rows of each batch, rows of like length together, about `positions` positions a
        batch."""
        if len(self._rows) == 0:
            return []
        shuffled = random.permutation(len(self._rows))
        length_R = (self._rows[:, 1] - self._rows[:, 0])[shuffled]
        order = np.argsort(length_R + random.random(len(length_R)) * (1 + 0.2 * length_R), kind="stable")
        groups: list[np.ndarray] = []
        begin, longest = 0, 0
        for end, row in enumerate(order.tolist()):
            length = int(length_R[row])
            if end > begin and max(longest, length) * (end - begin + 1) > positions:
                groups.append(shuffled[order[begin:end]])
                begin, longest = end, 0
            longest = max(longest, length)
        groups.append(shuffled[order[begin:]])
        return [groups[group] for group in random.permutation(len(groups))]

    def _cut_rows(self, row_items: int) -> np.ndarray:
        """Rows (begin, end, first target) over the sorted events; only those that hold a target."""
        starts = np.flatnonzero(np.diff(self._corpus.user_E, prepend=-1)).tolist()
        rows: list[tuple[int, int, int]] = []
        for start, stop in zip(starts, [*starts[1:], len(self._corpus)], strict=True):
            learned = np.flatnonzero(self._learn_E[start:stop])
            if len(learned) == 0:
                continue
            last = start + int(learned[-1]) + 1
            first, target = start, start
            while target < last:
                end = min(last, first + row_items)
                if self._learn_E[target:end].any():
                    rows.append((first, end, target))
                first, target = end - row_items // 2, end
        return np.array(rows, np.int64).reshape(-1, 3)

    def _asks(self) -> np.ndarray:
        """What is asked at every engagement (E ASK), but for the task."""
        vocabulary, corpus = self._vocabulary, self._corpus
        from_PA = np.array([surroundings(vocabulary, *place) for place in corpus.places], np.int64).reshape(-1, 2)
        hour_E = vocabulary.hour_begin + (corpus.occurred_E % 86_400.0 // 3600.0).astype(np.int64)
        none_E = np.full(len(corpus), NONE)
        return np.column_stack([none_E, self._gap_E, from_PA[corpus.from_E], hour_E])

    def batch(self, group: np.ndarray, random: np.random.Generator) -> Batch:
        """The rows of these numbers."""
        vocabulary, corpus, rows = self._vocabulary, self._corpus, self._rows[group]
        openings = [begin_positions(vocabulary, corpus.attributes.get(int(corpus.user_E[row[0]]), {})) for row in rows]
        longest = max(len(opening) + end - begin - 1 for opening, (begin, end, _) in zip(openings, rows, strict=True))
        tokens_BTK = np.full((len(rows), longest, vocabulary.slots), NONE, np.int64)
        item_BT = np.full((len(rows), longest), NO_ITEM)
        places: list[np.ndarray] = []
        for row, (opening, (begin, end, target)) in enumerate(zip(openings, rows, strict=True)):
            first = len(opening)
            for column, tokens in enumerate(opening):
                tokens_BTK[row, column, : len(tokens)] = tokens
            tokens_BTK[row, first : first + end - begin - 1] = self._bag_EK[begin : end - 1]
            item_BT[row, first : first + end - begin - 1] = corpus.item_E[begin : end - 1]
            events = np.arange(target, end)[self._target_E[target:end]]
            places.append(np.stack([np.full(len(events), row), events - begin + first - 1, events]))
        row_N, column_N, event_N = np.concatenate(places, axis=1)
        tokens_BTK = blurred(tokens_BTK, item_BT != NO_ITEM, vocabulary, random)
        task_N = self._tasks(event_N, random)
        return self._of_items(tokens_BTK, item_BT, row_N, column_N, event_N, task_N)

    def _of_items(
        self,
        tokens_BTK: np.ndarray,
        item_BT: np.ndarray,
        row_N: np.ndarray,
        column_N: np.ndarray,
        event_N: np.ndarray,
        task_N: np.ndarray,
    ) -> Batch:
        corpus = self._corpus
        ask_NA = self._ask_EA[event_N]
        ask_NA[:, 0] = task_N
        return _items_only(
            tokens_BTK,
            item_BT,
            row_N,
            column_N,
            ask_NA=ask_NA,
            occurred_N=corpus.occurred_E[event_N],
            item_N=corpus.item_E[event_N],
            codes_NL=corpus.codes_IL[corpus.item_E[event_N]],
            weight_N=self._weight_E[event_N],
            moment_N=self._moment_E[event_N],
        )

    def _tasks(self, event_N: np.ndarray, random: np.random.Generator) -> np.ndarray:
        drawn = random.choice([TASKS.index(task) for task in DEFAULT_TASKS], len(event_N), p=_DEFAULT_SHARES)
        named = self._corpus.task_E[event_N]
        return self._vocabulary.task_begin + np.where(named >= 0, named, drawn)

    def asked_batch(self, rows: int, random: np.random.Generator) -> Batch | None:
        """Engagements that answered a query or stood beside an item, each with a short history before it."""
        if len(self._asked) == 0:
            return None
        vocabulary, corpus = self._vocabulary, self._corpus
        events = random.choice(self._asked, min(rows, len(self._asked)), replace=False)
        lines: list[list[list[int]]] = []
        items: list[list[int]] = []
        for event in events:
            query, context = corpus.asked[int(event)]
            begin = max(int(np.searchsorted(corpus.user_E, corpus.user_E[event])), int(event) - 10)
            opening = begin_positions(vocabulary, corpus.attributes.get(int(corpus.user_E[event]), {}))
            at_hand = [] if context is None else [context]
            words = vocabulary.text(query or "", 32)
            line = [*opening, *self._bag_EK[begin:event].tolist()]
            line.extend(vocabulary.semantic(corpus.codes_IL[item].tolist()) for item in at_hand)
            lines.append([*line, *([word] for word in words)])
            held = [*corpus.item_E[begin:event].tolist(), *at_hand]
            items.append([*[NO_ITEM] * len(opening), *held, *[NO_ITEM] * len(words)])
        default = [vocabulary.task("search" if corpus.asked[int(e)][0] else "similar") for e in events]
        named = corpus.task_E[events]
        tokens_BTK = _padded(lines, vocabulary.slots)
        item_BT = np.full(tokens_BTK.shape[:2], NO_ITEM)
        for row, held in enumerate(items):
            item_BT[row, : len(held)] = held
        last = np.array([len(line) - 1 for line in lines])
        task_N = np.where(named >= 0, vocabulary.task_begin + named, default)
        return self._of_items(tokens_BTK, item_BT, np.arange(len(events)), last, events, task_N)


class Metadata:
    """Pairs of text and semantic ID, for every item that has words, engaged with or not. `left`: those of a shuffled
    round that were not drawn yet."""

    def __init__(self, texts: Sequence[str], codes_IL: np.ndarray, vocabulary: Vocabulary, moment: int) -> None:
        """`moment` is the prior's last: names are looked for now."""
        self._moment = moment
        self._vocabulary = vocabulary
        worded = [place for place, text in enumerate(texts) if text]
        self._words = [vocabulary.text(texts[place], TITLE_TOKENS) for place in worded]
        self._codes_IL, self._items = codes_IL[worded], np.array(worded, np.int64)
        self.left = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._words)

    def batch(self, items: int, random: np.random.Generator) -> Batch:
        """The next `items` items of a shuffled round: the first half text → codes, the second codes → text."""
        if len(self.left) < items:
            self.left = np.concatenate([self.left, random.permutation(len(self._words))])
        chosen, self.left = self.left[:items], self.left[items:]
        half = (len(chosen) + 1) // 2
        return self._pairs(chosen[:half], chosen[half:], random)

    def _pairs(self, named: np.ndarray, described: np.ndarray, random: np.random.Generator) -> Batch:
        vocabulary = self._vocabulary
        lines: list[list[list[int]]] = []
        for item in named:
            words = self._words[item]
            begin, end = 0, len(words)
            if random.random() < 0.5:  # a query is often a part of what an item says
                begin = int(random.integers(0, len(words)))
                end = int(random.integers(begin, len(words))) + 1
            lines.append([[BEGIN], *([word] for word in words[begin:end])])
        column_N = np.array([len(line) - 1 for line in lines], np.int64)
        text: list[tuple[int, int, int]] = []
        for item in described:
            words = self._words[item]
            row = len(lines)
            lines.append([[BEGIN], vocabulary.semantic(self._codes_IL[item].tolist()), *([word] for word in words)])
            text.extend((row, 1 + at, word - vocabulary.text_begin) for at, word in enumerate(words))
            text.append((row, 1 + len(words), vocabulary.text_size))
        text_row_W, text_column_W, text_W = np.array(text, np.int64).reshape(-1, 3).T
        ask = [vocabulary.task("search"), *[NONE] * (ASK - 1)]
        tokens_BTK = _padded(lines, vocabulary.slots)
        return Batch(
            tokens_BTK,
            np.full(tokens_BTK.shape[:2], NO_ITEM),  # content beside codes would give the words away
            np.arange(len(named)),
            column_N,
            np.tile(np.array(ask, np.int64), (len(named), 1)),
            np.full(len(named), np.inf),
            self._items[named],
            self._codes_IL[named],
            np.ones(len(named)),
            np.full(len(named), self._moment),
            text_row_W,
            text_column_W,
            text_W,
        )


def blurred(
    tokens_BTK: np.ndarray, item_BT: np.ndarray, vocabulary: Vocabulary, random: np.random.Generator
) -> np.ndarray:
    """Positions with the deeper codes of one in ten items hidden (the model learns what a prefix alone tells) and the
    facets of one in ten. `item_BT`: where items are."""
    tokens_BTK = tokens_BTK.copy()
    B, T, _ = tokens_BTK.shape
    L = vocabulary.levels
    keep_BT = np.where(random.random((B, T)) < 0.1, random.integers(1, max(2, L), (B, T)), L)
    keep_BT[~item_BT] = L
    tokens_BTK[..., :L][np.arange(L) >= keep_BT[..., None]] = NONE
    tokens_BTK[..., L:][(random.random((B, T)) < 0.1) & item_BT] = NONE
    return tokens_BTK


def _padded(lines: Sequence[Sequence[Sequence[int]]], slots: int) -> np.ndarray:
    out = np.full((len(lines), max(map(len, lines)), slots), NONE, np.int64)
    for row, line in enumerate(lines):
        for column, tokens in enumerate(line):
            out[row, column, : len(tokens)] = tokens
    return out


def _items_only(
    tokens_BTK: np.ndarray,
    item_BT: np.ndarray,
    row_N: np.ndarray,
    column_N: np.ndarray,
    *,
    ask_NA: np.ndarray,
    occurred_N: np.ndarray,
    item_N: np.ndarray,
    codes_NL: np.ndarray,
    weight_N: np.ndarray,
    moment_N: np.ndarray,
) -> Batch:
    assert ask_NA.shape[1] == ASK
    none = np.zeros(0, np.int64)
    items = (ask_NA, occurred_N, item_N, codes_NL, weight_N, moment_N)
    return Batch(tokens_BTK, item_BT, row_N, column_N, *items, none, none, none)
