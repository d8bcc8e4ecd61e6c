"""Example backfill: ranking examples made from the log itself, where the workers could not make enough of them.

A worker makes examples in a share of its time, so a log that is filled faster than it was lived (a first load, a
stream that is sent again) leaves the ranker with next to none, and those come from a state that lagged behind. So the
trainer runs the newest part of the log through `Replay`, in event time, in a process of its own, and learns from what
that finds, piece by piece while it goes on: what a replay would have learned, a running system has learned soon after.

Invariant: a backfill is a function of the log and the settings; it changes nothing but the learner's examples.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from store.events import Engagement, Upload
from store.log import Log
from store.settings import Settings
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.ranking.example import Example
from trainer.ranking.impressions import Impression
from trainer.ranking.learner import RankerLearner
from trainer.runs.log_window import read_window
from trainer.runs.new_engagements import NewEngagements

log = logging.getLogger(__name__)

LEAST_EVENTS = 1_000
GROWTH = 0.5
"""Another backfill pays when the log has grown by so much since the last one."""
WANTED_SHARE = 0.05
"""Live examples of so many engagements are enough: then there is nothing to fill."""
PIECE = 1_000
"""So many examples are handed over at once: the first ranker need not wait for the end of a long log."""
COUNT_EVERY_S = 5.0
NICENESS = 5
"""Beside the trainer's own: a backfill must not hold up a training run."""


Finding = Example | Impression
"""What teaches a ranker: engagements, negative ones too, and lines that were shown, when their window has closed."""


class ExampleCollector(RankerLearner):
    """A learner that passes on as it is what it is given, and never fits."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Finding] = []

    def absorb(self, example: Example) -> None:
        if example.found or example.cold_negatives:
            self._waiting.append(example)

    def absorb_impression(self, impression: Impression) -> None:
        self._waiting.append(impression)

    def take(self) -> list[Finding]:
        """What has come since the last time."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def due(self) -> bool:
        return False


def backfill_examples(settings: Settings, examples: int, share: float | None = None) -> Iterator[Finding]:
    """The examples that a replay of the log finds, which examines at most a share of the engagements, and so many that
    about `examples` are found; beside them all first engagements of items."""
    training = settings.training
    limits = {"max_engagements": training.backfill_engagements, "lookback_engagements": 0, "replay_ratio": 0.0}
    limited = msgspec.structs.replace(settings, training=msgspec.structs.replace(training, **limits))
    with Log(settings.kafka) as reader:
        window = read_window(reader, limited, {}, time.time())
    events = sorted((logged.event for logged in window.engagements), key=_occurred_at)
    cards = window.items
    uploads = [Upload(item_id=card.item_id, uploaded_at=card.uploaded_at) for card in cards.values()]
    uploads.sort(key=_uploaded_at)
    weights = settings.events.weights
    positives = sum(weights.get(event.kind, 0.0) > 0 for event in events)
    share = training.backfill_share if share is None else share
    share = min(share, 1.5 * examples / max(1, positives))  # about a third is not among the candidates
    options = ReplayOptions(sample=0, within_limit=0, baselines=False, examples=share)
    collector = ExampleCollector()
    encoder = text_encoder(settings.content.encoder)
    replay = Replay(uploads, events, encoder, options, settings, learner=collector, cards=cards)
    for _ in replay.steps():
        yield from collector.take()
    yield from collector.take()


class ExampleBackfill:
    """Decides when examples are made from the log, and has it done, one run at a time."""

    def __init__(self, settings: Settings, reader: Log, examples: int) -> None:
        self._settings = settings
        self._new = NewEngagements(reader, settings, sample_records=20)
        self._examples = examples
        self._folder = settings.checkpoint_folder() / "rankers"
        self._process: BaseProcess | None = None
        self._counted_at = 0.0
        self._events = 0
        self._absorbed = 0

    @property
    def busy(self) -> bool:
        """Whether one is under way, or its examples wait to be collected."""
        return self._process is not None

    def poll(self, now: float, absorbed: int) -> list[Finding]:
        """Starts one when it is due; what one has found since the last poll. `absorbed`: live examples so far."""
        if self._process is not None:
            return self._collect(self._process)
        if self._settings.training.backfill_engagements and now - self._counted_at >= COUNT_EVERY_S:
            self._counted_at = now
            events = self._new.count({}, now)
            if self._due(events, absorbed):
                self._events, self._absorbed = events, absorbed
                self._start()
        return []

    def close(self) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join(5)

    def _due(self, events: int, absorbed: int) -> bool:
        new = events - self._events
        if new < max(LEAST_EVENTS, GROWTH * self._events):
            return False
        return absorbed - self._absorbed < min(WANTED_SHARE * new, self._examples / 2)

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for piece in self._folder.glob("backfill-*"):
            piece.unlink()
        arguments = (self._settings, self._examples, self._folder)
        self._process = multiprocessing.get_context("spawn").Process(target=_run, args=arguments, daemon=True)
        self._process.start()
        log.info("making ranking examples from about %s engagements of the log", self._events)

    def _collect(self, process: BaseProcess) -> list[Finding]:
        ended = not process.is_alive()
        found: list[Finding] = []
        for piece in sorted(self._folder.glob("backfill-*.msgpack")):
            found += decode_piece(piece.read_bytes())
            piece.unlink()
        if ended:
            self._process = None
            log.info("the example backfill ended")
            if process.exitcode != 0:
                log.warning("it had status %s; live examples are learned from all the same", process.exitcode)
        return found


class _Piece(msgspec.Struct):
    """What one file holds."""

    examples: list[Example]
    impressions: list[Impression]


def encode_piece(findings: Sequence[Finding]) -> bytes:
    """What `decode_piece` reads: in its order, examples first."""
    examples = [one for one in findings if isinstance(one, Example)]
    impressions = [one for one in findings if isinstance(one, Impression)]
    return msgspec.msgpack.encode(_Piece(examples, impressions), enc_hook=_array_to_builtins)


def decode_piece(data: bytes) -> list[Finding]:
    piece = msgspec.msgpack.decode(data, type=_Piece, dec_hook=_array_of)
    return [*piece.examples, *piece.impressions]


def _array_to_builtins(array: Any) -> tuple[str, list[int], bytes]:
    return array.dtype.str, list(array.shape), array.tobytes()


def _array_of(kind: type, parts: Any) -> np.ndarray:
    assert kind is np.ndarray
    dtype, shape, data = parts
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _run(settings: Settings, examples: int, folder: Path) -> None:
    os.nice(NICENESS)
    found, number = backfill_examples(settings, examples), 0
    while piece := list(islice(found, PIECE)):
        path = folder / f"backfill-{number:06d}.msgpack"
        temporary = path.with_suffix(".writing")
        temporary.write_bytes(encode_piece(piece))
        temporary.rename(path)
        number += 1


def _occurred_at(event: Engagement) -> float:
    return event.occurred_at


def _uploaded_at(upload: Upload) -> float:
    return upload.uploaded_at
