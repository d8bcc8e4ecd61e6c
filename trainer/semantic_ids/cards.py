"""Cards: what an upload becomes. Pure functions, equal on every worker and in replay.

Invariant: a card is a function of its upload, the timestamp of its record and the codebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from store.events import Upload
from store.items import ItemCard, pack_parts
from trainer.content.encoder import TextEncoder
from trainer.content.encoders import content_parts
from trainer.semantic_ids.codebook import Codebook, suffix_of
from trainer.semantic_ids.word_map import WORDS, buckets_of, parts_of

MOST_TITLE, MOST_TAGS, MOST_WORD = 500, 32, 256
"""Characters of a card's title, its tags, and characters of each tag, creator, category and language: with the bounds
on features they keep every card far below a broker's usual limit of 1 MiB."""


def plain_card(upload: Upload, part: Mapping[str, np.ndarray], published_at_ms: int) -> ItemCard:
    """The card of an upload that has no semantic ID yet."""
    return ItemCard(
        item_id=upload.item_id,
        codebook="",
        codes=[],
        suffix=suffix_of(upload.item_id),
        assigned_at=upload.uploaded_at,
        uploaded_at=upload.uploaded_at,
        published_at_ms=published_at_ms,
        title=(upload.title or "")[:MOST_TITLE],
        tags=[tag[:MOST_WORD] for tag in upload.tags[:MOST_TAGS]],
        category=_word(upload.category),
        creator_id=_word(upload.creator_id),
        language=_word(upload.language),
        content=pack_parts(part),
    )


def cards_of(
    uploads: Sequence[tuple[Upload, int]], encoder: TextEncoder, codebook: Codebook, now: float
) -> list[ItemCard]:
    """Cards of uploads (each with its record's timestamp in ms) under `codebook`."""
    parts = content_parts([upload for upload, _ in uploads], encoder)
    plain = [plain_card(upload, part, at_ms) for (upload, at_ms), part in zip(uploads, parts, strict=True)]
    return _assigned(
        plain, [{**part, WORDS: buckets_of(card)} for part, card in zip(parts, plain, strict=True)], codebook, now
    )


def renewed_cards(cards: Sequence[ItemCard], codebook: Codebook, now: float) -> list[ItemCard]:
    """The same items under another codebook."""
    return _assigned(cards, [parts_of(card) for card in cards], codebook, now)


def _assigned(
    cards: Sequence[ItemCard], parts: Sequence[Mapping[str, np.ndarray]], codebook: Codebook, now: float
) -> list[ItemCard]:
    return [
        msgspec.structs.replace(card, codebook=codebook.version, codes=codes, assigned_at=now)
        for card, codes in zip(cards, codebook.assign_parts(parts).tolist(), strict=True)
    ]


def _word(text: str | None) -> str | None:
    return text and text[:MOST_WORD]
