"""Histories: each event once in its window, signals derived again whatever was trimmed, items remembered."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from store.events import KIND_CODES, Engagement
from store.histories import HistoryRules, Recent, UserRow, absorb, derive, trim
from store.keys import hash64
from store.signals import Signal

RULES = HistoryRules({"click": 1.0, "like": 2.0, "hide": -1.0}, length=12, context=3, seen=5)
KINDS = ["click", "like", "hide", "impression"]


def event(number: int, item: int = 0, kind: str = "click") -> Engagement:
    return Engagement(
        event_id=f"e{number}", user_id="u", item_id=f"i{item}", kind=kind, occurred_at=float(number), value=0.5
    )


frames = st.lists(
    st.lists(st.builds(event, st.integers(0, 400), st.integers(0, 6), st.sampled_from(KINDS)), min_size=1, max_size=5),
    max_size=60,
)
long_frames = [[event(5 * f + n, n, KINDS[n % 4]) for n in range(5)] for f in range(60)]


@settings(deadline=None)
@given(frames, st.lists(st.integers(0, 6), max_size=60), st.booleans())
@example(long_frames, [3] * 60, True)
@example(long_frames, [6] * 60, True)
def test_signals_are_derived_as_they_were_absorbed(
    frames: list[list[Engagement]], lags: list[int], stored: bool
) -> None:
    """Whatever was trimmed since: for every record that is not safe yet, with the very same contexts."""
    row, caused, safe = UserRow(), {}, -1
    for offset, events in enumerate(frames):
        found = ((index, absorb(row, event, offset, index, RULES)) for index, event in enumerate(events))
        caused[offset] = {index: signal for index, signal in found if signal is not None}
        row.offset = offset
        safe = max(safe, offset - lags[offset % len(lags)] if lags else -1)
        trim(row, safe + 1, RULES)
        if stored:
            row = msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=UserRow)
        for unsafe in range(safe + 1, offset + 1):
            assert derive(row, unsafe, RULES) == caused[unsafe]


@given(frames)
def test_an_event_counts_once_within_the_window_and_order_is_the_logs(frames: list[list[Engagement]]) -> None:
    row, history = UserRow(), []
    for offset, events in enumerate(frames):
        for index, event in enumerate(events):
            signal = absorb(row, event, offset, index, RULES)
            assert (signal is None) == (event.event_id in history[-RULES.length :])
            if signal is not None:
                history.append(event.event_id)
        trim(row, offset + 1, RULES)
        kept = [entry.event_id for entry in row.entries]
        assert kept == history[-len(kept) :] if kept else not history
        assert len(kept) >= min(len(history), RULES.length)
        assert len(kept) <= RULES.length + RULES.length // 4
    places = [(entry.offset, entry.index) for entry in row.entries]
    assert places == sorted(places)


@settings(deadline=None)
@given(frames, st.integers(0, 9))
@example(long_frames, 3)
def test_with_the_newest_entries_packed_it_is_the_same(frames: list[list[Engagement]], from_frame: int) -> None:
    plain, packed = UserRow(), UserRow()
    recent = Recent(packed, RULES)
    for offset, events in enumerate(frames):
        if offset == from_frame:  # packed anew, of a row that has a history
            recent = Recent(packed, RULES)
        for index, act in enumerate(events):
            assert recent.fits(packed)
            assert absorb(packed, act, offset, index, RULES, recent) == absorb(plain, act, offset, index, RULES)
        trim(plain, offset + 1, RULES)
        trim(packed, offset + 1, RULES)
    assert packed == plain
    absorb(packed, event(9999), 99, 0, RULES)
    assert not recent.fits(packed)


def test_a_signal_carries_the_positives_before_it_newest_first() -> None:
    row = UserRow()
    for number, kind in enumerate(["click", "hide", "like", "impression", "click", "click"]):
        absorb(row, event(number, item=number, kind=kind), number, 0, RULES)
    signal = absorb(row, event(9, item=9, kind="hide"), 9, 0, RULES)
    assert signal == Signal("i9", "e9", KIND_CODES["hide"], 9.0, -1.0, 0.5, ["i5", "i4", "i2"])
    assert [entry.item_id for entry in row.positives()] == ["i5", "i4", "i2", "i0"]


def test_decisions_outlive_what_was_only_shown() -> None:
    """Impressions pushed a hide out of the history: the item came back, and the taste was gone."""
    row = UserRow()
    for number, kind in enumerate(["click", "hide", "like", *["impression"] * 300]):
        absorb(row, event(number, item=number, kind=kind), number, 0, RULES)
        trim(row, number, RULES)
    assert len(row.entries) <= RULES.length + RULES.length // 4 + 1
    assert [entry.item_id for entry in row.decisions()] == ["i2", "i1", "i0"]
    assert [entry.item_id for entry in row.positives()] == ["i2", "i0"]
    assert row.refused_hashes().tolist() == [hash64("i1")]
    for number in range(1000, 1040):
        absorb(row, event(number, item=number), number, 0, RULES)
        trim(row, number, RULES)
    assert sum(1 for _ in row.decisions()) <= RULES.length + RULES.length // 4 + 1  # no more than without impressions
    assert row.refused_hashes().tolist() == [hash64("i1")]  # not displaced by what came since either


def test_nothing_is_trimmed_that_is_not_safe() -> None:
    row = UserRow()
    for number in range(100):
        absorb(row, event(number), number, 0, RULES)
    trim(row, 0, RULES)
    assert len(row.entries) == 100
    trim(row, 50, RULES)
    assert row.entries[0].offset == 50 - 4 * RULES.context
    trim(row, 100, RULES)
    assert len(row.entries) == RULES.length


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(KINDS)), max_size=40))
def test_the_newest_positive_items_are_seen_once(acts: list[tuple[int, str]]) -> None:
    row, seen = UserRow(), []
    for number, (item, kind) in enumerate(acts):
        absorb(row, event(number, item, kind), number, 0, RULES)
        if RULES.weights.get(kind, 0.0) > 0 and f"i{item}" not in seen:
            seen = [*seen, f"i{item}"][-RULES.seen :]
    assert row.seen_hashes().tolist() == [hash64(item) for item in seen]


def test_a_hash_that_lies_across_two_others_is_not_seen() -> None:
    row = UserRow(seen=b"\x00" * 4 + hash64("i1").to_bytes(8, "little") + b"\x00" * 4)
    absorb(row, event(0, item=1), 0, 0, RULES)
    assert hash64("i1") in row.seen_hashes()
    assert row.seen_hashes().dtype == np.dtype("<u8")
