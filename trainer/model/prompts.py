"""Prompts: how a request becomes positions that the model reads, the same way in training, gate, replay and serving.

    [begin + attributes] [more attributes] … [item] [item] … [item]
    [begin + attributes] … [item] …  [context item]
    [begin + attributes] … [item] …  [context item] [query] [query] …

An item is one position: its codes, the kind of engagement, the time since the one before, its value, and its place
in the table of what items are (`trainer.model.item_table`). Newest last. Asked is at the last position: the task, the
time since the newest engagement, country, device and hour of the day.

Invariant: a prompt never exceeds `PromptLimits.positions`; what does not fit is dropped from the history's oldest end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.model.vocabulary import BEGIN, GAPS, NONE, Vocabulary, gap_bucket, gap_buckets, value_buckets

ASK = 5
"""Tokens of an ask: task, time since the newest engagement, country, device, hour."""
NO_ITEM = -1
"""The item of a position that holds none, or whose item the table does not know."""
MOST_ATTRIBUTES = 24


@dataclass(frozen=True, slots=True)
class Past:
    """One engagement of a history as the model needs it; `codes` under the model's codebook, `item` its place."""

    codes: Sequence[int]
    kind: int
    occurred_at: float
    value: float | None = None
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """How long a prompt may be: items of history, pieces of a query, positions in all."""

    history: int = 100
    query: int = 32
    positions: int = 192


@dataclass(frozen=True, slots=True)
class Prompt:
    """Positions (T K) and what is asked at the last one (ASK), both token ids; the item of each position (T)."""

    tokens_TK: np.ndarray
    ask: np.ndarray
    item_T: np.ndarray


def ask_tokens(
    vocabulary: Vocabulary,
    task: str,
    gap_s: float | None,
    now_s: float,
    country: str | None = None,
    device: str | None = None,
) -> list[int]:
    """The ask's tokens; `gap_s` is the time since the newest engagement, None where there is none."""
    return [
        vocabulary.task(task),
        NONE if gap_s is None else vocabulary.gap_begin + gap_bucket(gap_s),
        *surroundings(vocabulary, country, device),
        vocabulary.hour_begin + int(now_s % 86_400.0 // 3600.0),
    ]


def surroundings(vocabulary: Vocabulary, country: str | None, device: str | None) -> list[int]:
    """Tokens of where somebody asks from."""
    named = (("asks from", country), ("asks on", device))
    return [vocabulary.attribute(name, value.strip().casefold()) if value else NONE for name, value in named]


def begin_positions(vocabulary: Vocabulary, attributes: Mapping[str, str | float]) -> list[list[int]]:
    """The first positions: the begin token and the tokens of the attributes by name, as many positions as they need."""
    named = sorted(attributes)[:MOST_ATTRIBUTES]
    tokens = [BEGIN, *(token for name in named for token in vocabulary.attribute_tokens(name, attributes[name]))]
    return [tokens[at : at + vocabulary.slots] for at in range(0, len(tokens), vocabulary.slots)]


def history_positions(
    vocabulary: Vocabulary, codes_TL: np.ndarray, kind_T: np.ndarray, gap_s_T: np.ndarray, value_T: np.ndarray
) -> np.ndarray:
    """Positions (T K) of engagements. `gap_s_T`: seconds since the one before (infinite for a user's first);
    `value_T`: NaN where there is none."""
    levels = vocabulary.levels
    bag_TK = np.empty((len(codes_TL), vocabulary.slots), np.int64)
    bag_TK[:, :levels] = codes_TL + np.array(vocabulary.level_begins)
    bag_TK[:, levels] = vocabulary.kind_begin + kind_T
    bag_TK[:, levels + 1] = vocabulary.gap_begin + gap_buckets(gap_s_T)
    bag_TK[:, levels + 2] = vocabulary.value_begin + value_buckets(value_T)
    return bag_TK


def prompt_for(
    vocabulary: Vocabulary,
    *,
    task: str,
    now: float,
    history: Sequence[Past] = (),
    attributes: Mapping[str, str | float] | None = None,
    context: Past | Sequence[int] | None = None,
    query: str | None = None,
    country: str | None = None,
    device: str | None = None,
    limits: PromptLimits = PromptLimits(),
) -> Prompt:
    """The prompt of one request. `history` is oldest first; `context` is the item at hand, or its codes; `now` is
    event time in epoch seconds."""
    opening = begin_positions(vocabulary, attributes or {})
    words = vocabulary.text(query, limits.query) if query else []
    at_hand = _at_hand(context)
    room = max(0, min(limits.history, limits.positions - len(opening) - len(at_hand) - len(words)))
    recent = history[max(0, len(history) - room) :] if room else ()
    parts = [pad_positions(opening, vocabulary.slots)]
    if recent:
        before = history[len(history) - len(recent) - 1].occurred_at if len(recent) < len(history) else -np.inf
        parts.append(_history(vocabulary, recent, before))
    parts.append(pad_positions([vocabulary.semantic(one.codes) for one in at_hand], vocabulary.slots))
    parts.append(pad_positions([[word] for word in words], vocabulary.slots))
    none = [NO_ITEM]
    items = [*none * len(opening), *(past.item for past in (*recent, *at_hand)), *none * len(words)]
    since_s = max(0.0, now - history[-1].occurred_at) if history else None
    ask = ask_tokens(vocabulary, task, since_s, now, country, device)
    return Prompt(np.concatenate(parts), np.array(ask), np.array(items, np.int64))


def _history(vocabulary: Vocabulary, recent: Sequence[Past], before: float) -> np.ndarray:
    """Positions of a history; `before` is when the engagement before it was."""
    occurred_T = np.array([past.occurred_at for past in recent])
    values = [np.nan if past.value is None else past.value for past in recent]
    return history_positions(
        vocabulary,
        np.array([list(past.codes) for past in recent], np.int64),
        np.array([past.kind for past in recent], np.int64),
        np.diff(occurred_T, prepend=before),
        np.array(values, np.float64),
    )


def _at_hand(context: Past | Sequence[int] | None) -> list[Past]:
    if context is None:
        return []
    return [context if isinstance(context, Past) else Past(context, 0, 0.0)]


def pad_positions(rows: Sequence[Sequence[int]], slots: int) -> np.ndarray:
    """Positions (T K) of ragged rows."""
    out = np.full((len(rows), slots), NONE, np.int64)
    for row, tokens in zip(out, rows, strict=True):
        row[: len(tokens)] = tokens
    return out


assert gap_bucket(float("inf")) + 1 <= GAPS
