"""Letters: the newest of what was refused, read from the log for a person who looks, and sent again on a person's word.

What a letter names as its topic was written by whoever may write to `dead-letters`. From here only the project's own
event topics are written to, with the bytes that lie on the log, never with what a browser sent.

Invariant: one look or replay at a time, of at most `NEWEST` records of each partition.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

from store.settings import Settings
from store.topics import EventTopic
from stream.kafka.dead_letters import DeadLetter, Place, count_by_reason, read_letters, replay

NEWEST = 500
SHOWN = 200
TEXT = 2000
"""Characters of an event."""


def look(settings: Settings) -> dict[str, Any]:
    """The newest letters, the newest first. Blocks: call it in a thread."""
    letters = list(read_letters(settings, newest=NEWEST))
    waiting = {letter.place for letter in read_letters(settings, newest=NEWEST, replayed=False)}
    letters.sort(key=lambda letter: letter.came_at_ms, reverse=True)
    return {
        "looked_at": NEWEST,
        "found": len(letters),
        "by_reason": count_by_reason(letters),
        "letters": [_told(settings, letter, letter.place not in waiting) for letter in letters[:SHOWN]],
    }


def send_again(settings: Settings, places: Collection[tuple[int, int]]) -> dict[str, Any]:
    """Publishes these letters' bytes to where they came from; how many were `sent`, and how many `left`: they are gone
    from the newest, were sent before, or name no topic of events. Blocks: call it in a thread."""
    wanted = {Place(*place) for place in places}
    waiting = read_letters(settings, newest=NEWEST, replayed=False)
    chosen = [letter for letter in waiting if letter.place in wanted and _is_event(settings, letter)]
    sent = replay(settings, chosen) if chosen else 0
    return {"sent": sent, "left": len(wanted) - sent}


def _is_event(settings: Settings, letter: DeadLetter) -> bool:
    return letter.topic in {settings.topic(name) for name in get_args(EventTopic)}


def _told(settings: Settings, letter: DeadLetter, replayed: bool) -> dict[str, Any]:
    assert letter.place is not None
    return {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "reason": letter.reason,
        "detail": letter.detail[:TEXT],
        "topic": letter.topic[:256],
        "lay_at": [letter.partition, letter.offset],
        "came_at": letter.came_at_ms / 1000 if letter.came_at_ms >= 0 else None,
        "key": (letter.key or b"").decode(errors="replace")[:256],
        "text": letter.preview(TEXT),
        "bytes": len(letter.value or b""),
        "replayed": replayed,
        "may_replay": not replayed and _is_event(settings, letter),
    }
