"""Log identity: a position stays with the log that it was counted in, and a log that is started over lies beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.rows import LogIdentity, Position
from stream.kafka.log_identity import (
    LogReplacedError,
    PartitionLog,
    forget_lost_states,
    further,
    has_all_states,
    start_reading,
)


def seen(topic_id: str, begin: int, end: int, partitions: int = 4) -> PartitionLog:
    return PartitionLog("engagements", 0, topic_id, partitions, begin, end)


KNOWN = LogIdentity("a", partitions=4)


def test_a_fresh_partition_begins_at_the_beginning_and_notes_its_log() -> None:
    start = start_reading(seen("a", 3, 9), None, -1, -1, "")
    assert (start.offset, start.identity) == (0, KNOWN)


@pytest.mark.parametrize("known", [KNOWN, None], ids=["known", "of a release that kept no identity"])
def test_the_same_log_is_read_on(known: LogIdentity | None) -> None:
    assert start_reading(seen("a", 0, 10), known, 5, 9, "").offset == 6
    assert start_reading(seen("a", 0, 10), known, 9, 9, "").offset == 10  # nothing is new, and all of it is there


@pytest.mark.parametrize(
    ("there", "safe", "reached"),
    [
        (seen("b", 0, 8), 9, 9),
        (seen("b", 0, 80), 9, 9),  # it has grown beyond the position already
        (seen("a", 0, 8), 9, 9),
        (seen("a", 0, 8), 5, 9),  # the position is there, but rows have absorbed beyond the end
        (seen("", 0, 8), 9, 9),  # a broker without ids: only its end tells
        (seen("a", 0, 0), 0, 0),
    ],
    ids=["anew", "anew and longer", "cut", "cut before the rows", "no ids", "emptied"],
)
def test_another_log_or_a_shorter_one_is_refused_with_what_to_do(there: PartitionLog, safe: int, reached: int) -> None:
    with pytest.raises(LogReplacedError, match=r"read up to \d+.*--start-over beginning.*--start-over end"):
        start_reading(there, KNOWN, safe, reached, "")


def test_an_empty_log_under_a_position_that_names_none_is_gone_on_with() -> None:
    """A position of an earlier release: nothing there could be passed over, and what comes counts beyond."""
    start = start_reading(seen("a", 0, 0), None, 9, 9, "")
    assert (start.offset, start.identity.counted(0)) == (0, 10)
    with pytest.raises(LogReplacedError):
        start_reading(seen("a", 0, 1), None, 9, 9, "")


def test_partitions_that_were_added_are_refused() -> None:
    with pytest.raises(LogReplacedError, match="has 6 partitions, and rows lie where 4 put them"):
        start_reading(seen("a", 0, 10, partitions=6), KNOWN, 9, 9, "beginning")


@given(
    topic_id=st.sampled_from("ab"),
    begin=st.integers(0, 50),
    length=st.integers(0, 50),
    safe=st.integers(-1, 120),
    ahead=st.integers(0, 20),
    choice=st.sampled_from(["beginning", "end"]),
    again=st.integers(0, 3),
)
def test_what_is_new_counts_beyond_all_that_was_absorbed(
    topic_id: str, begin: int, length: int, safe: int, ahead: int, choice: str, again: int
) -> None:
    """However often it is started over; and an offset is found again from what is counted."""
    there, identity, reached = seen(topic_id, begin, begin + length), KNOWN, safe + ahead
    for turn in range(again + 1):
        start = start_reading(there, identity, safe, reached, choice)  # type: ignore[arg-type]
        replaced = identity.topic_id != there.topic_id
        if replaced or (reached >= 0 and identity.offset(reached + 1) > there.end):
            new = there.begin if choice == "beginning" else there.end
            assert all(start.identity.counted(offset) > reached for offset in range(new, there.end + 5))
            assert start.offset == new or (choice == "end" and not replaced and start.offset < new)
        counted = [start.identity.counted(offset) for offset in range(start.offset, there.end + 5)]
        assert counted == sorted(set(counted))
        assert [start.identity.offset(each) for each in counted] == list(range(start.offset, there.end + 5))
        identity, safe = start.identity, start.identity.counted(start.offset) - 1
        reached = max(reached, start.identity.counted(there.end) - 1 if length else -1)
        there = seen("abab"[turn] if choice == "beginning" else there.topic_id, 0, turn)


def test_of_two_positions_the_log_that_was_chosen_later_counts() -> None:
    old, new = LogIdentity("a"), LogIdentity("b", 10, 0)
    one = Position(logs={"engagements": old, "profiles": old})
    other = Position(logs={"engagements": new, "user-states": old})
    assert further(one, other) == further(other, one) == {"engagements": new, "profiles": old, "user-states": old}


def test_a_state_topic_that_was_lost_is_read_from_its_beginning() -> None:
    for there in (seen("b", 0, 50), seen("a", 0, 7)):
        position = Position(state_offset=20, logs={"user-states": KNOWN})
        assert forget_lost_states(position, "user-states", there)
        assert position.state_offset == 0
    position = Position(state_offset=20)
    assert not forget_lost_states(position, "user-states", seen("a", 0, 20))
    assert (position.state_offset, position.logs) == (20, {"user-states": KNOWN})


@pytest.mark.parametrize(
    "there", [seen("b", 0, 8), seen("a", 0, 3), seen("", 0, 3)], ids=["anew", "cut", "cut, no ids"]
)
def test_a_state_topic_stays_lost_until_all_of_it_is_published_again(there: PartitionLog) -> None:
    """Also when its position has moved on meanwhile, and whatever others have published of theirs."""
    position = Position(state_offset=9, logs={"states": KNOWN})
    assert forget_lost_states(position, "states", there)
    position.logs = further(position, Position(logs={"states": LogIdentity("b")}))
    position.state_offset = there.end
    assert forget_lost_states(position, "states", there)
    has_all_states(position, "states", there)
    position.logs = further(position, Position(logs={"states": LogIdentity("being published again")}))
    position.state_offset = there.end
    assert not forget_lost_states(position, "states", there)
