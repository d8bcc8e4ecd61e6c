"""Reasons: which source stands for a line of an answer, and what a person is told about it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EXPLORE = "explore"
"""The source of a line that is shown for what it would teach."""

GIVEN = "given"
"""The source of a line that no source proposed: the request named it."""

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
    GIVEN: "Among those to choose from",
    EXPLORE: "New here: tell us if it is for you",
}


def reason(source: str, title: str) -> str:
    """A sentence for people; `title` is of what they chose last, empty if that has none."""
    named = f"“{title}”" if title else "what you chose last"
    return _REASONS.get(source.split("_")[0], _REASONS["follows"]).format(title=named)


def winners(proposed: Mapping[str, np.ndarray], handles_K: np.ndarray) -> list[str]:
    """For each item the source that ranks it highest, the first of those that rank it as high; the popular windows
    count as one. Empty for an item that none proposes."""
    names, count_S = [*proposed], [len(handles) for handles in proposed.values()]
    if not sum(count_S):
        return [""] * len(handles_K)
    handle_E, source_E = np.concatenate([*proposed.values()]), np.repeat(np.arange(len(names)), count_S)
    place_E = np.concatenate([np.arange(count) for count in count_S])
    place_KE = np.where(handle_E == handles_K[:, None], place_E, len(handle_E))
    best_K = place_KE.argmin(axis=1)
    found = [names[source] for source in source_E[best_K].tolist()]
    told_K = place_KE[np.arange(len(handles_K)), best_K] < len(handle_E)
    return [
        ("popular" if name.startswith("popular_") else name) * told
        for name, told in zip(found, told_K.tolist(), strict=True)
    ]
