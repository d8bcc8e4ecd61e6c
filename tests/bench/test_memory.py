"""The bench of memory reads what a scorer reads, and tells what it keeps of it."""

from __future__ import annotations

from pathlib import Path

from bench.memory import measure


def test_cards_and_rows_are_read_and_told_by_structure(tmp_path: Path) -> None:
    found = measure(tmp_path, 300, 5, fit=True)
    assert found["all structures"] > 500
    assert {name for name in found if name.startswith("  recommender.")} > {"  recommender.catalog.transitions"}
