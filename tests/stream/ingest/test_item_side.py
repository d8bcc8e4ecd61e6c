"""The item's side: each origin once, rows that are ahead, what is refused, and rows met from the state topic."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store.items import ItemRow
from store.records.canaries import canary_id
from store.rows import Position, RowStore
from store.signals import Origin, Signal, SignalFrame, encode_frames
from stream.ingest.item_side import ItemSide
from stream.kafka.records import Record
from tests.folders import memory_folder
from tests.item_vectors import item_vectors
from trainer.items.item_learning import ItemRules


@pytest.fixture
def side() -> Iterator[ItemSide]:
    folder = memory_folder()
    rows = RowStore(folder / "rows", ItemRow)
    opened = ItemSide(0, rows, ItemRules(), item_vectors(folder / "vectors"))
    yield opened
    opened.close()
    shutil.rmtree(folder)


def signals(offset: int, origin: tuple[int, int], *items: str, partition: int = 0, caused_at_ms: int = 1000) -> Record:
    found = [Signal(item, f"{origin}-{n}", 1, 1.0, 1.0, None, []) for n, item in enumerate(items)]
    return record(offset, encode_frames([SignalFrame(partition, Origin(*origin), caused_at_ms, found)]))


def record(offset: int, value: bytes | None) -> Record:
    return Record("item-signals", 0, offset, 0, None, value, lambda: None)


def count(side: ItemSide, item: str) -> int:
    row = side.rows.get(item)
    return sum(row.counters.values()) if row else 0


def test_a_passed_origin_changes_nothing(side: ItemSide) -> None:
    side.absorb([signals(0, (5, 255), "a", "b"), signals(1, (5, 511), "a")])
    again = side.absorb([signals(2, (5, 255), "a", "b"), signals(3, (4, 9), "a"), signals(4, (5, 511), "a")])
    assert (again.absorbed, again.duplicates) == (0, 4)
    assert (count(side, "a"), count(side, "b")) == (2, 1)
    assert side.rows.position.absorbed == 4
    assert side.absorb([signals(5, (0, 0), "a", partition=1)]).absorbed == 1  # another partition's origins are its own
    assert side.rows.position.passed == {0: (5, 511), 1: (0, 0)}


def test_a_row_that_is_ahead_skips_what_it_has(side: ItemSide) -> None:
    """Rows from the state topic may be newer than the position; the others of the frame are not."""
    side.rows.write({"a": ItemRow(offset=7, counters={1: 3})})
    effects = side.absorb([signals(7, (1, 0), "a", "b", "a"), signals(8, (2, 0), "a")])
    assert (effects.absorbed, effects.duplicates) == (2, 2)
    assert (count(side, "a"), count(side, "b")) == (4, 1)


def test_an_item_twice_in_a_frame_counts_twice(side: ItemSide) -> None:
    side.absorb([signals(0, (0, 0), "a", "a")])
    assert count(side, "a") == 2


def test_a_change_names_the_oldest_cause_that_nobody_can_see(side: ItemSide) -> None:
    side.absorb([signals(0, (0, 0), "a", caused_at_ms=900), signals(1, (1, 0), "a", caused_at_ms=800)])
    side.absorb([signals(2, (2, 0), "a", caused_at_ms=950)])
    change = side.flush()["a"]
    assert change.caused_at_ms == 800
    assert side.rows.decode(change.row) == side.rows.get("a")
    side.absorb([signals(3, (3, 0), "a", caused_at_ms=990)])
    assert side.flush()["a"].caused_at_ms == 990


def test_what_a_repetition_names_is_published_again(side: ItemSide) -> None:
    """The crash came after the rows were written and before they were published: nothing but the log knows."""
    side.absorb([signals(0, (0, 0), "a", "b")])
    side.flush()
    assert side.absorb([signals(1, (0, 0), "a", "b")]).duplicates == 2
    again = side.flush()
    assert {item: sum(side.rows.decode(change.row).counters.values()) for item, change in again.items()} == {
        "a": 1,
        "b": 1,
    }


def test_frames_of_one_record_all_count(side: ItemSide) -> None:
    frames = [
        SignalFrame(0, Origin(n, 0), 1000, [Signal(item, f"{n}", 1, 1.0, 1.0, None, []) for item in ("a", "b")])
        for n in (0, 1, 1, 2)
    ]
    effects = side.absorb([record(0, encode_frames(frames))])
    assert (effects.absorbed, effects.duplicates) == (6, 2)
    assert (count(side, "a"), count(side, "b")) == (3, 3)


BROKEN = signals(0, (1, 1), "zz").value or b""


@given(st.binary(max_size=20) | st.none())
@example(BROKEN.replace(b"zz", b"\xff\xff"))
@example(BROKEN[:-1])
def test_what_is_no_frame_is_refused(value: bytes | None) -> None:
    folder = memory_folder()
    rows = RowStore(folder / "rows", ItemRow)
    try:
        side = ItemSide(0, rows, ItemRules(), item_vectors(folder / "vectors"))
        effects = side.absorb([record(0, value), signals(1, (0, 0), "a")])
        assert [(refused.refusal.reason, refused.refusal.event) for refused in effects.refused] == [
            ("not_an_event", value or b"")
        ]
        assert effects.absorbed == 1
    finally:
        side.close()
        shutil.rmtree(folder)


def test_of_two_rows_the_further_one_wins(side: ItemSide) -> None:
    side.rows.write({"a": ItemRow(offset=5)})
    assert side.merge("a", side.rows.encode(ItemRow(offset=5))) is None
    assert side.merge("a", side.rows.encode(ItemRow(offset=4))) is None
    assert side.merge("a", None) is None
    assert side.merge("a", side.rows.encode(ItemRow(offset=6))) == ItemRow(offset=6)
    assert side.merge("b", side.rows.encode(ItemRow(offset=0))) == ItemRow(offset=0)


def test_passed_origins_come_with_the_position_that_they_are_a_function_of(side: ItemSide) -> None:
    side.absorb([signals(3, (4, 0), "a")])
    side.meet(Position(absorbed=2, safe=2, passed={0: (9, 9)}))
    assert side.rows.position.passed == {0: (4, 0)}
    assert side.rows.position.safe == 2
    side.meet(Position(absorbed=8, safe=1, passed={0: (6, 0)}))
    assert side.rows.position.passed == {0: (6, 0)}
    assert (side.rows.position.absorbed, side.rows.position.safe) == (8, 2)


def test_a_canary_has_no_row_and_says_only_when_it_came(side: ItemSide) -> None:
    own = canary_id(0, 1)
    side.absorb([signals(0, (5, 255), "a"), signals(1, (-1, -1), own, caused_at_ms=900)])
    effects = side.absorb([signals(2, (-1, -1), own, caused_at_ms=700)])  # of a former owner
    assert (effects.absorbed, effects.duplicates, effects.refused) == (0, 0, [])
    assert side.canary_at_ms == 900
    assert side.flush().keys() == {"a"}
    assert (side.rows.get(own), side.rows.position.passed) == (None, {0: (5, 255)})
