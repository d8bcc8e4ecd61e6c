"""Small worlds whose making takes no time: forty items, and a few users who have touched some of them."""

from __future__ import annotations

from tests.small_world import START, World, card
from trainer.items.item_learning import DAY_S


def untouched_world(items: int) -> World:
    world = World()
    for number in range(items):
        world.recommender.insert(card(number))
    return world


def touched_world() -> World:
    """Ten users, each with three items of their taste."""
    world = untouched_world(40)
    for number in range(30):
        user, step = number % 10, number // 10
        world.engage(f"u{user}", f"i{(2 * step * 5 + user) % 40}", START + number * DAY_S / 10)
    return world
