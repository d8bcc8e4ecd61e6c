"""`sidestream publish`: items, people and tombstones, with ids as catalogues have them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from store.settings import Settings
from tests.stream.conftest import Run
from tests.stream.log import read_topic


def lines(folder: Path, *values: object) -> Path:
    file = folder / "events.jsonl"
    file.write_bytes(b"\n".join(v if isinstance(v, bytes) else msgspec.json.encode(v) for v in values))
    return file


def test_items_people_and_tombstones(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    assert on_broker("publish", "uploads", lines(tmp_path, {"item_id": "t1", "uploaded_at": 1.0})).status == 0
    assert on_broker("publish", "profiles", lines(tmp_path, {"user_id": "t1", "updated_at": 1.0})).status == 0
    assert on_broker("publish", "take-down", "t1", "t2", "--json").document == {"taken_down": ["t1", "t2"]}
    assert on_broker("publish", "forget", "t1").out == "1 forgotten\n"
    assert [r.value is None for r in read_topic(cli_settings, "uploads") if r.key == b"t1"][-1]
    assert [r.value is None for r in read_topic(cli_settings, "profiles") if r.key == b"t1"][-1]


IDS = ["a%2Fb", "-dash", "שלום", "..", "a b", "a\x1b[2J", "trail "]


def test_any_id_is_taken_down_and_forgotten(on_broker: Run, cli_settings: Settings) -> None:
    assert on_broker("publish", "take-down", *IDS).out == f"{len(IDS)} taken down\n"
    assert on_broker("publish", "forget", *IDS, "--json").document == {"forgotten": IDS}
    for topic in ("uploads", "profiles"):
        assert {each.encode() for each in IDS} <= {r.key for r in read_topic(cli_settings, topic) if r.value is None}


@pytest.mark.parametrize("id_", ["", " a", "y" * 257, "\udcff", "a\udcff"])
def test_what_is_no_id_is_one_line(id_: str, on_broker: Run) -> None:
    ran = on_broker("publish", "take-down", id_)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "is no id: 1 to 256 characters of UTF-8" in ran.err


def test_no_broker(run: Run, tmp_path: Path) -> None:
    ran = run("publish", "uploads", lines(tmp_path, b"{}"), "--bootstrap-servers", "127.0.0.1:1")
    assert ran.status == 1
    assert ran.err.count("\n") == 1
    assert "sidestream up" in ran.err
    as_json = run("publish", "uploads", lines(tmp_path, b"{}"), "--bootstrap-servers", "127.0.0.1:1", "--json")
    assert (as_json.status, as_json.err) == (1, "")
    assert "sidestream up" in as_json.document["error"]
