"""Passages: the text of an upload, in parts that an encoder pools.

Long text is pooled, not cut: a text is passages (parted by an empty line; a long one in chunks of so many tokens). The
first counts as much as all others together, which count alike: `text_of` makes the title the first passage.

Invariant: the weights of a text's chunks sum to 1.
"""

from __future__ import annotations

from store.events import Upload

PASSAGE_BREAK = "\n\n"


def text_of(upload: Upload) -> str:
    """An upload as passages: title; tags and category; description; transcript. Empty when it has none of them."""
    about = ", ".join([*upload.tags, *([upload.category] if upload.category else [])])
    fields = (upload.title, about, upload.description, upload.transcript)
    return PASSAGE_BREAK.join(text for text in (field.strip() for field in fields if field) if text)


def passages_of(text: str) -> list[str]:
    """The passages of a text, as valid Unicode (a lone surrogate, which JSON can carry, becomes a question mark)."""
    clean = text.encode("utf-8", "replace").decode()
    return [passage for passage in clean.split(PASSAGE_BREAK) if passage.strip()]


def chunk_sizes(tokens: int, most: int) -> list[int]:
    """A passage of so many tokens as chunks of at most `most`."""
    return [most] * (tokens // most) + ([tokens % most] if tokens % most else [])


def chunk_weights(chunks: int) -> list[float]:
    """What each chunk of a text counts: the first as much as all others together."""
    return [1.0] if chunks == 1 else [0.5] + [0.5 / (chunks - 1)] * (chunks - 1) if chunks else []
