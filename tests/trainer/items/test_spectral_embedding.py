from __future__ import annotations

import numpy as np
import pytest

from store.items import ItemCard, ItemRow, pack_parts
from store.signals import Signal
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import ContentVectors
from trainer.items.item_learning import absorb
from trainer.items.spectral_embedding import SpectralEmbedding, SpectralRules, content_map, unit

RULES = SpectralRules(width=8, content_width=16, min_positives=50)


def filled(groups: int = 3, items: int = 60, seed: int = 0) -> tuple[Catalog, SpectralEmbedding, dict[str, ItemRow]]:
    """Items of a few groups: engaged within their group, titled by it."""
    rng = np.random.default_rng(seed)
    catalog = Catalog()
    spectral = SpectralEmbedding(ContentVectors(catalog, RULES.content_width), RULES)
    for number in range(items):
        spectral.describe(catalog.insert(card(number, number % groups)))
    rows: dict[str, ItemRow] = {}
    for n in range(900):
        group = int(rng.integers(groups))
        first, second = (int(rng.integers((items - 6) // groups)) * groups + group for _ in range(2))
        engage(catalog, spectral, rows, f"i{first}", f"i{second}", 1e9 + n)
    return catalog, spectral, rows


def card(number: int, group: int) -> ItemCard:
    vector = np.zeros(256, np.float16)
    vector[group] = 1.0
    return ItemCard(
        item_id=f"i{number}",
        codebook="c",
        codes=[],
        suffix=0,
        assigned_at=0.0,
        uploaded_at=1e9,
        published_at_ms=0,
        title=f"group{group} thing number{number}",
        content=pack_parts({"text": vector}),
    )


def engage(
    catalog: Catalog, spectral: SpectralEmbedding, rows: dict[str, ItemRow], item: str, before: str, at: float
) -> None:
    row = rows.setdefault(item, ItemRow())
    absorb(row, Signal(item, "e", 1, at, 1.0, None, [before]), catalog.rules)
    spectral.place(catalog.update(item, row))


def likeness(catalog: Catalog, x_ND: np.ndarray, items: list[str]) -> tuple[float, float]:
    """Mean cosine within and across groups of three."""
    handles = [catalog.handles[item] for item in items]
    cosine = x_ND[handles] @ x_ND[handles].T
    group = np.array([int(item[1:]) % 3 for item in items])
    same = group[:, None] == group[None]
    np.fill_diagonal(same, False)
    return float(cosine[same].mean()), float(cosine[group[:, None] != group[None]].mean())


def test_behaviour_finds_the_groups_and_content_places_the_untouched_with_them() -> None:
    catalog, spectral, rows = filled()
    assert spectral.due()
    spectral.refit()
    assert not spectral.due()
    touched = list(rows)
    within, across = likeness(catalog, spectral.x_ND, touched)
    assert within > across + 0.5
    untouched = [f"i{number}" for number in range(54, 60)]
    assert not set(untouched) & set(touched)
    within, across = likeness(catalog, spectral.x_ND, untouched)
    assert within > across + 0.3


def test_an_item_moves_with_its_behaviour_without_a_refit() -> None:
    catalog, spectral, rows = filled()
    spectral.refit()
    item, target = catalog.handles["i54"], catalog.handles["i1"]  # content of group 0, behaviour of group 1
    before = spectral.x_ND[item] @ spectral.x_ND[target]
    for n in range(12):
        engage(catalog, spectral, rows, "i54", f"i{1 + 3 * (n % 6)}", 1e9 + 1000 + n)
    assert spectral.x_ND[item] @ spectral.x_ND[target] > before + 0.2
    assert np.linalg.norm(spectral.x_ND[item]) == pytest.approx(1.0, abs=1e-3)


def test_a_refit_is_deterministic_and_agrees_with_folding_in() -> None:
    catalog, spectral, _ = filled()
    other_catalog, other, _ = filled()
    spectral.refit()
    other.refit()
    assert np.array_equal(spectral.x_ND[:], other.x_ND[:])
    placed = spectral.x_ND[:]
    for handle in range(len(catalog)):
        spectral.place(handle)
    assert spectral.x_ND[:] == pytest.approx(placed, abs=0.02)
    del other_catalog


def test_content_says_of_a_known_item_what_it_would_say_if_the_item_were_new() -> None:
    rng = np.random.default_rng(0)
    content_NC = rng.standard_normal((60, 12)).astype(np.float32)
    x_ND = unit(content_NC @ rng.standard_normal((12, 5)) + rng.standard_normal((60, 5))).astype(np.float32)
    evidence_N = rng.integers(3, 40, 60).astype(np.float32)
    _, says_ND = content_map(content_NC, x_ND, evidence_N, ridge=2.0)
    for left_out in (0, 17, 59):
        without_N = evidence_N.copy()
        without_N[left_out] = 0
        _, new_ND = content_map(content_NC, x_ND, without_N, ridge=2.0)
        np.testing.assert_allclose(says_ND[left_out], new_ND[left_out], atol=1e-4)
