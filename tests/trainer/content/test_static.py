"""The static encoder: the suite of encoders, any text, any batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings, strategies

from tests.trainer.content.encoder_suite import check_encoder
from trainer.content.encoders import text_encoder
from trainer.content.static import StaticEncoder


def test_the_static_encoder_passes_the_suite_bit_for_bit() -> None:
    check_encoder(text_encoder("static"), tolerance=0.0)


@settings(deadline=None, max_examples=50)
@given(strategies.lists(strategies.text(strategies.characters(), max_size=40), max_size=6))
def test_any_text_gives_a_unit_row_or_zeros_whatever_its_batch(texts: list[str]) -> None:
    encoder = text_encoder("static")
    x_ND = encoder.encode(texts)
    norms = np.linalg.norm(x_ND, axis=1)
    assert all(abs(norm - 1) < 1e-5 or norm == 0 for norm in norms)
    for text, row in zip(texts, x_ND, strict=True):
        np.testing.assert_array_equal(encoder.encode(["other", text])[1], row)


def test_batches_larger_than_the_inner_one_are_put_together_in_order() -> None:
    texts = [f"title {number}" for number in range(50)]
    np.testing.assert_array_equal(StaticEncoder(batch=7).encode(texts), text_encoder("static").encode(texts))
