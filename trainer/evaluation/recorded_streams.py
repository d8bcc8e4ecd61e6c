"""Recorded streams: the events in a folder, and which of its engagements can be evaluated.

Invariant: what is chosen depends on each event's own id, not on what was chosen besides.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from store.events import Engagement, Upload
from store.keys import hash64


class StreamError(ValueError):
    """The folder is no recorded stream: it needs uploads.jsonl[.gz] and engagements.jsonl[.gz] in time order."""


def read_events(folder: Path, name: str, kind: type[Any]) -> list[Any]:
    """The events of `name`.jsonl or .jsonl.gz."""
    decoder = msgspec.json.Decoder(kind)
    for path, opener in ((folder / f"{name}.jsonl.gz", gzip.open), (folder / f"{name}.jsonl", open)):
        if path.exists():
            with opener(path, "rb") as lines:
                return [decoder.decode(line) for line in lines if line.strip()]
    raise StreamError(f"{folder} has no {name}.jsonl or {name}.jsonl.gz: give the folder of a recorded stream")


def evaluable_places(
    uploads: list[Upload],
    engagements: list[Engagement],
    weights: Mapping[str, float],
    *,
    evaluated_from: float = 0.5,
    repeats: bool = False,
) -> list[int]:
    """Places of engagements that could be evaluated: positive, in the part from that share of all on, live, and new to
    their user unless `repeats`."""
    uploaded = {upload.item_id: upload.uploaded_at for upload in reversed(uploads)}
    first = int(len(engagements) * evaluated_from)
    have: set[tuple[str, str]] = set()
    places: list[int] = []
    for place, event in enumerate(engagements):
        if weights.get(event.kind, 0.0) <= 0:
            continue
        pair = (event.user_id, event.item_id)
        new = repeats or pair not in have
        have.add(pair)
        if place >= first and new and uploaded.get(event.item_id, np.inf) <= event.occurred_at:
            places.append(place)
    return places


def sample_places(engagements: list[Engagement], places: list[int], count: int, seed: int) -> set[int]:
    """A sample of places that depends on each event's own id only, as far as its size allows."""
    return set(sorted(places, key=lambda place: hash64(f"{seed}/{engagements[place].event_id}"))[:count])
