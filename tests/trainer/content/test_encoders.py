"""Content: encoders and parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from store.events import Upload
from tests.trainer.content.encoder_suite import check_encoder
from trainer.content.encoders import (
    NO_CONTENT,
    MissingEncoderError,
    StaticEncoder,
    content_parts,
    passages_of,
    text_encoder,
    text_of,
    unit_rows,
)


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


def test_an_encoder_that_does_not_exist_is_named_with_the_remedy() -> None:
    with pytest.raises(MissingEncoderError, match="use static or minilm"):
        text_encoder("bert")


def test_text_is_composed_of_what_there_is_the_title_first() -> None:
    assert text_of(Upload(item_id="a", uploaded_at=0.0)) == ""
    upload = Upload(item_id="a", uploaded_at=0.0, title=" T ", description="D", tags=["x", "y"], category="c")
    assert passages_of(text_of(upload)) == ["T", "x, y, c", "D"]


def test_the_title_outweighs_a_long_description() -> None:
    encoder = text_encoder("static")
    whole = Upload(item_id="a", uploaded_at=0.0, title="zombie shooter", description="gentle garden of roses " * 200)
    title, description, both = encoder.encode(["zombie shooter", "gentle garden of roses", text_of(whole)])
    assert both @ title > 0.5
    assert both @ title > both @ description - 0.1


def test_parts_hold_text_and_given_modalities_each_of_length_one() -> None:
    uploads = [
        Upload(item_id="a", uploaded_at=0.0, title="hello", features={"visual": [3.0, 4.0], "audio": [0.0, 0.0]}),
        Upload(item_id="b", uploaded_at=0.0, features={"visual": [1e300, 0.0]}),
        Upload(item_id="c", uploaded_at=0.0),
    ]
    first, second, third = content_parts(uploads, text_encoder("static"))
    assert set(first) == {"text", "visual"}
    np.testing.assert_allclose(first["visual"], [0.6, 0.8], atol=1e-3)
    assert second["visual"].tolist() == [1.0, 0.0]
    assert set(third) == {NO_CONTENT}
    assert all(part.dtype == np.float16 for parts in (first, second, third) for part in parts.values())


def test_items_without_content_get_directions_of_their_own_and_always_the_same() -> None:
    uploads = [Upload(item_id=name, uploaded_at=0.0) for name in "abab"]
    a, b, again, _ = (part[NO_CONTENT] for part in content_parts(uploads, text_encoder("static")))
    assert (a == again).all()
    assert abs(float(a @ b)) < 0.9


def test_unit_rows_survive_extreme_numbers() -> None:
    np.testing.assert_allclose(
        unit_rows(np.array([[1e308, 1e308], [1e-200, 0.0], [0.0, 0.0]])).sum(axis=1), [2**0.5, 1, 0]
    )
