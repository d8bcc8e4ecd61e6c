"""The tables of the settings for what is asked: what is particular to a task, and answers that are made beforehand."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from store.settings.ranges import AtLeast1, Count, NotNegative, Positive, Share, Table

Fallback = Literal["none", "popular", "table"]
Length = Annotated[int, Meta(ge=1, le=100)]


class Utility(Table, frozen=True):
    """What a shown line is worth: click · P(click) + completion · P(click) · P(completion) - negative · P(negative)."""

    click: float = 1.0
    completion: float = 0.25
    negative: float = 1.0


class TaskSettings(Table, frozen=True):
    """What is particular to a task; 0 is no bound. `within_ms`: an answer that is not begun by then goes without its
    late parts, where the request does not say. `depth`: how many times as many candidates each source proposes.
    `most_per_creator`, `most_per_topic` (the first code of a semantic ID): lines of an answer, as long as there are
    others. `least_click`: what is less likely to be clicked is not shown, nor anything before heads are learned.
    `most_per_day`: answers that a user gets in 24 hours, whichever worker gives them; the user's row remembers.
    `fallback`: what is answered when an answer is not there after `within_ms`, or fails: what is `popular` (in
    the category of the item on show), with `table` after the lines of the newcomer's precomputed list; with `none` it
    is made without its late parts, however long that takes, or is an error. `cache_s`: for so long the same request of
    the same user gets the same lines, unless the user has engaged or been shown something, or what it rests on has
    changed. `utility`: in place of that of all."""

    within_ms: Count = 0
    depth: Positive = 1.0
    most_per_creator: Count = 0
    most_per_topic: Count = 0
    least_click: Share = 0.0
    most_per_day: Count = 0
    fallback: Fallback = "none"
    cache_s: NotNegative = 0.0
    utility: Utility | None = None


class Precomputed(Table, frozen=True):
    """Lists of answers that many people would get alike, made in the background in a `share` of the time of one core
    (0: none), for the questions of users without a history that are asked most. At most `lists` of `length` lines, some
    18 KiB each, none handed out when it is older than `max_age_s`, or once its items have changed. What is new shows in
    them later, so they are for a worker that would otherwise be too slow."""

    share: Share = 0.0
    lists: AtLeast1 = 1000
    length: Length = 20
    max_age_s: Positive = 60.0
