"""Item blocks: what a scorer needs of the rows of many items, as columns.

Neighbours are places in `ids`, so that a reader finds the handle of each id once, however many rows name it. What only
an owner needs (the step of a vector's learner, the count of prunings, when a row was touched) is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain

import numpy as np

from store.events import KINDS
from store.items import ItemRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBlock:
    """R rows. `ids`: those of the rows, then those that rows name beside these; each once. `caused_at_ms_R`: the oldest
    engagement in a row that nobody could see before (epoch milliseconds, 0: not known). Row after row, `count_R`
    neighbours (E in all): places in `ids`, and weights in units of the row's landmark. Columns end in their shape: K
    kinds, W half-lives, D numbers of a vector. A row that has no vector, or was never shown, has zeros."""

    ids: Sequence[str]
    offset_R: np.ndarray
    caused_at_ms_R: np.ndarray
    counters_RK: np.ndarray
    positives_R: np.ndarray
    negatives_R: np.ndarray
    first_at_R: np.ndarray
    last_at_R: np.ndarray
    value_sum_R: np.ndarray
    value_count_R: np.ndarray
    decayed_at_R: np.ndarray
    popularity_RW: np.ndarray
    shown_RW: np.ndarray
    shown_at_R: np.ndarray
    landmark_R: np.ndarray
    count_R: np.ndarray
    vector_RD: np.ndarray
    index_E: np.ndarray
    weight_E: np.ndarray

    def __len__(self) -> int:
        return len(self.offset_R)

    def row(self, place: int) -> ItemRow:
        """One row, as far as the block knows it."""
        counts = self.counters_RK[place].tolist()
        begin = int(self.count_R[:place].sum())
        edges = slice(begin, begin + int(self.count_R[place]))
        names = [self.ids[index] for index in self.index_E[edges].tolist()]
        was_shown, has_vector = self.shown_RW[place].any(), self.vector_RD[place].any()
        return ItemRow(
            offset=int(self.offset_R[place]),
            counters={kind: count for kind, count in enumerate(counts) if count},
            positives=int(self.positives_R[place]),
            negatives=int(self.negatives_R[place]),
            first_at=float(self.first_at_R[place]),
            last_at=float(self.last_at_R[place]),
            value_sum=float(self.value_sum_R[place]),
            value_count=int(self.value_count_R[place]),
            decayed_at=float(self.decayed_at_R[place]),
            popularity=self.popularity_RW[place].tolist() if self.positives_R[place] else [],
            neighbours=dict(zip(names, self.weight_E[edges].tolist(), strict=True)),
            landmark=float(self.landmark_R[place]),
            vector=self.vector_RD[place].tobytes() if has_vector else b"",
            shown=self.shown_RW[place].tolist() if was_shown else [],
            shown_at=float(self.shown_at_R[place]),
        )

    def only(self, keep_R: np.ndarray, keep_E: np.ndarray) -> ItemBlock:
        """The same columns with some rows and some of their neighbours; `ids` are all there still, but no longer begin
        with those of the rows."""
        row_E = np.repeat(np.arange(len(self)), self.count_R)
        keep_E = keep_E & keep_R[row_E]
        count_R = np.bincount(row_E[keep_E], minlength=len(self))[keep_R]
        rows = {name: getattr(self, name)[keep_R] for name in ROW_COLUMNS}
        edges = {"index_E": self.index_E[keep_E], "weight_E": self.weight_E[keep_E]}
        return replace(self, **{**rows, "count_R": count_R, **edges})


ROW_COLUMNS = [one.name for one in fields(ItemBlock) if "_R" in one.name]
"""The columns that have an entry for each row."""


def block_of(ids: Sequence[str], rows: Sequence[ItemRow], caused_at_ms: Sequence[int] = ()) -> ItemBlock:
    """The columns of rows, `ids` their items, each once."""
    named = list(chain.from_iterable(row.neighbours for row in rows))
    every = list(dict.fromkeys(chain(ids, named)))
    place_of = dict(zip(every, range(len(every)), strict=True)).__getitem__
    size = len(rows)
    return ItemBlock(
        ids=every,
        offset_R=_whole([row.offset for row in rows]),
        caused_at_ms_R=_whole(caused_at_ms or [0] * size),
        counters_RK=_counters(rows),
        positives_R=_whole([row.positives for row in rows]),
        negatives_R=_whole([row.negatives for row in rows]),
        first_at_R=np.array([row.first_at for row in rows], np.float64),
        last_at_R=np.array([row.last_at for row in rows], np.float64),
        value_sum_R=np.array([row.value_sum for row in rows], np.float64),
        value_count_R=_whole([row.value_count for row in rows]),
        decayed_at_R=np.array([row.decayed_at for row in rows], np.float64),
        popularity_RW=_by_half_life([row.popularity for row in rows]),
        shown_RW=_by_half_life([row.shown for row in rows]),
        shown_at_R=np.array([row.shown_at for row in rows], np.float64),
        landmark_R=np.array([row.landmark for row in rows], np.float64),
        count_R=_whole([len(row.neighbours) for row in rows]),
        vector_RD=vectors_of([row.vector for row in rows]),
        index_E=np.fromiter(map(place_of, named), np.int64, len(named)),
        weight_E=np.fromiter(chain.from_iterable(row.neighbours.values() for row in rows), np.float64, len(named)),
    )


def _whole(numbers: Sequence[int]) -> np.ndarray:
    return np.array(numbers, np.int64)


def _counters(rows: Sequence[ItemRow]) -> np.ndarray:
    counters_RK = np.zeros((len(rows), len(KINDS)), np.int64)
    place = [number for number, row in enumerate(rows) for _ in row.counters]
    kind = [kind for row in rows for kind in row.counters]
    counters_RK[place, kind] = [count for row in rows for count in row.counters.values()]
    return counters_RK


def _by_half_life(sums: Sequence[list[float]]) -> np.ndarray:
    """A column for each half-life; zeros where a row has none of them."""
    windows = max(map(len, sums), default=0)
    if not windows:
        return np.zeros((len(sums), 0))
    none = [0.0] * windows
    return np.array([one or none for one in sums], np.float64)


def vectors_of(vectors: Sequence[bytes]) -> np.ndarray:
    """Vectors (R × D, float16), zeros where there is none. Those of the width that most have; after a change of
    settings some have another still, which nobody takes."""
    widths = Counter(len(vector) for vector in vectors if vector)
    width = widths.most_common(1)[0][0] if widths else 0
    none = bytes(width)
    joined = b"".join([vector if len(vector) == width else none for vector in vectors])
    return np.frombuffer(joined, "<f2").reshape(len(vectors), width // 2)
