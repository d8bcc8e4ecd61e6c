"""The vocabulary: one set of tokens for words, semantic IDs, tasks and what is known of an event.

Layout, in order: specials, tasks, kinds of engagement, gaps in time, values, hours, hashed attributes, text (byte-level
BPE, trained on the catalogue's text at the first run and then fixed in the lineage), and last the semantic-ID tokens
(level × code). Only the last block depends on the codebook, so a model can follow a new codebook by changing its tail.

Invariant: equal files give equal token ids; a token id never changes its meaning within a lineage but for semantic-ID
tokens, and those only together with the codebook version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from store.events import KINDS
from store.keys import hash64
from store.requests import Task

SPECIALS = ("<none>", "<begin>", "<end>")
NONE, BEGIN, END = range(3)
"""NONE fills unused slots of a position and adds nothing to it."""
TASKS: tuple[str, ...] = get_args(Task)
GAPS = 14
"""Buckets of elapsed time: bucket 0 is under a minute, each further one two to four times as long."""
VALUES = 8
HOURS = 24
ATTRIBUTES = 2048
"""Attributes share these by hash: many more than a profile's names and values usually are."""
_NUMBER = re.compile(r"\s*-?\d+(\.\d+)?")
_GAP_EDGES_S = np.array(
    [60.0, 300, 1800, 3600 * 2, 3600 * 6, 3600 * 16, *(86_400.0 * d for d in (2, 4, 8, 16, 32, 90, 365))]
)

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocabulary.json"


def gap_bucket(gap_s: float) -> int:
    """The bucket of an elapsed time in seconds; negative times count as zero."""
    return int(np.searchsorted(_GAP_EDGES_S, gap_s, side="right"))


def gap_buckets(gap_s_N: np.ndarray) -> np.ndarray:
    """`gap_bucket` for many."""
    return np.searchsorted(_GAP_EDGES_S, gap_s_N, side="right")


def value_buckets(value_N: np.ndarray) -> np.ndarray:
    """0 for no value (NaN); a fraction (watched part, rating) in six steps; anything above 1 (a price) in the last."""
    known_N = np.isfinite(value_N)
    value_N = np.clip(np.where(known_N, value_N, 0.0), -1.0, 2.0)
    steps_N = 1 + np.clip(value_N * 6, 0.0, 5.0).astype(np.int64)
    return np.where(known_N, np.where(value_N > 1.0, VALUES - 1, steps_N), 0)


def ordered(value: str | float) -> float | None:
    """The number that a value stands for, if it has an order: a number, or a text that begins with one, such as an age
    band (`25-34`, `65+`). None for a plain word."""
    if isinstance(value, str):
        begins = _NUMBER.match(value)
        return float(begins[0]) if begins is not None else None
    return float(value) if math.isfinite(value) else None


_FORMAT = 2


class _Saved(msgspec.Struct, frozen=True):
    format: int
    widths: list[int]


@dataclass(frozen=True)
class Vocabulary:
    """Token ids of everything the model reads and writes. `widths`: codes per level of the codebook."""

    tokenizer: Tokenizer
    widths: tuple[int, ...]

    @property
    def levels(self) -> int:
        return len(self.widths)

    @property
    def slots(self) -> int:
        """Tokens that one position can hold: the codes of an item and three facets (kind, gap, value)."""
        return self.levels + 3

    @cached_property
    def text_size(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    @cached_property
    def task_begin(self) -> int:
        return len(SPECIALS)

    @cached_property
    def kind_begin(self) -> int:
        return self.task_begin + len(TASKS)

    @cached_property
    def gap_begin(self) -> int:
        return self.kind_begin + len(KINDS)

    @cached_property
    def value_begin(self) -> int:
        return self.gap_begin + GAPS

    @cached_property
    def hour_begin(self) -> int:
        return self.value_begin + VALUES

    @cached_property
    def attribute_begin(self) -> int:
        return self.hour_begin + HOURS

    @cached_property
    def text_begin(self) -> int:
        return self.attribute_begin + ATTRIBUTES

    @cached_property
    def semantic_begin(self) -> int:
        return self.text_begin + self.text_size

    @cached_property
    def level_begins(self) -> tuple[int, ...]:
        """First token of each level's codes."""
        return tuple(self.semantic_begin + sum(self.widths[:level]) for level in range(self.levels))

    @cached_property
    def size(self) -> int:
        return self.semantic_begin + sum(self.widths)

    def task(self, task: str) -> int:
        return self.task_begin + TASKS.index(task)

    def attribute(self, name: str, value: str | float) -> int:
        """Attributes share buckets by hash: any name and value a profile may hold has a token."""
        return self.attribute_begin + hash64(f"{name}={value}") % ATTRIBUTES

    def attribute_tokens(self, name: str, value: str | float) -> list[int]:
        """One token for a word. What has an order has two besides: of a narrow and of a wide bucket of its size (wide
        ones hold about two narrow ones), so that what is learned of one size helps with its neighbours."""
        exact = self.attribute(name, value)
        number = ordered(value)
        if number is None:
            return [exact]
        size = math.copysign(math.log2(1.0 + abs(number)), number)
        narrow = self.attribute(f"{name}, narrow", math.floor(4.0 * size))
        return [exact, narrow, self.attribute(f"{name}, wide", math.floor(1.5 * size))]

    def semantic(self, codes: Sequence[int]) -> list[int]:
        """Tokens of a semantic ID (or of its first levels)."""
        return [begin + code for begin, code in zip(self.level_begins, codes, strict=False)]

    def text(self, text: str, limit: int) -> list[int]:
        """Tokens of at most `limit` of a text's pieces; case does not count."""
        if not text:
            return []
        pieces = self.tokenizer.encode(text[: 16 * limit].lower(), add_special_tokens=False).ids
        return [self.text_begin + piece for piece in pieces[:limit]]

    def words(self, tokens: Iterable[int]) -> str:
        """The text of text tokens; others are left out."""
        pieces = [t - self.text_begin for t in tokens if self.text_begin <= t < self.semantic_begin]
        return str(self.tokenizer.decode(pieces))

    def with_widths(self, widths: Sequence[int]) -> Vocabulary:
        """The same words under a codebook of other widths."""
        return Vocabulary(self.tokenizer, tuple(widths))

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / TOKENIZER_FILE))
        (folder / VOCABULARY_FILE).write_bytes(msgspec.json.encode(_Saved(_FORMAT, list(self.widths))))

    @staticmethod
    def load(folder: Path) -> Vocabulary:
        saved = msgspec.json.decode((folder / VOCABULARY_FILE).read_bytes(), type=_Saved)
        if saved.format != _FORMAT:
            raise ValueError(f"{folder.name} has a vocabulary of format {saved.format}, not {_FORMAT}: train another")
        return Vocabulary(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), tuple(saved.widths))


def train_vocabulary(texts: Iterable[str], widths: Sequence[int], size: int) -> Vocabulary:
    """A vocabulary whose text part is learned from `texts` (at most `size` pieces; any script, nothing is unknown)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(_lowered(texts), trainer)
    return Vocabulary(tokenizer, tuple(widths))


def _lowered(texts: Iterable[str]) -> Iterator[str]:
    return (text.lower() for text in texts)
