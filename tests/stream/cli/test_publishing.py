"""`sidestream publish`: items, people and tombstones, with ids as catalogues have them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from store.settings import Settings
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.conftest import Run
from tests.stream.log import read_topic, settings_on


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


def test_what_no_broker_took_is_kept_told_and_sent_by_the_next_command(
    run: Run, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cluster = EmbeddedCluster(tmp_path_factory.mktemp("away"))
    cluster.start()
    create_topics(settings_on(cluster.bootstrap_servers, "sidestream."))
    spill, file = tmp_path / "spill", lines(tmp_path, *({"user_id": f"u{n}", "updated_at": 1.0} for n in range(5)))
    here = ("--bootstrap-servers", cluster.bootstrap_servers)
    try:
        ran = run("publish", "profiles", file, "--spill", spill, *here)
        assert ran.out.endswith(", 5 acknowledged, 0 spilled\n")
        cluster.kill()
        ran = run("publish", "profiles", file, "--spill", spill, *here)
        assert ran.out.endswith(f", 0 acknowledged, 5 spilled; 5 wait in {spill}: {SENDS % spill}\n")
        ran = run("publish", "forget", "u1", "--spill", spill, *here, "--json")
        ends = {"acknowledged": 0, "spilled": 1, "failed": 0, "waiting": 6}
        assert (ran.status, ran.document) == (0, {"forgotten": ["u1"], **ends})
        ran = run("publish", "spilled", spill, "--timeout", "0.2", *here)
        assert (ran.status, ran.out) == (1, f"0 sent, 6 wait in {spill}: try again\n")
        cluster.restart()
        ran = run("publish", "spilled", spill, *here, "--json")
        assert (ran.status, ran.document) == (0, {"sent": 6, "waiting": 0})
        found = [record.key for record in read_topic(settings_on(here[1], "sidestream."), "profiles")]
        assert sorted(found) == sorted([b"u0", b"u1", b"u2", b"u3", b"u4"] * 2 + [b"u1"])
    finally:
        cluster.stop()


SENDS = "`sidestream publish spilled %s` sends them"


def test_a_folder_that_is_no_spill_is_named(on_broker: Run, tmp_path: Path) -> None:
    ran = on_broker("publish", "spilled", tmp_path / "other")
    assert ran.status == 1
    assert f"no spill in {tmp_path / 'other'}: give the folder that was given as --spill" in ran.err
    (tmp_path / "mine").write_text("")
    ran = on_broker("publish", "take-down", "t1", "--spill", tmp_path)
    assert ran.status == 1
    assert "mine is not of a spill" in ran.err
    assert ran.err.count("\n") == 1
