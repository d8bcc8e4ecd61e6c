"""Card order: whatever the order in which they are read, the furthest card or take-down stands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.headers import UPLOAD_OFFSET, numbered
from store.records.card_order import NO_OFFSET, CardOrder

Live = dict[str, int]


def read(order: CardOrder, live: Live, item: str, offset: int, up: bool) -> None:
    known = live.get(item)
    if up and order.admits(item, offset, known):
        live[item] = offset
    elif not up and order.takes_down(item, numbered(**{UPLOAD_OFFSET: offset}) if offset >= 0 else [], known):
        live.pop(item, None)


uploads = st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), min_size=1, max_size=8)


@given(uploads, st.data())
def test_the_furthest_stands_in_any_order_however_often_each_is_read(said: list[tuple[str, bool]], data) -> None:
    """The log `said` (item, card or take-down) is written to `semantic-ids` in any order, with repetitions."""
    written = list(enumerate(said)) + data.draw(st.lists(st.sampled_from(list(enumerate(said))), max_size=8))
    order, live = CardOrder(), Live()
    for offset, (item, up) in data.draw(st.permutations(written)):
        read(order, live, item, offset, up)
    last = {item: (offset, up) for offset, (item, up) in enumerate(said)}
    assert live == {item: offset for item, (offset, up) in last.items() if up}


@given(uploads)
def test_without_offsets_the_order_of_writing_decides(said: list[tuple[str, bool]]) -> None:
    order, live = CardOrder(), Live()
    for item, up in said:
        read(order, live, item, NO_OFFSET, up)
    assert set(live) == {item for item, up in dict(said).items() if up}


def test_what_has_no_offset_gives_way() -> None:
    order = CardOrder()
    assert order.admits("i", 5, None)
    assert not order.admits("i", NO_OFFSET, 5)
    assert order.takes_down("i", [], 5)  # a take-down of an earlier release: of what was there
    assert not order.admits("i", 5, None)
    assert not order.admits("i", NO_OFFSET, None)
    assert order.admits("i", 6, None)


def test_so_many_take_downs_are_remembered() -> None:
    order = CardOrder(kept=2)
    for n in range(5):
        assert order.takes_down(f"i{n}", numbered(upload_offset=n), None)
    assert len(order) == 2
    assert not order.admits("i4", 3, None)
