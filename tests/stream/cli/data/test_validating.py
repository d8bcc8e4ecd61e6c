"""`sidestream validate`: nothing is sent, and no broker need be there."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from store.settings import Settings
from tests.stream.conftest import Run
from tests.stream.log import read_topic

CLICKS = """visitor,sku,ts
u1,i1,2026-01-02T03:04:05Z
u1,i1,2026-01-02T03:04:05Z
u2,i9,1767323045000
u3,i1,yesterday
 ,i1,1767323045
"""
MAPPED = ("--column", "user_id=visitor", "--column", "item_id=sku", "--column", "occurred_at=ts", "--set", "kind=click")


def test_what_would_come_of_a_table(run: Run, tmp_path: Path) -> None:
    clicks, items = tmp_path / "clicks.csv", tmp_path / "items.csv"
    clicks.write_text(CLICKS)
    items.write_text("id,name\ni1,One\n")
    ran = run("validate", clicks, "--as", "engagements", *MAPPED, "--items", items, "--item-column", "id", "--json")
    found = ran.document
    assert (ran.status, found["events"], found["accepted"], found["refused"]) == (1, 5, 3, 2)
    assert [(each["row"], each["reason"], each["field"]) for each in found["refusals"]] == [
        (5, "wrong_type", "occurred_at"),
        (6, "wrong_type", "user_id"),
    ]
    assert found["repeated_ids"] == {"events": 1, "rows": [3]}
    assert found["never_uploaded"] == {"events": 1, "items": 1, "rows": [4]}
    assert found["times"]["earliest"] == found["times"]["latest"] == 1767323045.0
    text = run("validate", clicks, "--as", "engagements", *MAPPED).out
    assert "5 engagements: 3 would be taken, 2 refused" in text
    assert "row 5: occurred_at: wrong_type: 'yesterday' is no time" in text
    assert "whether their items are uploaded was not looked at" in text


def test_lines_that_are_events_already(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    good = {"item_id": "i", "uploaded_at": time.time() + 600, "tags": ["a", 4], "mine": 1}
    file.write_bytes(msgspec.json.encode(good) + b'\n{"item_id":"j"}\n{\n')
    ran = run("validate", file, "--as", "uploads", "--json")
    assert ran.document["by_reason"] == {"missing_field": 1, "not_json": 1}
    assert ran.document["dropped_values"] == {"tags": 1}
    assert 500 < ran.document["times"]["most_ahead_s"] < 601
    file.write_bytes(msgspec.json.encode(good))
    ran = run("validate", file, "--as", "uploads")
    assert (ran.status, "they would be set to now" in ran.out) == (0, True)


def test_a_heading_that_lacks_a_field_names_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("visitor,item\nu,i\n")
    ran = run("validate", tmp_path / "t.csv", "--as", "engagements", "--column", "user=visitor")
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "engagements have no field user: did you mean user_id?" in ran.err
    ran = run("validate", tmp_path / "t.csv", "--as", "engagements", "--column", "user_id")
    assert "--column user_id: write NAME=VALUE" in ran.err
    assert run("validate", tmp_path / "none", "--as", "uploads").err.startswith("sidestream: no file")


def test_items_on_the_log_count_as_uploaded(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("item_id,uploaded_at\non-log,5\ntaken,5\n")
    assert on_broker("import", "csv", tmp_path / "i.csv", "--as", "uploads").status == 0
    assert on_broker("publish", "take-down", "taken").status == 0
    (tmp_path / "e.csv").write_text("user_id,item_id,kind,occurred_at\nu,on-log,click,5\nu,taken,click,5\n")
    before = len(read_topic(cli_settings, "engagements"))
    ran = on_broker("validate", tmp_path / "e.csv", "--as", "engagements", "--on-log", "--json")
    assert ran.document["never_uploaded"] == {"events": 1, "items": 1, "rows": [3]}
    assert len(read_topic(cli_settings, "engagements")) == before, "validate sends nothing"
