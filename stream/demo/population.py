"""Population: simulated people and items, for demonstrations and tests. Nothing here is real data.

Creators upload items on their topics; people have tastes that drift, come in sessions, mostly stay with a topic and a
series within one, prefer what is new and what is good, and follow bursts around fresh hits. So what a person does next
depends on taste, on the item before and on recency: there is something to learn, and it changes.

Invariants: the seed decides every event; events come in event time; every engagement is with an item uploaded before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from store.events import Engagement, Kind, Upload
from stream.demo.population_text import FORMATS, THEMES, Theme, creator_name, description_of, title_of

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The size and the habits of a population. Rates are per hour of event time."""

    users: int = 2000
    creators: int = 120
    first_items: int = 400
    uploads_per_hour: float = 30.0
    sessions_per_hour: float = 600.0
    steps_per_session: float = 6.0
    drift: float = 0.05
    """Chance, per session, that a person takes up another topic."""
    burst_share: float = 0.08
    """Share of uploads that become a fresh hit for some hours."""
    start_at: float = 1_700_000_000.0
    seed: int = 0


@dataclass(slots=True)
class _Creator:
    name: str
    creator_id: str
    themes: list[int]
    quality: float
    episodes: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Item:
    item_id: str
    theme: int
    creator: int
    quality: float
    next_episode: int = -1


@dataclass(slots=True)
class _Person:
    user_id: str
    tastes: list[int]
    country: str
    device: str
    patience: float
    seen: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Session:
    person: _Person
    steps: int
    last: int = -1


class Population:
    """Iterates over `Upload`s and `Engagement`s in event time, without end.

    >>> events = iter(Population(Census(users=10, first_items=5)))
    >>> next(events).item_id
    'v000000'
    """

    def __init__(self, census: Census = Census()) -> None:
        self._census = census
        self._random = Random(census.seed)
        self._creators = [self._creator(number) for number in range(census.creators)]
        self._people = [self._person(number) for number in range(census.users)]
        self._items: list[_Item] = []
        self._of_theme: list[list[int]] = [[] for _ in THEMES]
        self._hits: list[tuple[float, int]] = []
        self._events = 0

    def __iter__(self) -> Iterator[Upload | Engagement]:
        census, random = self._census, self._random
        now = census.start_at
        for _ in range(census.first_items):
            yield self._upload(now)
            now += 1.0
        agenda: list[tuple[float, int, _Session | Engagement | str]] = []
        order = 0

        def plan(at: float, what: _Session | Engagement | str) -> None:
            nonlocal order
            order += 1
            heapq.heappush(agenda, (at, order, what))

        plan(now + random.expovariate(census.uploads_per_hour) * HOUR_S, "upload")
        plan(now, "arrival")
        while True:
            now, _, what = heapq.heappop(agenda)
            if isinstance(what, Engagement):
                yield what
            elif isinstance(what, _Session):
                for event in self._step(what, now):
                    plan(event.occurred_at, event)
                what.steps -= 1
                if what.steps > 0:
                    plan(now + random.uniform(10.0, 240.0), what)
            elif what == "upload":
                yield self._upload(now)
                plan(now + random.expovariate(census.uploads_per_hour) * HOUR_S, "upload")
            else:
                plan(now + 1.0, self._session())
                plan(now + random.expovariate(census.sessions_per_hour) * HOUR_S, "arrival")

    # Who there is.

    def _creator(self, number: int) -> _Creator:
        themes = self._random.sample(range(len(THEMES)), self._random.choice((1, 1, 2)))
        return _Creator(creator_name(self._random), f"c{number:04d}", themes, self._random.betavariate(2, 3))

    def _person(self, number: int) -> _Person:
        random = self._random
        return _Person(
            user_id=f"u{number:05d}",
            tastes=random.sample(range(len(THEMES)), random.choice((1, 2, 2, 3))),
            country=random.choice(("DE", "BR", "IN", "JP", "NG", "US")),
            device=random.choice(("phone", "phone", "tv", "desktop")),
            patience=random.uniform(0.3, 0.9),
        )

    # What happens.

    def _upload(self, now: float) -> Upload:
        random, number = self._random, len(self._items)
        # A square prefers the first creators: few upload much.
        author = int(random.random() ** 2 * len(self._creators))
        creator = self._creators[author]
        theme = random.choice(creator.themes)
        quality = min(1.0, max(0.05, random.gauss(creator.quality, 0.15)))
        item = _Item(f"v{number:06d}", theme, author, quality)
        title = self._continue_series(creator, theme, number)
        self._items.append(item)
        self._of_theme[theme].append(number)
        if random.random() < self._census.burst_share:
            self._hits.append((now + random.uniform(1.0, 8.0) * HOUR_S, number))
        return self._described(item, title, creator, THEMES[theme], now)

    def _continue_series(self, creator: _Creator, theme: int, number: int) -> str:
        """Half of a creator's items follow the one before: " #2", " #3", … Returns the mark for the title."""
        mark = ""
        if creator.episodes and self._random.random() < 0.5 and self._items[creator.episodes[-1]].theme == theme:
            self._items[creator.episodes[-1]].next_episode = number
            mark = f" #{len(creator.episodes) + 1}"
        else:
            creator.episodes.clear()
        creator.episodes.append(number)
        return mark

    def _described(self, item: _Item, mark: str, creator: _Creator, theme: Theme, now: float) -> Upload:
        title, thing = title_of(self._random, theme)
        form = self._random.choice(FORMATS)
        return Upload(
            item_id=item.item_id,
            uploaded_at=now,
            title=title + mark,
            description=description_of(self._random, theme, thing, creator.name),
            tags=[theme.name, thing, form],
            creator_id=creator.creator_id,
            category=theme.name,
            language="en",
            duration_s=float(self._random.randint(20, 3000)),
        )

    def _session(self) -> _Session:
        random = self._random
        # The power prefers the first people: few are here all day.
        person = self._people[int(random.random() ** 1.5 * len(self._people))]
        if random.random() < self._census.drift:
            person.tastes[random.randrange(len(person.tastes))] = random.randrange(len(THEMES))
        return _Session(person, steps=1 + int(random.expovariate(1.0 / self._census.steps_per_session)))

    def _step(self, session: _Session, now: float) -> Iterator[Engagement]:
        """One thing is shown, and taken or not."""
        person, number = session.person, self._choose(session, now)
        item = self._items[number]
        yield self._engagement(person, item, "impression", now)
        liking = item.quality * (1.5 if item.theme in person.tastes else 0.4)
        if number in person.seen or self._random.random() > 0.35 + liking * person.patience:
            if self._random.random() < 0.3:
                yield self._engagement(person, item, "skip", now + 2.0)
            return
        person.seen.add(number)
        session.last = number
        yield from self._enjoy(person, item, liking, now + 3.0)

    def _enjoy(self, person: _Person, item: _Item, liking: float, now: float) -> Iterator[Engagement]:
        random = self._random
        yield self._engagement(person, item, "click", now)
        watched = min(1.0, max(0.02, random.gauss(0.2 + 0.6 * liking, 0.2)))
        yield self._engagement(person, item, "watch", now + 1.0, round(watched, 3))
        if watched > 0.6 and random.random() < 0.3:
            kind: Kind = random.choice(("like", "like", "share", "save", "comment"))
            yield self._engagement(person, item, kind, now + 2.0)

    def _choose(self, session: _Session, now: float) -> int:
        """The next episode, a fresh hit, or something recent of the same creator's topic or of one's tastes."""
        random = self._random
        if session.last >= 0:
            follow = self._items[session.last].next_episode
            if follow >= 0 and random.random() < 0.5:
                return follow
        self._hits = [hit for hit in self._hits if hit[0] > now]
        if self._hits and random.random() < 0.12:
            return random.choice(self._hits)[1]
        if session.last >= 0 and random.random() < 0.6:
            theme = self._items[session.last].theme
        elif random.random() < 0.9:
            theme = random.choice(session.person.tastes)
        else:
            theme = random.randrange(len(THEMES))
        return self._recent_and_good(self._of_theme[theme])

    def _recent_and_good(self, shelf: list[int]) -> int:
        if not shelf:
            return self._random.randrange(len(self._items))
        picks = [shelf[-1 - min(len(shelf) - 1, int(self._random.expovariate(1 / 12.0)))] for _ in range(3)]
        return max(picks, key=lambda number: self._items[number].quality)

    def _engagement(
        self, person: _Person, item: _Item, kind: Kind, at: float, value: float | None = None
    ) -> Engagement:
        self._events += 1
        return Engagement(
            event_id=f"s{self._census.seed}-{self._events}",
            user_id=person.user_id,
            item_id=item.item_id,
            kind=kind,
            occurred_at=at,
            value=value,
            country=person.country,
            device=person.device,
        )
