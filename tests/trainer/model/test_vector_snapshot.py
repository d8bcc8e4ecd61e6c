"""Snapshots: what was saved comes back, and a folder of before has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.model.vector_snapshot import load_vectors, save_vectors


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    vectors = {name: np.random.default_rng(n).standard_normal(8).astype(np.float16) for n, name in enumerate("cab")}
    save_vectors(vectors, tmp_path)
    again = load_vectors(tmp_path)
    assert sorted(again) == ["a", "b", "c"]
    assert all(np.array_equal(again[name], vectors[name]) for name in vectors)


def test_no_vectors_and_no_snapshot_are_none(tmp_path: Path) -> None:
    assert load_vectors(tmp_path) == {}
    save_vectors({}, tmp_path)
    assert load_vectors(tmp_path) == {}
