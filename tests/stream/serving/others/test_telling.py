"""What a worker tells owners: what is due, to whom, and that nothing waits without a bound."""

from __future__ import annotations

import asyncio

from store.records.peer_messages import Heard, ShownAnswer, Told
from stream.serving.others.telling import BEAT_S, MOST_LINES_AT_ONCE, MOST_WAITING, Telling

A, B, ME = "http://a", "http://b", "http://me"


class Owners:
    """Owners that note what they are told; those in `away` do not answer."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Told]] = []
        self.away: set[str] = set()

    async def tell(self, url: str, told: Told) -> Heard | None:
        self.told.append((url, told))
        return None if url in self.away else Heard([("i1", True)] if told.shown else [], [ME, "http://other"])


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.owners = Owners()
        self.hits: list[tuple[str, bool]] = []
        urls = {0: A, 1: A, 2: B, 3: ME}
        self.telling = Telling(self.owners, urls, lambda: ME, lambda *hit: self.hits.append(hit), lambda: self.now)

    def tell(self) -> list[tuple[str, Told]]:
        self.owners.told.clear()
        asyncio.run(self.telling.tell())
        return sorted(self.owners.told, key=lambda each: each[0])


def shown(user: str) -> ShownAnswer:
    return ShownAnswer(user, "home", "r", 1.0, ["i1", "i2"])


def test_each_owner_hears_at_its_beat_and_at_once_where_there_is_something() -> None:
    world = World()
    assert [url for url, _ in world.tell()] == [A, B]
    assert world.tell() == []
    world.telling.shown(1, shown("u"))
    assert [(url, told.shown) for url, told in world.tell()] == [(A, [shown("u")])]
    assert world.hits == [("i1", True)]
    world.now = BEAT_S
    assert [(url, told.url) for url, told in world.tell()] == [(A, ME), (B, ME)]
    assert world.telling.answering() == {A, B}
    assert world.telling.answerers() == {ME, "http://other"}


def test_a_silent_owner_is_told_at_the_beat_only_and_what_is_wanted_of_it_stays() -> None:
    world = World()
    world.owners.away.add(A)
    assert world.telling.wanted(0, "i9")
    assert not world.telling.wanted(3, "i9"), "its own"
    assert not world.telling.wanted(7, "i9"), "nobody's"
    world.tell()
    assert world.telling.answering() == {B}
    assert world.tell() == []
    world.owners.away.clear()
    world.now = BEAT_S
    assert next(told.wanted for url, told in world.tell() if url == A) == {0: ["i9"]}
    world.now = 2 * BEAT_S
    assert next(told.wanted for url, told in world.tell() if url == A) == {}


def test_what_waits_is_bounded_and_leaves_in_pieces() -> None:
    world = World()
    for number in range(MOST_WAITING + 5):
        world.telling.shown(0, shown(f"u{number}"))
        world.telling.wanted(0, f"i{number}")
    _, told = world.tell()[0]
    assert sum(1 + len(one.item_ids) for one in told.shown) <= MOST_LINES_AT_ONCE + 3
    assert told.shown[0].user_id == "u5"
    assert len(told.wanted[0]) <= MOST_LINES_AT_ONCE
