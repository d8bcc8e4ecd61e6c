"""MiniLM: the same suite as every encoder, and bfloat16 against float32."""

from __future__ import annotations

import pytest

from tests.trainer.content.encoder_suite import TEXTS, check_encoder
from trainer.content.encoder import MissingEncoderError
from trainer.content.encoders import text_encoder

try:
    text_encoder("minilm")
except MissingEncoderError as reason:
    pytest.skip(f"MiniLM cannot be tested: {reason}", allow_module_level=True)

from trainer.content.minilm import MiniLMEncoder


@pytest.mark.long
def test_minilm_passes_the_suite() -> None:
    check_encoder(text_encoder("minilm"), tolerance=1e-3)


def test_bfloat16_means_the_same_as_float32() -> None:
    exact, fast = MiniLMEncoder(bf16=False).encode(TEXTS[:8]), MiniLMEncoder(bf16=True).encode(TEXTS[:8])
    assert (exact * fast).sum(axis=1).min() > 0.999


def test_a_boundless_text_costs_a_bounded_number_of_chunks() -> None:
    encoder = MiniLMEncoder()
    assert len(encoder.chunks_of("word " * 100_000)) == 64
