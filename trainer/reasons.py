"""Reasons: which source stands for a line of an answer, and what a person is told about it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EXPLORE = "explore"
"""The source of a line that is shown for what it would teach."""

_REASONS: Mapping[str, str] = {
    "follows": "People who chose {title} went on to this",
    "together": "Often chosen together with {title}",
    "two": "Chosen by people whose choices resemble yours",
    "counts": "People who chose {title} went on to this",
    "after": "Often comes right after {title}",
    "spectral": "Close to your taste",
    "vector": "Close to your taste",
    "content": "Similar in content to {title}",
    "words": "Described much like {title}",
    "query": "Matches what you are looking for",
    "popular": "Popular now",
    "fresh": "Just uploaded",
    "repeats": "You keep coming back to this",
    "model": "Continues your history",
    "rest": "Also in the catalogue",
    EXPLORE: "New here: tell us if it is for you",
}


def reason(source: str, title: str) -> str:
    """A sentence for people; `title` is of what they chose last, empty if that has none."""
    named = f"“{title}”" if title else "what you chose last"
    return _REASONS.get(source.split("_")[0], _REASONS["follows"]).format(title=named)


def winner(proposed: Mapping[str, np.ndarray], handle: int) -> str:
    """The source that ranks the item highest; the popular windows count as one."""
    best, name = 1 << 30, ""
    for source, handles in proposed.items():
        place = np.flatnonzero(handles == handle)
        if len(place) and int(place[0]) < best:
            best, name = int(place[0]), source
    return "popular" if name.startswith("popular_") else name
