"""Kept answers: the same lines within some seconds, and never past what their user or the catalogue has done."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from store.requests import Answer, Request
from store.settings import Settings
from tests.small_world import START, card
from tests.trainer.tables.worlds import touched_world
from trainer.model_bundle import ModelBundle
from trainer.ranking.ranker import HeuristicRanker
from trainer.semantic_ids.codebook import zero_codebook
from trainer.tables.kept import KeptAnswers

LATER = START + 9 * 86_400.0
HOME = Request(user_id="u1", k=5)


class Asked:
    def __init__(self, most: int = 10) -> None:
        self.world = touched_world()
        self.now_s = 0.0
        self.kept = KeptAnswers(self.world.recommender, {"home": 5.0, "search": 0.0}, most, lambda: self.now_s)

    def ask(self, request: Request = HOME) -> Answer:
        user = self.world.users.get(request.user_id)
        found = self.kept.find(request, user)
        if found.served is not None:
            return found.served.answer
        served = self.world.recommender.answer(request, user, explores=found.explores)
        if found.place is not None:
            self.kept.keep(found.place, served)
        return served.answer

    def was_kept(self, request: Request = HOME) -> bool:
        return "cached" in {note.reason for note in self.ask(request).notes}

    def absorbs(self, user_id: str, item_id: str, kind: str) -> None:
        """As the user's side does it: the row's offset is that of the record."""
        self.world.engage(user_id, item_id, LATER, kind)
        row = self.world.users[user_id]
        row.offset = row.entries[-1].offset


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_the_same_request_gets_the_same_lines_under_another_id_for_some_seconds(asked: Asked) -> None:
    first = asked.ask()
    lines = asked.world.recommender.exploration.lines
    again = asked.ask(msgspec.structs.replace(HOME, within_ms=40))
    assert again.items == first.items
    assert again.request_id != first.request_id
    assert [note.reason for note in again.notes] == ["cached"]
    assert asked.world.recommender.exploration.lines == lines + 5
    assert not asked.was_kept(msgspec.structs.replace(HOME, k=6))
    assert not asked.was_kept(msgspec.structs.replace(HOME, user_id="u2"))
    asked.now_s = 5.1
    assert not asked.was_kept()


@pytest.mark.parametrize("kind", ["click", "impression", "hide"])
def test_whatever_the_user_does_ends_it(asked: Asked, kind: str) -> None:
    first = asked.ask()
    assert asked.was_kept()
    asked.absorbs("u1", first.items[0].item_id, kind)
    after = asked.ask()
    assert after.notes == []
    assert (first.items[0].item_id in {line.item_id for line in after.items}) is (kind == "impression")


@pytest.mark.parametrize(
    "change",
    [
        lambda asked: asked.world.recommender.exchange(ModelBundle(zero_codebook(Settings()), checkpoint="c1")),
        lambda asked: asked.world.recommender.exchange_ranker(HeuristicRanker()),
        lambda asked: asked.world.recommender.remove(asked.ask().items[0].item_id),
        lambda asked: setattr(asked.world.users["u1"], "profiled_at", 7.0),
        lambda asked: asked.world.users.pop("u1"),
        lambda asked: asked.kept.forget("u1"),
        lambda asked: [asked.world.recommender.insert(card(number, LATER)) for number in (90, 91)],
    ],
)
def test_whatever_else_it_rests_on_ends_it(asked: Asked, change: Callable[[Asked], object]) -> None:
    asked.ask()
    assert asked.was_kept()
    change(asked)
    assert not asked.was_kept()


def test_what_came_while_the_answer_was_made_ends_it(asked: Asked) -> None:
    found = asked.kept.find(HOME, asked.world.users["u1"])
    served = asked.world.recommender.answer(HOME, asked.world.users["u1"])
    asked.absorbs("u1", served.answer.items[0].item_id, "click")
    assert found.place is not None
    asked.kept.keep(found.place, served)
    assert not asked.was_kept()


def test_only_whole_answers_of_tasks_that_say_so_are_kept(asked: Asked) -> None:
    short, next_one = Request(user_id="u1", k=60), Request(user_id="u1", task="next")
    for request in (short, next_one, Request(user_id="u1", task="search", query="x")):
        asked.ask(request)
        assert not asked.was_kept(request)
    assert len(asked.kept) == 0
    asked.world.recommender.exploration.share = 1.0
    for _ in range(2):
        assert asked.ask().items[-1].source == "explore"
    assert len(asked.kept) == 0


def test_a_kept_answer_is_made_anew_when_it_is_its_turn_to_explore(asked: Asked) -> None:
    asked.ask()
    asked.world.recommender.exploration.share = 1.0
    assert asked.ask().items[-1].source == "explore"


def test_no_more_are_kept_than_there_is_room_for() -> None:
    asked = Asked(most=3)
    for number in range(9):
        asked.ask(Request(user_id=f"u{number}", k=3))
    assert len(asked.kept) == 3
    assert asked.was_kept(Request(user_id="u8", k=3))
    assert not asked.was_kept(Request(user_id="u0", k=3))
