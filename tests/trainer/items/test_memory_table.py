"""The table in memory reads as the store on disk does: admission, expiry, absence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from store.embeddings import Block, EmbeddingRules, EmbeddingStore
from trainer.items.memory_table import MemoryTable
from trainer.items.vector_learning import Table

RULES = EmbeddingRules(width=4, admit_after=2, horizon_s=10.0)


def block(sights: list[int], at_s: list[float]) -> Block:
    count = len(sights)
    ones_BD = np.ones((count, RULES.width), np.float32)
    return Block(ones_BD, np.ones(count, np.float32), np.array(sights), np.array(at_s), np.array(sights) > 0)


@pytest.fixture(params=["memory", "store"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    return MemoryTable(RULES) if request.param == "memory" else EmbeddingStore(tmp_path / "rows", RULES)


def test_admission_expiry_and_absence(table: Table) -> None:
    table.stage(["seen once", "seen twice", "long ago"], block([1, 2, 9], [100.0, 100.0, 80.0]))
    found = table.read(["seen once", "seen twice", "long ago", "never seen"])
    assert found.admitted_B.tolist() == [False, True, False, False]
    assert found.sights_B.tolist() == [1, 2, 0, 0]
    assert found.at_s_B.tolist() == [100.0, 100.0, 0.0, 0.0]
    assert found.vectors_BD.sum(axis=1).tolist() == [0.0, 4.0, 0.0, 0.0]
    assert found.steps_B.tolist() == [0.0, 1.0, 0.0, 0.0]


def test_it_grows_and_keeps_what_it_has(table: Table) -> None:
    keys = [f"item-{number}" for number in range(600)]
    for key in keys:
        table.stage([key], block([2], [100.0]))
    assert table.read(keys).admitted_B.all()
