from __future__ import annotations

import numpy as np
import pytest

from store.items import ItemCard, pack_parts
from trainer.content.projection import first_projection, fit_projection, raw_of, raw_of_text


def card(title: str = "", **parts: np.ndarray) -> ItemCard:
    return ItemCard(
        item_id="i",
        codebook="c",
        codes=[],
        suffix=0,
        assigned_at=0.0,
        uploaded_at=0.0,
        published_at_ms=0,
        title=title,
        content=pack_parts(parts),
    )


def test_content_of_any_modalities_has_one_width() -> None:
    text, visual = np.ones(256, np.float16), np.arange(10, dtype=np.float16)
    view = first_projection(32)
    for parts in ({"text": text}, {"visual": visual}, {"text": text, "visual": visual}):
        content = view.of(raw_of(card(**parts))[None])[0]
        assert content.shape == (32,)
        assert np.linalg.norm(content) == pytest.approx(1.0, abs=1e-3)
    assert not view.of(raw_of(card(id=visual))[None]).any()


def test_what_all_have_in_common_counts_less_after_a_fit() -> None:
    rng = np.random.default_rng(0)
    names = ["red", "green", "blue", "gold"]
    titles = [f"beauty product cream {names[rng.integers(4)]} {rng.integers(1000)}" for _ in range(200)]
    fitted = fit_projection(np.stack([raw_of(card(title)) for title in titles]), 16)
    assert fitted is not None
    for view, limit in ((first_projection(256), 0.9), (fitted, 0.4)):
        rows = [raw_of(card(f"beauty product cream {name}")) for name in ("red", "green")]
        same = raw_of(card("beauty product cream red"))
        one, other, again = view.of(np.stack([*rows, same]))
        assert one @ again == pytest.approx(1.0, abs=1e-3)
        assert (one @ other > 0.5) == (limit > 0.5)


def test_a_query_is_seen_as_the_titles_are() -> None:
    vector = np.ones(256, np.float32)
    raw = raw_of(card("Garden spade", text=vector.astype(np.float16)))
    assert raw_of_text("garden SPADE", vector) == pytest.approx(raw, abs=1e-3)


def test_too_few_items_have_no_view_of_their_own() -> None:
    assert fit_projection(np.zeros((500, 768), np.float32), 16) is None
