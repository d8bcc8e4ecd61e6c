"""Traces: the first time of each stage, of the newest items."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from store.items import ItemCard
from store.requests import Answer, RecommendedItem
from stream.serving.trace_file import TraceFile
from stream.serving.traces import STAGES, Traces


def card(item_id: str, assigned_at: float = 6.0) -> ItemCard:
    return ItemCard(
        item_id=item_id, codebook="c", codes=[1], suffix=0,
        assigned_at=assigned_at, uploaded_at=4.0, published_at_ms=5500,
    )  # fmt: skip


def answer(*items: str) -> Answer:
    listed = [RecommendedItem(item_id=item, score=1.0, semantic_id=[1], source="fresh", reason="new") for item in items]
    return Answer(items=listed, checkpoint="m", codebook="c", request_id="r", took_ms=1.0)


def times(traces: Traces, item_id: str) -> dict[str, object]:
    return {str(line["stage"]): line["at"] for line in traces.of(item_id)}


def test_stages_come_in_order_and_keep_their_first_time() -> None:
    traces, before = Traces(), time.time()
    traces.live(card("a"))
    traces.recommended(answer("a", "unknown"))
    traces.engaged("a")
    traces.engaged("unknown")
    first = times(traces, "a")
    assert tuple(first) == STAGES
    assert (first["published"], first["semantic_id"]) == (5.5, 6.0)
    assert before <= first["live"] <= first["first_recommended"] <= first["first_engaged"] <= time.time()
    time.sleep(0.002)
    traces.recommended(answer("a"))
    traces.engaged("a")
    assert times(traces, "a") == first
    stranger = times(traces, "unknown")
    assert [stage for stage, at in stranger.items() if at is not None] == ["first_engaged"], "it was never uploaded"
    assert msgspec.json.encode(traces.of("a"))


def test_an_edit_moves_the_item_but_not_what_people_did() -> None:
    traces = Traces()
    traces.live(card("a"))
    traces.recommended(answer("a"))
    first = times(traces, "a")
    traces.live(card("a", assigned_at=9.0))
    assert times(traces, "a")["semantic_id"] == 9.0
    assert times(traces, "a")["first_recommended"] == first["first_recommended"]


def test_a_restart_forgets_nothing_and_is_no_stage(tmp_path: Path) -> None:
    def started() -> Traces:
        return Traces(TraceFile(tmp_path / "new" / "traces.jsonl"))

    before = started()
    before.live(card("a"))
    before.recommended(answer("a"))
    before.engaged("a")
    before.engaged("stranger")
    first = times(before, "a"), times(before, "stranger")
    before.close()
    time.sleep(0.002)
    after = started()
    after.live(card("a"))  # read again at the start
    assert (times(after, "a"), times(after, "stranger")) == first
    after.live(card("stranger"))
    assert times(after, "stranger")["first_engaged"] == first[1]["first_engaged"]
    after.close()
    edited = started()
    edited.live(msgspec.structs.replace(card("a"), published_at_ms=9000))
    assert times(edited, "a")["live"] > first[0]["live"]
    assert times(edited, "a")["first_engaged"] == first[0]["first_engaged"]


def test_strangers_do_not_push_items_out() -> None:
    traces = Traces(most_strangers=2)
    traces.live(card("a"))
    for number in range(5):
        traces.engaged(f"stranger-{number}")
    assert times(traces, "a")["live"] is not None
    assert [times(traces, f"stranger-{number}")["first_engaged"] is not None for number in range(5)] == [False] * 3 + [
        *(True, True),
    ]


def test_only_the_newest_items_are_remembered() -> None:
    traces = Traces(limit=2)
    for item in "abc":
        traces.live(card(item))
    assert [times(traces, item)["published"] for item in "abc"] == [None, 5.5, 5.5]


def test_what_an_item_costs_does_not_grow_with_how_many_are_remembered(tmp_path: Path) -> None:
    """Fastest of a hundred each: a hundred times as many used to cost a hundred times as much."""

    def fastest_s(items: int) -> float:
        traces = Traces(TraceFile(tmp_path / f"{items}.jsonl"), limit=items)
        for number in range(items):
            traces.live(card(f"{items}-{number}"))
        took_s = []
        for number in range(100):
            began = time.perf_counter()
            traces.engaged(f"{items}-{number}")
            took_s.append(time.perf_counter() - began)
        traces.close()
        return min(took_s)

    assert fastest_s(10_000) < 10 * fastest_s(100)
