"""Refused writes: the broker's disk takes nothing more. Said once, and once when it takes something again: whoever
sends tries again all the time."""

from __future__ import annotations

import logging
from pathlib import Path

from store.files.room import is_full

log = logging.getLogger(__name__)


class RefusedWrites:
    """Whether the last thing that was to be written could be."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._refused = False

    def refused(self, error: Exception) -> None:
        if not self._refused:
            what = "there is no room on its disk: make room" if is_full(error) else "repair its disk"
            log.error(
                "%s cannot be written (%s): %s. What is sent meanwhile is refused, and senders try again; nothing is "
                "lost that was acknowledged, and the broker goes on by itself",
                *(self._data_dir, error, what),
            )
        self._refused = True

    def taken(self) -> None:
        if self._refused:
            log.warning("%s can be written: there is room again", self._data_dir)
        self._refused = False
