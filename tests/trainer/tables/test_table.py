"""The table: the most asked questions have lists, and what is looked up is what would be answered."""

from __future__ import annotations

import msgspec
import pytest

from store.requests import Answer, Request
from store.settings import Settings
from tests.small_world import START, World, card
from tests.trainer.tables.worlds import touched_world
from trainer.model_bundle import ModelBundle
from trainer.ranking.ranker import HeuristicRanker
from trainer.semantic_ids.codebook import zero_codebook
from trainer.tables.questions import Question
from trainer.tables.table import PRICE, Table, TableRules

ASKED = int(PRICE)
RULES = TableRules(lists=5, length=20, max_age_s=60.0)
SIMILAR = Request(user_id="new", task="similar", item_id="i3", k=7)


class Now:
    def __init__(self, world: World, rules: TableRules = RULES) -> None:
        self.world = world
        self.later_s = 0.0
        self.table = Table(world.recommender, rules, lambda: self.later_s)

    def fill(self, most: int = 100) -> list[Question]:
        """Computes what is due; what that was."""
        made = []
        for question in self.table.due():
            assert self.table.put(question, self.table.compute(question))
            made.append(question)
            if len(made) == most:
                break
        return made

    def answer(self, request: Request) -> Answer | None:
        found = self.table.find(request, self.world.users.get(request.user_id))
        return None if found.served is None else found.served.answer


@pytest.fixture
def now() -> Now:
    return Now(touched_world())


def test_what_is_asked_often_is_listed_and_then_looked_up_with_the_same_lines(now: Now) -> None:
    for _ in range(ASKED):
        assert now.fill() == [], "nobody has paid for it"
        assert now.answer(SIMILAR) is None
    assert now.fill() == [Question("similar", "i3")]
    found, live = now.answer(SIMILAR), now.world.recommender.answer(SIMILAR, None).answer
    assert found is not None
    assert found.items == live.items
    assert (found.checkpoint, found.codebook, found.degraded) == (live.checkpoint, live.codebook, False)
    assert [note.reason for note in found.notes] == ["table"]
    assert found.request_id != live.request_id
    first = msgspec.structs.replace(SIMILAR, page="")
    paged = now.answer(first)
    assert paged is not None
    assert paged.next_page == now.world.recommender.answer(first, None).answer.next_page
    assert now.fill() == []


def test_requests_that_no_list_answers_exactly_go_the_usual_way(now: Now) -> None:
    for _ in range(ASKED):
        now.answer(SIMILAR)
    now.fill()
    assert now.answer(Request(user_id="new", task="similar", item_id="i3", k=21)) is None
    assert now.answer(Request(user_id="u1", task="similar", item_id="i3")) is None, "u1 has a history"
    assert now.answer(Request(user_id="new", task="similar", item_id="i3", exclude=("i5",))) is None
    assert now.answer(SIMILAR) is not None


def test_what_is_taken_down_is_served_to_nobody_from_that_moment(now: Now) -> None:
    for _ in range(ASKED):
        now.answer(SIMILAR)
    now.fill()
    first = now.answer(SIMILAR)
    assert first is not None
    now.world.recommender.remove(first.items[0].item_id)
    for _ in range(ASKED):
        assert now.answer(SIMILAR) is None
    assert now.fill() == [Question("similar", "i3")]
    second = now.answer(SIMILAR)
    assert second is not None
    assert first.items[0].item_id not in {line.item_id for line in second.items}


@pytest.mark.parametrize("what", ["checkpoint", "ranker"])
def test_an_exchange_ends_all_lists_and_what_was_made_before_comes_too_late(now: Now, what: str) -> None:
    for _ in range(ASKED):
        now.answer(SIMILAR)
    now.fill()
    early = now.table.compute(Question("home"))
    if what == "checkpoint":
        now.world.recommender.exchange(ModelBundle(zero_codebook(Settings()), checkpoint="c1"))
    else:
        now.world.recommender.exchange_ranker(HeuristicRanker())
    for _ in range(ASKED):
        assert now.answer(SIMILAR) is None
    assert not now.table.put(Question("home"), early)
    made = now.fill()
    assert made[0] == Question("similar", "i3")
    assert Question("home") in made, "what is popular is listed before anybody asks"
    assert len(now.table) == RULES.lists
    answer = now.answer(SIMILAR)
    assert answer is not None
    assert answer.checkpoint == ("c1" if what == "checkpoint" else "none")


def test_a_list_is_made_anew_before_it_is_too_old(now: Now) -> None:
    for _ in range(ASKED):
        now.answer(SIMILAR)
    now.fill()
    now.later_s = 31.0
    assert now.fill() == [], "until it is paid for"
    for _ in range(ASKED):
        assert now.answer(SIMILAR) is not None
    assert now.fill() == [Question("similar", "i3")]
    now.later_s = 31.0 + 61.0
    assert now.answer(SIMILAR) is None


def test_no_more_lists_than_are_allowed(now: Now) -> None:
    for number in range(20):
        for _ in range(ASKED + number):
            now.answer(Request(task="similar", item_id=f"i{number}"))
    made = now.fill()
    assert made == [Question("similar", f"i{number}") for number in range(19, 14, -1)]
    assert len(now.table) == RULES.lists
    assert 0 < now.table.bytes < 5 * 21 * 1000


def test_a_question_without_a_list_is_not_tried_all_the_time(now: Now) -> None:
    asked = Request(task="similar", item_id="nothing")
    for _ in range(3 * ASKED):
        now.answer(asked)
    assert now.fill() == [Question("similar", "nothing")]
    assert now.fill() == []
    now.later_s = 61.0
    assert now.fill() == [Question("similar", "nothing")]


def test_exploration_goes_the_usual_way_and_what_is_shown_is_counted(now: Now) -> None:
    for number in range(60, 70):
        now.world.recommender.insert(card(number, START))
    for _ in range(ASKED):
        now.answer(SIMILAR)
    now.fill()
    exploration = now.world.recommender.exploration
    lines = exploration.lines
    assert now.answer(SIMILAR) is not None
    assert exploration.lines == lines + 7
    exploration.share = 1.0
    found = now.table.find(SIMILAR, None)
    assert (found.served, found.explores) == (None, True)
    exploration.share = 0.0
    live = now.world.recommender.answer(SIMILAR, None, explores=found.explores)
    assert live.answer.items[-1].source == "explore"
