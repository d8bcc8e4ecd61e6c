"""Lists: what a list says is the live answer of that moment, and it holds until something that it rests on moves."""

from __future__ import annotations

import pytest

from store.requests import Request, Task
from tests.small_world import START, World, card
from tests.trainer.tables.worlds import touched_world, untouched_world
from trainer.items.item_learning import DAY_S
from trainer.recommender import RecommenderRules
from trainer.selection import TaskRules
from trainer.tables.lists import Listed, compute, holds
from trainer.tables.questions import Question

LATER = START + 6 * DAY_S


@pytest.fixture
def world() -> World:
    return touched_world()


def listed(world: World, question: Question, length: int = 20) -> Listed:
    found = compute(world.recommender, question, length, 100.0).listed
    assert found is not None
    return found


def holding(world: World, one: Listed, age_s: float = 0.0) -> bool:
    return holds(one, world.recommender.catalog, 60.0, one.made_at_s + age_s)


@pytest.mark.parametrize("task", ["home", "next", "similar"])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_it_says_what_the_live_answer_says_at_every_length(world: World, task: Task, k: int) -> None:
    question = Question(task, "i3" if task == "similar" else None, "de", "tv")
    one = listed(world, question)
    served = world.recommender.answer(question.request(k), None)
    assert list(one.items[:k]) == served.answer.items
    assert one.x_KF[:k].tobytes() == served.x_KF.astype("<f2").tobytes()


def test_it_says_so_with_bounds_too() -> None:
    rules = RecommenderRules(explore_share=0.0, tasks={"home": TaskRules(most_per_creator=1)})
    world = World(rules)
    for number in range(30):
        world.recommender.insert(card(number, creator_id=f"c{number % 4}"))
    one = listed(world, Question("home"))
    for k in (3, 6, 20):
        assert list(one.items[:k]) == world.ask(k=k).items


def test_where_what_is_found_depends_on_the_length_there_is_none(world: World) -> None:
    assert compute(untouched_world(40).recommender, Question("home"), 40, 0.0).listed is None
    assert compute(untouched_world(20).recommender, Question("home"), 40, 0.0).listed is not None, (
        "there is no more to find"
    )
    assert compute(world.recommender, Question("similar", "nothing"), 20, 0.0).listed is None


def test_a_take_down_or_an_edit_of_any_of_its_items_ends_it(world: World) -> None:
    for about in ("first line", "last line", "on show"):
        one = listed(world, Question("similar", "i3"))
        assert holding(world, one)
        lines = [line.item_id for line in one.items]
        item_id = {"first line": lines[0], "last line": lines[-1], "on show": "i3"}[about]
        known = world.recommender.catalog.cards[world.recommender.catalog.handles[item_id]]
        assert known is not None
        world.recommender.remove(item_id)
        assert not holding(world, one)
        world.recommender.insert(known)
        assert not holding(world, one), "it came back with another card"


def test_it_ends_when_its_items_have_moved_by_an_eighth(world: World) -> None:
    one = listed(world, Question("similar", "i3"))
    before = one.learned
    engaged = 0
    while holding(world, one):
        world.engage("somebody", one.items[engaged % 5].item_id, LATER)
        engaged += 1
        assert engaged <= before
    assert before / 8 < engaged <= before / 8 + 2


def test_a_list_of_untouched_items_ends_at_the_first_engagement() -> None:
    world = untouched_world(30)
    one = listed(world, Question("home"))
    world.engage("u", one.items[3].item_id, LATER)
    assert not holding(world, one)


def test_uploads_and_time_end_it(world: World) -> None:
    one = listed(world, Question("home"))
    assert holding(world, one, age_s=59.0)
    assert not holding(world, one, age_s=61.0)
    world.recommender.insert(card(100, LATER))
    assert holding(world, one)
    world.recommender.insert(card(101, LATER))
    assert not holding(world, one)


def test_what_explores_is_no_part_of_it() -> None:
    world = touched_world()
    world.recommender.exploration.share = 1.0
    lines = world.recommender.exploration.lines
    one = listed(world, Question("home"))
    assert all(line.source != "explore" for line in one.items)
    assert world.recommender.exploration.lines == lines, "nothing was shown to anybody"
    assert Request(k=5) == Question("home").request(5)
