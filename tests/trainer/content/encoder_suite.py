"""What every text encoder must do: one suite, used for each of them."""

from __future__ import annotations

import numpy as np

from trainer.content.encoder import TextEncoder
from trainer.content.passages import PASSAGE_BREAK

TEXTS = (
    "Plants vs. Zombies GOTY Edition",
    "a",
    "Jason Thin-To-Thick Extra Volume Shampoo, 8 Ounce",
    "日本語のタイトル",
    "Война и мир",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "🎬🍿😀",
    "e\u0301 \u200d \x00 \ud800 mixed",
    "x " * 1_000,
)


def check_encoder(encoder: TextEncoder, *, tolerance: float = 0.0) -> None:
    """All checks. `tolerance`: by how much a row may differ between batches (largest absolute entry)."""
    check_shape_and_norm(encoder)
    check_empty(encoder)
    check_deterministic_and_batch_invariant(encoder, tolerance)
    check_long_text_is_pooled_not_cut(encoder)
    check_meaning(encoder)


def check_shape_and_norm(encoder: TextEncoder) -> None:
    x_ND = encoder.encode(TEXTS)
    assert x_ND.shape == (len(TEXTS), encoder.width)
    assert x_ND.dtype == np.float32
    assert encoder.encode([]).shape == (0, encoder.width)
    np.testing.assert_allclose(np.linalg.norm(x_ND, axis=1), 1.0, atol=1e-5)


def check_empty(encoder: TextEncoder) -> None:
    assert not encoder.encode(["", " \n\t ", PASSAGE_BREAK]).any()


def check_deterministic_and_batch_invariant(encoder: TextEncoder, tolerance: float) -> None:
    together = encoder.encode(TEXTS)
    np.testing.assert_array_equal(together, encoder.encode(TEXTS))
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    reverse = encoder.encode(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(alone, together, atol=tolerance, rtol=0)
    np.testing.assert_allclose(reverse, together, atol=tolerance, rtol=0)


def check_long_text_is_pooled_not_cut(encoder: TextEncoder) -> None:
    long = "garden roses and tulips in spring " * 580
    assert len(long) < 20_000
    ended = long + "nuclear submarine warfare in the cold ocean " * 40
    roses, submarine = encoder.encode([long, ended])
    assert roses @ submarine < 1 - 1e-4  # the end counts
    start = encoder.encode(["nuclear submarine warfare" + PASSAGE_BREAK + long])[0]
    probe = encoder.encode(["nuclear submarine warfare"])[0]
    assert probe @ start > probe @ submarine  # the beginning counts more


def check_meaning(encoder: TextEncoder) -> None:
    shampoo, conditioner, zombies = encoder.encode(
        ["moisturizing shampoo for dry hair", "conditioner for damaged hair", "zombie shooter video game"]
    )
    assert shampoo @ conditioner > shampoo @ zombies + 0.1
