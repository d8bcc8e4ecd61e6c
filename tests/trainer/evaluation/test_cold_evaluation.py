"""Cold and fresh items are ranked among their own kind only, and content tells them apart."""

from __future__ import annotations

from store.requests import Request
from tests.small_world import START, World, card
from trainer.evaluation.cold_evaluation import rank_within_kind
from trainer.items.item_learning import DAY_S


def world_with_taste() -> World:
    """Sixty even and odd items, of which the first twenty are well known; u0 likes even ones."""
    world = World()
    for number in range(60):
        world.recommender.insert(card(number))
    for n in range(200):
        world.engage(f"u{n % 10}", f"i{n % 20}", START + n * DAY_S / 50)
    for number in (20, 21, 22):
        world.engage("someone", f"i{number}", START + 5 * DAY_S)
    return world


def test_an_untouched_item_is_ranked_twice_and_a_touched_one_once() -> None:
    world = world_with_taste()
    handles = world.recommender.catalog.handles

    def ranked(item_id: str) -> list[tuple[bool, int]]:
        request = Request(user_id="u0")
        found = rank_within_kind(world.recommender, request, world.users["u0"], handles[item_id])
        return [(one.cold, one.candidates) for one in found]

    assert ranked("i40") == [(True, 37), (False, 40)]
    assert ranked("i20") == [(False, 40)]
    assert ranked("i0") == []  # the user has it


def test_content_ranks_what_nobody_has_touched() -> None:
    world = world_with_taste()
    handles = world.recommender.catalog.handles
    request = Request(user_id="u0")

    def mean(numbers: range) -> float:
        ranks = [
            rank_within_kind(world.recommender, request, world.users["u0"], handles[f"i{n}"])[0].rank for n in numbers
        ]
        return sum(ranks) / len(ranks)

    assert mean(range(24, 60, 2)) + 10 < mean(range(25, 60, 2))
