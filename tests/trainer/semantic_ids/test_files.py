"""A codebook version on disk: whole, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.trainer.semantic_ids.small_codebooks import KINDS, learned_codebook, parts_of, some_codebook
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.files import DamagedCodebookError, load_codebook, save_codebook


@pytest.fixture(params=KINDS)
def book(request: pytest.FixtureRequest) -> Codebook:
    return some_codebook(request.param)


def test_saved_and_loaded_it_is_the_same(book: Codebook, tmp_path: Path) -> None:
    folder = save_codebook(book, tmp_path)
    loaded = load_codebook(folder)
    assert (loaded.version, loaded.widths, dict(loaded.about)) == (book.version, book.widths, dict(book.about))
    np.testing.assert_array_equal(loaded.assign_parts(parts_of(60)), book.assign_parts(parts_of(60)))
    assert json.loads((folder / "codebook.json").read_text())["version"] == book.version
    assert save_codebook(book, tmp_path) == folder
    assert [entry.name for entry in tmp_path.iterdir()] == [book.version]


def test_a_damaged_folder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = save_codebook(learned_codebook(), tmp_path)
    numbers = folder / "codebook.safetensors"
    numbers.write_bytes(numbers.read_bytes()[:-1] + b"\xff")
    with pytest.raises(DamagedCodebookError, match="train a new version"):
        load_codebook(folder)
    with pytest.raises(DamagedCodebookError, match="restore it"):
        load_codebook(tmp_path / "nowhere")


def test_the_names_on_disk_stay_what_they_were(tmp_path: Path) -> None:
    """A version that was saved before a field was renamed must load for ever."""
    arrays = load_file(save_codebook(learned_codebook(worded=True), tmp_path) / "codebook.safetensors")
    level = {name.rpartition(".")[2] for name in arrays if name.startswith("level.2.")}
    assert level == {"seeds_WV", "price_W", "points_WD", "view_DV"}
