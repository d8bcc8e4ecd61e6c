"""Cards: each reads as it was set, none where there is none."""

from __future__ import annotations

from pathlib import Path

from tests.small_world import card
from trainer.items.cards import Cards


def test_a_card_reads_as_it_was_set(tmp_path: Path) -> None:
    cards = Cards(tmp_path)
    for number in range(0, 240, 2):
        cards[number] = card(number, category="news", tags=["a", "b"])
    assert cards[238] == card(238, category="news", tags=["a", "b"])
    assert cards[1] is cards[5000] is None
    assert (2 in cards, 3 in cards) == (True, False)
    before = cards.versions()
    cards[0], cards[2] = None, card(7)
    assert [*cards][:5] == [None, None, card(7), None, card(4, category="news", tags=["a", "b"])]
    assert [handle for handle, _ in cards.items()][:2] == [2, 4]
    assert [*(cards.versions() != before).nonzero()[0]] == [0, 2]
