"""A simulated population on a log: what the tests of whole systems publish."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

from store.events import Engagement
from store.settings import Settings
from stream.client.publisher import Publisher
from stream.demo.population import Census, Population

_CENSUS = Census(users=200, first_items=300, uploads_per_hour=20.0, sessions_per_hour=100.0)


def publish_population(settings: Settings, flush_s: float = 20.0, per_s: float | None = None) -> list[str]:
    """Publishes some thousand events of a small population, at once or `per_s` a second; its users, in order."""
    users: set[str] = set()
    with Publisher(settings=settings) as publisher:
        for count, event in enumerate(Population(_CENSUS)):
            if hasattr(event, "event_id"):
                publisher.engagement(event)
                users.add(event.user_id)
            else:
                publisher.upload(event)
            if per_s is not None:
                time.sleep(1 / per_s)
            if len(users) > 150 and count > 4000:
                break
        publisher.flush(flush_s)
    return sorted(users)


def rest_of_population(after: int = 6000) -> Iterator[Engagement]:
    """What its people do after so many events, without end; what is uploaded meanwhile is not told."""
    return (event for event in islice(Population(_CENSUS), after, None) if isinstance(event, Engagement))
