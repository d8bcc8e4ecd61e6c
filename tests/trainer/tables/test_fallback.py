"""The fallback holds what any answer may hold, the most popular first, and no answer is shorter for it than it must."""

from __future__ import annotations

from store.requests import Answer, Note, Request
from tests.small_world import START, World, card
from tests.trainer.tables.worlds import touched_world
from trainer.tables.fallback import fallback_answer
from trainer.tables.lists import compute
from trainer.tables.questions import Question

WHY = Note(reason="fallback", text="late")


def answered(world: World, **fields: object) -> Answer:
    request = Request(**fields)  # type: ignore[arg-type]
    return fallback_answer(world.recommender, request, world.users.get(request.user_id), WHY).answer


def ids(answer: Answer) -> list[str]:
    return [line.item_id for line in answer.items]


def test_what_is_popular_comes_first_then_what_is_new() -> None:
    world = touched_world()
    world.engage("x", "i30", START + 40 * 86_400.0)
    world.recommender.insert(card(41, START + 41 * 86_400.0))
    answer = answered(world, k=41)
    assert ids(answer)[0] == "i30"
    assert len(set(ids(answer))) == 41
    popular = [line.source == "popular" for line in answer.items]
    assert popular == sorted(popular, reverse=True)
    assert ids(answer)[popular.index(False)] == "i41"
    assert (answer.degraded, answer.notes) == (True, [WHY])
    assert answer.items[0].semantic_id == world.ask(k=41).items[ids(world.ask(k=41)).index("i30")].semantic_id


def test_nothing_that_may_not_be_shown_is() -> None:
    world = touched_world()
    have = {entry.item_id for entry in world.users["u1"].entries}
    world.recommender.remove("i2")
    answer = answered(world, user_id="u1", exclude=("i3",), k=40)
    assert not {*have, "i2", "i3"} & {*ids(answer)}
    assert len(answer.items) == 40 - len(have | {"i2", "i3"})
    assert {note.reason for note in answer.notes} >= {"fallback", "had", "excluded"}
    first = answered(world, user_id="u1", k=5, page="")
    second = answered(world, user_id="u1", k=5, page=first.next_page)
    assert not {*ids(first)} & {*ids(second)}
    assert ids(answered(world, candidates=("i5", "i7"), k=2)) == [
        one for one in ids(answered(world, k=40)) if one in ("i5", "i7")
    ]


def test_beside_an_item_stands_its_category() -> None:
    world = World()
    for number in range(12):
        world.recommender.insert(card(number, category="art" if number < 4 else "war"))
    for number in range(4, 8):
        world.engage("u", f"i{number}", START + 1)
    assert set(ids(answered(world, task="similar", item_id="i1", k=3))) == {"i0", "i2", "i3"}
    assert len(answered(world, task="similar", item_id="i1", k=9).items) == 9
    unknown = answered(world, task="similar", item_id="nothing")
    assert unknown.items == []
    assert "unknown_item" in {note.reason for note in unknown.notes}


def test_a_list_at_hand_goes_first() -> None:
    world = touched_world()
    listed = compute(world.recommender, Question("similar", "i3"), 10, 0.0).listed
    assert listed is not None
    request = Request(user_id="u3", task="similar", item_id="i3", k=15)
    answer = fallback_answer(world.recommender, request, world.users["u3"], WHY, listed).answer
    have = {entry.item_id for entry in world.users["u3"].entries}
    first = [line.item_id for line in listed.items if line.item_id not in have]
    assert ids(answer)[: len(first)] == first
    assert len(set(ids(answer))) == 15
