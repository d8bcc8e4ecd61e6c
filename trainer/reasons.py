"""Reasons: which source stands for a line of an answer, what a person is told about it, and which past item speaks most
for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from trainer.candidate_ranking import Ranking
from trainer.retrieval.evidence import Evidence

PAST = 20
"""So many of the newest past items are taken away in turn to see which speaks most."""

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
    "spectral": "Close to your taste, above all to {title}",
    "vector": "Close to your taste, above all to {title}",
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
    """A sentence for people; `title` is of what speaks most for the line, of what they chose; empty without one."""
    named = f"“{title}”" if title else "what you chose"
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


def speaks_most(ranking: Ranking, handles_K: np.ndarray, without: Callable[[int], Evidence]) -> list[int | None]:
    """For each item the past one without which its score would be least; None where it would be no less without any.

    Each is really taken away (`without` makes the evidence of the others) and the items are scored again: that costs a
    few milliseconds for each. Candidates, and what the generative model says of them, stay as they were.
    """
    past_L = ranking.taste.handles_L[:PAST].tolist()
    if not past_L or not len(handles_K):
        return [None] * len(handles_K)
    left_LK = np.stack([replace(ranking, evidence=without(handle)).scores_of(handles_K) for handle in past_L])
    most_K = left_LK.argmin(axis=0)
    speaks_K = left_LK.min(axis=0) < ranking.scores_of(handles_K)
    return [past_L[most] if speaks else None for most, speaks in zip(most_K.tolist(), speaks_K.tolist(), strict=True)]
