"""Engagements with items that nobody has uploaded: counted, told once a minute, and no burden to memory."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from store.items import ItemRow
from store.rows import RowStore
from stream.ingest.growth.unknown_items import TELL_EVERY_S, WORTH_TELLING, UnknownItems
from stream.ingest.item_side import ItemSide
from stream.metrics.metrics import Metrics
from tests.item_vectors import item_vectors
from tests.stream.ingest.test_item_side import count, signals
from tests.stream.metrics.exposition import scrape
from trainer.items.item_learning import ItemRules


def test_they_are_counted_and_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    metrics, now_s = Metrics(), [0.0]
    unknown = UnknownItems(lambda item_id: item_id.startswith("url"), metrics, clock=lambda: now_s[0])
    with caplog.at_level(logging.WARNING):
        for n in range(3 * WORTH_TELLING):
            unknown.absorbed(f"url-{n}")
        assert len(caplog.records) == 1
        now_s[0] += TELL_EVERY_S
        unknown.absorbed("url-last")
    assert len(caplog.records) == 2
    assert caplog.messages[1].startswith("201 engagements")
    assert "'url-last'" in caplog.messages[1]
    assert scrape(metrics)["sidestream_unknown_item_engagements_total{}"] == 3 * WORTH_TELLING + 1


def test_few_are_not_told_for_they_came_before_their_upload(caplog: pytest.LogCaptureFixture) -> None:
    unknown = UnknownItems(lambda _: True, Metrics())
    for n in range(WORTH_TELLING - 1):
        unknown.absorbed(str(n))
    assert caplog.records == []


def test_their_rows_are_kept_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    metrics, uploaded = Metrics(), {"a"}
    unknown = UnknownItems(lambda item_id: item_id not in uploaded, metrics)
    rows = RowStore(tmp_path / "rows", ItemRow, worth_caching=lambda item_id, _: unknown.may_last(item_id))
    side = ItemSide(0, rows, ItemRules(), item_vectors(tmp_path / "vectors"), unknown)
    side.absorb([signals(0, (0, 0), "a", "url-1", "url-2"), signals(1, (1, 0), "url-1")])
    assert side.staged_unknown == 2
    assert (unknown.either("a", 30.0, 730.0), unknown.either("url-1", 30.0, 730.0)) == (730.0, 30.0)
    side.flush()
    assert (side.staged_unknown, rows.recent(9)) == (0, ["a"])
    uploaded.add("url-1")
    assert count(side, "url-1") == 2
    assert rows.recent(9) == ["url-1", "a"]
    assert scrape(metrics)["sidestream_unknown_item_engagements_total{}"] == 3
    side.close()
