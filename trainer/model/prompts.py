"""Prompts: how a request becomes positions that the model reads, the same way in training and in serving.

    [begin + attributes] [item] [item] … [item]                       ask: task, time since the newest item
    [begin + attributes] [item] …  [context item]                     ask: similar
    [begin + attributes] [item] …  [context item] [query] [query] …   ask: search

An item is one position: its codes, the kind of engagement, the time since the one before, and its value. Newest last.

Invariant: a prompt never exceeds `Limits.positions`; what does not fit is dropped from the oldest end of the history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.model.vocabulary import BEGIN, GAPS, NONE, Vocabulary, gap_bucket, value_bucket

ASK = 2
"""Tokens of an ask: the task, and the time since the newest engagement."""


@dataclass(frozen=True, slots=True)
class Past:
    """One engagement of a history as the model needs it; `codes` under the model's codebook."""

    codes: Sequence[int]
    kind: int
    occurred_at: float
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a prompt may be: items of history, pieces of a query, positions in all."""

    history: int = 50
    query: int = 32
    positions: int = 192


@dataclass(frozen=True, slots=True)
class Prompt:
    """Positions (T K) and what is asked at the last one (2), both token ids."""

    tokens_TK: np.ndarray
    ask: np.ndarray


def ask_tokens(vocabulary: Vocabulary, task: str, gap_s: float | None) -> list[int]:
    """The ask's tokens; `gap_s` is the time since the newest engagement, None where there is none."""
    return [vocabulary.task(task), NONE if gap_s is None else vocabulary.gap_begin + gap_bucket(gap_s)]


def begin_position(vocabulary: Vocabulary, attributes: Mapping[str, str | float]) -> list[int]:
    """The first position: the begin token and as many attributes (by name) as there is room for."""
    known = [vocabulary.attribute(name, attributes[name]) for name in sorted(attributes)]
    return [BEGIN, *known[: vocabulary.slots - 1]]


def item_position(
    vocabulary: Vocabulary, codes: Sequence[int], kind: int, gap_s: float, value: float | None
) -> list[int]:
    """One engagement; `gap_s` is the time since the one before it."""
    return [
        *vocabulary.semantic(codes),
        vocabulary.kind_begin + kind,
        vocabulary.gap_begin + gap_bucket(gap_s),
        vocabulary.value_begin + value_bucket(value),
    ]


def prompt_for(
    vocabulary: Vocabulary,
    *,
    task: str,
    now: float,
    history: Sequence[Past] = (),
    attributes: Mapping[str, str | float] | None = None,
    context: Sequence[int] | None = None,
    query: str | None = None,
    limits: Limits = Limits(),
) -> Prompt:
    """The prompt of one request. `history` is oldest first; `context` are the codes of the item at hand; `now` is
    event time in epoch seconds."""
    words = vocabulary.text(query, limits.query) if query else []
    tail = [list(vocabulary.semantic(context))] if context is not None else []
    tail.extend([word] for word in words)
    room = max(0, min(limits.history, limits.positions - 1 - len(tail)))
    recent = history[len(history) - room - 1 :] if len(history) > room else history
    rows = [begin_position(vocabulary, attributes or {})]
    before: float | None = None
    for place, past in enumerate(recent):
        gap_s = past.occurred_at - before if before is not None else float("inf")
        before = past.occurred_at
        if place > 0 or len(recent) <= room:  # the extra one at the front only tells the gap
            rows.append(item_position(vocabulary, past.codes, past.kind, gap_s, past.value))
    rows.extend(tail)
    return Prompt(pad_positions(rows, vocabulary.slots), np.array(ask_tokens(vocabulary, task, _since(now, before))))


def pad_positions(rows: Sequence[Sequence[int]], slots: int) -> np.ndarray:
    """Positions (T K) of ragged rows."""
    out = np.full((len(rows), slots), NONE, np.int64)
    for row, tokens in zip(out, rows, strict=True):
        row[: len(tokens)] = tokens
    return out


def _since(now: float, before: float | None) -> float | None:
    return None if before is None else max(0.0, now - before)


assert gap_bucket(float("inf")) + 1 <= GAPS
