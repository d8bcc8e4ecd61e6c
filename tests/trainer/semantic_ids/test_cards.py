"""Cards: a function of the upload and the codebook, and always small enough for their topic."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from store.events import MOST_FEATURES, MOST_NAME, MOST_NUMBERS, Limits, Upload, decode_uploads
from store.settings import Settings
from trainer.content.encoder import TextEncoder
from trainer.content.encoders import text_encoder
from trainer.semantic_ids.cards import cards_of, renewed_cards
from trainer.semantic_ids.codebook import zero_codebook

WORST = "\x01"  # six bytes in JSON


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return text_encoder("static")


def upload(**fields: object) -> Upload:
    return Upload(**{"item_id": "i1", "uploaded_at": 5.0, **fields})


def accepted(value: Upload) -> bool:
    limits = Limits(max_record_bytes=16 << 20)
    return not decode_uploads(msgspec.json.encode(value), now=10.0, limits=limits).refusals


def test_the_largest_card_fits_a_topic_of_one_mebibyte(encoder: TextEncoder) -> None:
    names = [f"{n:02}" + WORST * (MOST_NAME - 2) for n in range(MOST_FEATURES)]
    largest = upload(
        item_id="i" + WORST * 255,
        title=WORST * 10_000,
        tags=[WORST * 10_000] * 100,
        creator_id=WORST * 10_000,
        category=WORST * 10_000,
        language=WORST * 10_000,
        features={name: [0.1, 1.0] * (MOST_NUMBERS // 2) for name in names},
    )
    assert accepted(largest)
    (card,) = cards_of([(largest, 3)], encoder, zero_codebook(Settings()), now=1.0)
    assert len(card.content) >= MOST_FEATURES
    assert len(msgspec.json.encode(card)) < 900_000


@pytest.mark.parametrize(
    "features",
    [
        {"visual": [0.0] * (MOST_NUMBERS + 1)},
        {f"m{n}": [1.0] for n in range(MOST_FEATURES + 1)},
        {"m" * (MOST_NAME + 1): [1.0]},
    ],
)
def test_features_beyond_the_bounds_are_refused(features: dict[str, list[float]]) -> None:
    assert not accepted(upload(features=features))


def test_a_card_is_a_function_of_the_upload_alone(encoder: TextEncoder) -> None:
    codebook = zero_codebook(Settings())
    uploads = [
        (upload(item_id=f"i{n}", title=f"about {n}", features={"visual": [float(n), 1.0]}), n) for n in range(20)
    ]
    together = cards_of(uploads, encoder, codebook, now=1.0)
    apart = [cards_of([one], encoder, codebook, now=1.0)[0] for one in reversed(uploads)]
    assert together == apart[::-1]
    assert [card.published_at_ms for card in together] == list(range(20))
    assert cards_of([], encoder, codebook, now=1.0) == []


def test_renewed_under_the_same_codebook_codes_stay(encoder: TextEncoder) -> None:
    codebook = zero_codebook(Settings())
    uploads = [(upload(item_id=f"i{n}", title=f"a title {n}", features={"v": [n, 2.0, 0.1]}), n) for n in range(20)]
    cards = cards_of(uploads, encoder, codebook, now=1.0)
    assert renewed_cards(cards, codebook, now=1.0) == cards
    assert [card.assigned_at for card in renewed_cards(cards, codebook, now=2.0)] == [2.0] * 20


def test_an_item_without_content_has_a_direction_of_its_own(encoder: TextEncoder) -> None:
    cards = cards_of([(upload(item_id=f"i{n}"), 0) for n in range(2)], encoder, zero_codebook(Settings()), now=1.0)
    (one,), (other,) = (list(card.parts().values()) for card in cards)
    assert not np.array_equal(one, other)
