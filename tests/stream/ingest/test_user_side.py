"""The user's side: what belongs elsewhere, what is refused, profiles, forgetting, and rows met from the state topic."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from store.envelopes.reading import EventReader
from store.histories import HistoryRules, UserRow
from store.keys import partition_of
from store.records.canaries import canary_id, engagement_canary
from store.records.frames import frame
from store.rows import Position, RowStore
from store.signals import CANARY_ORIGIN, decode_frames
from stream.ingest.protocol.published_rows import Comparison
from stream.ingest.user_side import CHUNK, UserSide
from stream.kafka.records import Record
from tests.folders import memory_folder

PARTITIONS = 2
RULES = HistoryRules({"click": 1.0}, length=8, context=2)
MINE, OTHERS = (next(f"u{n}" for n in range(99) if partition_of(f"u{n}", PARTITIONS) == p) for p in range(PARTITIONS))

Open = Callable[[], UserSide]


@pytest.fixture
def reopen() -> Iterator[Open]:
    """Opens the side of partition 0, again on the same rows after the first time."""
    folder = memory_folder()
    opened: list[RowStore[UserRow]] = []

    def reopen() -> UserSide:
        for rows in opened:
            rows.close()
        opened[:] = [RowStore(folder / "rows", UserRow)]
        return UserSide(0, PARTITIONS, opened[0], RULES, EventReader())

    yield reopen
    opened[0].close()
    shutil.rmtree(folder)


@pytest.fixture
def side(reopen: Open) -> UserSide:
    return reopen()


def click(number: int, user: str = MINE, **more: Any) -> bytes:
    event = {"event_id": f"e{number}", "user_id": user, "item_id": f"i{number % 7}", "kind": "click"}
    return json.dumps({**event, "occurred_at": number, **more}).encode()


def profile(user: str, at: float, **attributes: Any) -> bytes:
    return json.dumps({"user_id": user, "updated_at": at, "attributes": attributes, "more": 1}).encode()


def record(offset: int, value: bytes | None, key: bytes | None = None, topic: str = "s.engagements") -> Record:
    return Record(topic, 0, offset, 1_000_000, key, value, lambda: None)


def profiles(offset: int, value: bytes | None, key: bytes | None = None) -> Record:
    return record(offset, value, key, "s.profiles")


def history(side: UserSide, user: str = MINE) -> list[str]:
    row = side.row(user)
    return [entry.event_id for entry in row.entries] if row else []


@pytest.mark.parametrize("framed", [True, False])
def test_a_stray_goes_on_as_it_was_published(side: UserSide, framed: bool) -> None:
    stray = click(1, OTHERS, unknown={"kept": True})
    effects = side.absorb([record(0, frame([click(0), stray, click(2)]) if framed else stray)])
    assert [(stray.topic, stray.key, stray.value) for stray in effects.strays] == [
        ("s.engagements", OTHERS.encode(), stray)
    ]
    assert history(side) == (["e0", "e2"] if framed else [])
    assert effects.absorbed == (2 if framed else 0)
    assert side.row(OTHERS) is None


def test_what_is_refused_does_not_stop_the_rest(side: UserSide) -> None:
    effects = side.absorb([record(0, frame([b'{"a":1}', click(0)])), record(1, None), record(2, b"x")])
    assert [(refused.record.offset, refused.refusal.reason) for refused in effects.refused] == [
        (0, "missing_field"),
        (1, "not_an_event"),
        (2, "not_json"),
    ]
    assert history(side) == ["e0"]
    assert side.rows.position.absorbed == 2


@pytest.mark.parametrize("written", [True, False])
def test_reading_again_changes_nothing_and_causes_the_same_signals(reopen: Open, written: bool) -> None:
    """Whether the crash came after the rows were written or before."""
    records = [record(n, frame([click(3 * n + k) for k in range(3)])) for n in range(5)]
    before = reopen()
    first = before.absorb(records)
    if written:
        before.flush()
    after = reopen()
    again = after.absorb(records)
    assert again.signals == first.signals
    assert (first.absorbed, again.absorbed) == (15, 0 if written else 15)
    after.flush()
    side = reopen()
    assert history(side) == [f"e{n}" for n in range(15)]
    assert side.rows.position.absorbed == 4


def test_signals_of_small_frames_travel_together(side: UserSide) -> None:
    effects = side.absorb([record(n, frame([click(2 * n), click(2 * n + 1)])) for n in range(50)])
    places = [(p, found) for p, _, value in effects.signals for found in decode_frames(value)]
    assert len(effects.signals) == len({p for p, _ in places})
    for partition in {p for p, _ in places}:
        origins = [found.origin for p, found in places if p == partition]
        assert origins == sorted(origins)
    assert sum(len(found.signals) for _, found in places) == 100


def test_signals_of_a_long_frame_travel_in_chunks_in_order(side: UserSide) -> None:
    effects = side.absorb([record(3, frame([click(n) for n in range(CHUNK + 10)]))])
    origins: dict[int, list[tuple[int, int]]] = {}
    for partition, key, value in effects.signals:
        for found in decode_frames(value):
            assert {partition_of(signal.item_id, PARTITIONS) for signal in found.signals} == {partition}
            assert (found.partition, found.caused_at_ms) == (0, 1_000_000)
            origins.setdefault(partition, []).append((found.origin.offset, found.origin.index))
        assert key == decode_frames(value)[0].signals[0].item_id.encode()
    assert all(chunks == [(3, CHUNK - 1), (3, 2 * CHUNK - 1)] for chunks in origins.values())
    assert sum(len(found.signals) for _, _, value in effects.signals for found in decode_frames(value)) == CHUNK + 10


def test_each_engagement_is_returned_with_the_row_that_it_met(side: UserSide) -> None:
    records = [record(0, frame([click(0), click(1), click(1), click(2, OTHERS)]))]
    read = side.absorb(records).read
    assert [(each.event.event_id, each.is_new) for each in read] == [("e0", True), ("e1", True), ("e1", False)]
    assert [[entry.event_id for entry in each.row_before().entries] for each in read] == [[], ["e0"], ["e0", "e1"]]
    assert [len(each.row_before().seen_hashes()) for each in read] == [0, 1, 2]
    assert [each.is_new for each in side.absorb(records).read] == [False, False, False]


def test_the_row_before_is_whole_although_its_head_is_trimmed_in_the_same_batch(side: UserSide) -> None:
    first = side.absorb([record(n, click(n)) for n in range(40)])
    side.rows.position.safe = 39
    second = side.absorb([record(40, click(40))])
    kept = history(side)
    assert len(kept) < 41  # trimmed
    assert [entry.event_id for entry in second.read[0].row_before().entries] == [f"e{n}" for n in range(40)]
    assert [len(each.row_before().entries) for each in first.read] == list(range(40))


def test_the_newest_profile_stays(side: UserSide) -> None:
    effects = side.absorb_profiles(
        [profiles(0, profile(MINE, 5, age=30)), profiles(1, frame([profile(MINE, 4, age=29), profile(OTHERS, 1)]))]
    )
    row = side.row(MINE)
    assert row is not None
    assert (row.attributes, row.profiled_at) == ({"age": 30.0}, 5.0)
    assert (effects.absorbed, effects.duplicates) == (1, 1)
    assert [stray.value for stray in effects.strays] == [profile(OTHERS, 1)]
    assert side.rows.position.profiles == 1


def test_forgetting_removes_the_row_here_and_in_the_state_topic(side: UserSide) -> None:
    side.absorb([record(0, click(0))])
    side.flush()
    side.absorb_profiles([profiles(0, None, MINE.encode())])
    assert side.row(MINE) is None
    assert side.flush() == {MINE: None}
    assert side.row(MINE) is None
    side.absorb([record(1, click(1))])
    assert history(side) == ["e1"]


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"\x00position", b" u", b"u" * 300])
def test_a_tombstone_that_names_nobody_is_refused(side: UserSide, key: bytes | None) -> None:
    """Not sent on (its bytes would come back to this very partition), nor near the position's own key."""
    effects = side.absorb_profiles([profiles(0, None, key)])
    assert [refused.refusal.reason for refused in effects.refused] in (["missing_field"], ["wrong_type"])
    assert effects.strays == []
    assert side.flush() == {}


def test_a_tombstone_elsewhere_goes_on(side: UserSide) -> None:
    effects = side.absorb_profiles([profiles(0, None, OTHERS.encode())])
    assert [(stray.topic, stray.key, stray.value) for stray in effects.strays] == [
        ("s.profiles", OTHERS.encode(), None)
    ]


def test_what_the_state_topic_has_not_got_is_published_after_a_crash(reopen: Open) -> None:
    """A crash after the rows are written and before they are published: they must be staged again from the log."""
    gone = next(f"v{n}" for n in range(99) if partition_of(f"v{n}", PARTITIONS) == 0)
    records = [profiles(0, profile(MINE, 5, age=30)), profiles(1, None, gone.encode())]
    before = reopen()
    before.absorb([record(0, click(0, gone))])
    before.absorb_profiles(records)
    before.flush()
    after = reopen()
    assert after.rows.staged == 0
    after.absorb_profiles(records)
    found = after.flush()
    assert found[gone] is None
    published = found[MINE]
    assert published is not None
    assert after.rows.decode(published).attributes == {"age": 30.0}


def test_of_two_rows_the_further_one_wins_and_of_two_profiles_the_later(side: UserSide) -> None:
    own = UserRow(offset=5, attributes={"a": "own"}, profiled_at=2.0)
    side.rows.write({MINE: own})

    def met(**fields: Any) -> UserRow | None:
        return side.merge(MINE, side.rows.encode(UserRow(**fields)))

    assert met(offset=5, profiled_at=2.0) is None
    assert met(offset=4, profiled_at=1.0) is None
    assert side.merge(MINE, None) is None
    newer = met(offset=6, attributes={"a": "theirs"}, profiled_at=1.0)
    assert newer is not None
    assert (newer.offset, newer.attributes, newer.profiled_at) == (6, {"a": "own"}, 2.0)
    later = met(offset=4, attributes={"a": "theirs"}, profiled_at=3.0)
    assert later is not None
    assert (later.offset, later.attributes, later.profiled_at) == (5, {"a": "theirs"}, 3.0)
    assert side.merge("unknown", side.rows.encode(own)) == own


def test_answers_of_a_bounded_task_outlive_a_restart_and_meet_those_that_others_know_of(reopen: Open) -> None:
    before = reopen()
    before.note_answer(MINE, "notification", 1000.0, 2)
    before.note_answer(MINE, "notification", 2000.0, 2)
    published = before.flush()[MINE]
    assert published is not None
    side = reopen()
    row = side.row(MINE)
    assert row is not None
    assert (row.answered, row.entries, row.touched_s) == ({"notification": [1000.0, 2000.0]}, [], 2000)
    assert side.compare(MINE, published) == Comparison(None, outdated=False)
    twice = UserRow(answered={"notification": [1000.0, 2000.0, 2000.0]})
    joined = msgspec.structs.replace(row, answered=twice.answered)
    assert side.compare(MINE, side.rows.encode(twice)) == Comparison(joined, outdated=False)
    elsewhere = UserRow(answered={"notification": [1500.0]})
    joined, outdated = side.compare(MINE, side.rows.encode(elsewhere))
    assert joined.answered == {"notification": [1000.0, 1500.0, 2000.0]}
    assert outdated, "what lies there lacks some"
    side.take_over(MINE, joined)
    side.note_answer(MINE, "notification", 3000.0, 2)
    assert side.row(MINE).answered == {"notification": [2000.0, 3000.0]}  # type: ignore[union-attr]
    side.note_answer(MINE, "notification", 3000.0 + 86_400.0, 2)
    assert side.row(MINE).answered == {"notification": [3000.0 + 86_400.0]}, "no more than a day"  # type: ignore[union-attr]
    assert side.compare(MINE, published).joined is not None
    newer = UserRow(offset=9, entries=[], answered={"home": [1.0]})
    found = side.merge(MINE, side.rows.encode(newer))
    assert found is not None
    assert (found.offset, sorted(found.answered)) == (9, ["home", "notification"])


def test_who_is_forgotten_may_get_answers_again(side: UserSide) -> None:
    side.note_answer(MINE, "notification", 1000.0, 2)
    side.absorb_profiles([profiles(0, None, MINE.encode())])
    assert side.row(MINE) is None
    side.note_answer(MINE, "notification", 2000.0, 2)
    row = side.row(MINE)
    assert row is not None
    assert (row.answered, row.life) == ({"notification": [2000.0]}, 0)


def test_positions_only_go_forward(side: UserSide) -> None:
    side.meet(Position(absorbed=7, safe=5, profiles=3, profiles_safe=2))
    side.meet(Position(absorbed=6, safe=6, profiles=4, profiles_safe=1))
    own = side.rows.position
    assert (own.absorbed, own.safe, own.profiles, own.profiles_safe) == (7, 6, 4, 2)


def test_a_canary_is_told_to_the_items_owner_and_to_nobody_else(side: UserSide) -> None:
    """It has no row, no history, and an origin that a worker of an earlier release takes for passed."""
    canary = Record("s.engagements", 0, 1, 2_000_000, None, engagement_canary(0, PARTITIONS, 1.0), lambda: None)
    effects = side.absorb([record(0, click(0)), canary])
    assert (effects.canary_at_ms, effects.absorbed, len(effects.read), effects.refused) == (2_000_000, 1, 1, [])
    told = [(partition, frame) for partition, _, value in effects.signals for frame in decode_frames(value)]
    (found,) = [(partition, frame) for partition, frame in told if frame.origin == CANARY_ORIGIN]
    assert (found[0], found[1].caused_at_ms) == (0, 2_000_000)
    assert [signal.item_id for signal in found[1].signals] == [canary_id(0, PARTITIONS)]
    assert side.row(canary_id(0, PARTITIONS)) is None
    assert side.flush().keys() == {MINE}
    assert (side.rows.position.absorbed, side.expiry.now_s) == (1, 1000)


def test_anothers_canary_is_an_empty_frame(side: UserSide) -> None:
    effects = side.absorb([record(0, engagement_canary(1, PARTITIONS, 1.0))])
    assert (effects.canary_at_ms, effects.signals, effects.strays, effects.refused) == (-1, [], [], [])


def test_what_a_traced_record_causes_travels_by_itself_and_in_order(side: UserSide) -> None:
    records = [record(n, click(n, item_id="i")) for n in range(5)]
    effects = side.absorb(records, traced={1, 3})
    origins = [[one.origin.offset for one in decode_frames(value)] for _, _, value in effects.signals]
    assert origins == [[0], [1], [2], [3], [4]]
    assert effects.traced == {1: 1, 3: 3}
    effects = side.absorb([record(n, click(n, item_id="i")) for n in range(5, 8)], traced=())
    assert [[one.origin.offset for one in decode_frames(value)] for _, _, value in effects.signals] == [[5, 6, 7]]
    assert effects.traced == {}
