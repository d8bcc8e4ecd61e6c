"""Content: encoders and parts."""

from __future__ import annotations

import numpy as np
import pytest

from store.events import Upload
from trainer.content.encoder import MissingEncoderError
from trainer.content.encoders import content_parts, text_encoder
from trainer.content.vectors import NO_CONTENT


def test_an_encoder_that_does_not_exist_is_named_with_the_remedy() -> None:
    with pytest.raises(MissingEncoderError, match="use static or minilm"):
        text_encoder("bert")


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
