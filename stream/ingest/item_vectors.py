"""The vectors of one item partition: learned from the signals that its rows absorb, written before the rows are.

Whether a signal is new is the rows' to know (`stream.ingest.item_side`). Vectors lie in a store of their own, whose
position names the last record in them. They are staged while signals come, and written when the rows are, and first: so
a crash between the two leaves them ahead of the rows. A record that the rows absorb again and that the vectors have is
not learned again, and its item's row takes over the vector as it is. What is published, and what a wiped disk comes
back from, is the copy in the row.

Invariant: each signal that a row has absorbed is learned from once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from store.embeddings import Block, EmbeddingStore
from store.items import ItemRow
from store.rows import RowStore
from store.signals import Signal
from trainer.items.vector_learning import Owns, Published, VectorLearner, VectorRules, publish_vector

MICRO_BATCH = 256
"""Signals learned from at once, at most: some milliseconds, in which the event loop does nothing else."""


class ItemVectors:
    """Learner and store of one partition."""

    def __init__(self, store: EmbeddingStore, owns: Owns, published: Published, rules: VectorRules) -> None:
        self.store = store
        self._learner = VectorLearner(store, owns, published, rules)
        self._changed: dict[str, None] = {}

    def absorb(self, signal: Signal, offset: int) -> None:
        """Takes a signal that its row has just absorbed, of the record at `offset`."""
        if offset > self.store.position.absorbed:
            self._learner.absorb(signal)
        else:
            self._changed[signal.item_id] = None

    @property
    def due(self) -> bool:
        """Whether enough has gathered."""
        return self._learner.pending >= MICRO_BATCH

    def learn(self) -> None:
        """Learns from what was absorbed. Nothing is on disk before `flush`."""
        self._changed.update(self._learner.advance())

    def flush(self, offset: int, rows: RowStore[ItemRow]) -> None:
        """Learns and writes what was absorbed up to the record at `offset`; puts it into the rows, which are staged."""
        position = self.store.position
        if offset > position.absorbed:
            position.absorbed = offset
            self.learn()
            self.store.flush()
        changed, self._changed = list(self._changed), {}
        block = self.store.read(changed)
        for place in np.flatnonzero(block.admitted_B).tolist():
            row = rows.get(changed[place])
            if row is not None:
                publish_vector(row, block.vectors_BD[place], float(block.steps_B[place]))

    def restore(self, rows: Mapping[str, ItemRow]) -> None:
        """Takes over the vectors of rows from the state topic that are further than the own ones."""
        width = self.store.rules.width
        kept = {item_id: row for item_id, row in rows.items() if len(row.vector_D()) == width}
        self.store.write(
            list(kept),
            Block(
                np.array([row.vector_D() for row in kept.values()], np.float32).reshape(len(kept), width),
                np.array([row.step for row in kept.values()], np.float32),
                np.array([row.positives for row in kept.values()], np.int64),
                np.array([row.last_at for row in kept.values()]),
                np.ones(len(kept), bool),
            ),
        )

    def close(self) -> None:
        self.store.close()
