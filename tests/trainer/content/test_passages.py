"""Passages: the title first, and what it counts."""

from __future__ import annotations

from store.events import Upload
from trainer.content.encoders import text_encoder
from trainer.content.passages import passages_of, text_of


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
