"""A recorded stream as arrays: items by index, users' engagements in order, and where the judged half begins."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from store.events import Engagement, Upload

RECENT = 20


@dataclass(frozen=True, slots=True)
class Stream:
    """A recorded stream as arrays over engagements (user, item, time) and items."""

    name: str
    uploads: list[Upload]
    uploaded_at_N: np.ndarray
    user_E: np.ndarray
    item_E: np.ndarray
    at_E: np.ndarray
    half_at: int | None = None

    @property
    def half(self) -> int:
        """The first engagement of the judged part."""
        return len(self.item_E) // 2 if self.half_at is None else self.half_at

    def sequences(self) -> list[np.ndarray]:
        """Each user's items in the training part."""
        users = self.user_E[: self.half]
        order = np.argsort(users, kind="stable")
        return np.split(self.item_E[: self.half][order], np.flatnonzero(np.diff(users[order])) + 1)


def read_stream(folder: Path) -> Stream:
    """The stream in `folder` (uploads.jsonl.gz, engagements.jsonl.gz)."""
    with gzip.open(folder / "uploads.jsonl.gz") as lines:
        uploads = [msgspec.json.decode(line, type=Upload) for line in lines]
    place = {upload.item_id: index for index, upload in enumerate(uploads)}
    with gzip.open(folder / "engagements.jsonl.gz") as lines:
        events = [msgspec.json.decode(line, type=Engagement) for line in lines]
    events = [event for event in events if event.item_id in place]
    users: dict[str, int] = {}
    return Stream(
        folder.name,
        uploads,
        np.array([upload.uploaded_at for upload in uploads]),
        np.array([users.setdefault(event.user_id, len(users)) for event in events]),
        np.array([place[event.item_id] for event in events]),
        np.array([event.occurred_at for event in events]),
    )
