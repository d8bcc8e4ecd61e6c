"""The command line in this process: what it prints and exits with, and that a failure is one line with a remedy."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from store.settings import Settings
from stream.cli.system import NotRunningError, find_system
from stream.client.publisher import Publisher
from stream.kafka.dead_letters import DeadLetter
from tests.stream.conftest import Run
from tests.stream.log import events_of, read_topic

GOOD = {"event_id": "e1", "user_id": "u1", "item_id": "i1", "kind": "click", "occurred_at": 5.0}


def lines(folder: Path, *values: object) -> Path:
    file = folder / "events.jsonl"
    file.write_bytes(b"\n".join(v if isinstance(v, bytes) else msgspec.json.encode(v) for v in values))
    return file


# ---- publish ----


def test_good_lines_are_published(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n".join(msgspec.json.encode({**GOOD, "user_id": f"good{n}"}) for n in range(50))))
    ran = on_broker("publish", "engagements", file, "--json")
    assert (ran.status, ran.document["published"], ran.document["bad"]) == (0, 50, 0)
    found = [
        event for event in events_of(read_topic(cli_settings, "engagements")) if event["user_id"].startswith("good")
    ]
    assert len(found) == 50


def test_bad_lines_are_named_and_do_not_stop_the_rest(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    mine = {**GOOD, "user_id": "mixed"}
    nan = msgspec.json.encode(mine).replace(b"5.0", b"NaN")
    frame = {"events": [mine, {**mine, "kind": "stare"}]}
    file = lines(tmp_path, mine, b"{", b"", {"event_id": "x"}, nan, {**mine, "user_id": 4}, frame, mine)
    ran = on_broker("publish", "engagements", file)
    assert ran.status == 1
    assert [line.partition(":")[0] for line in ran.err.splitlines()] == [f"line {n}" for n in (2, 4, 5, 6, 7)]
    assert "3 engagements published" in ran.out
    assert "5 bad lines" in ran.out
    assert len([e for e in events_of(read_topic(cli_settings, "engagements")) if e["user_id"] == "mixed"]) == 3
    told = on_broker("publish", "engagements", file, "--json").document["bad_lines"]
    reasons = ["not_json", "missing_field", "not_finite", "wrong_type", "unknown_kind"]
    assert [line["reason"] for line in told] == reasons
    assert told[1]["field"] == "user_id"


ISO = b"2026-01-02T03:04:05Z"
FILES = {
    "byte order mark and CRLF": b"\xef\xbb\xbf%s\r\n%s\r\n",
    "gzip without its name": b"%s\n%s",
    "ISO times": b"%s\n%s",
    "CSV": b"event_id,user_id,item_id,kind,occurred_at\ne,%s,i,click,5\ne,%s,i,click," + ISO,
}


@pytest.mark.parametrize("kind", FILES)
def test_files_as_others_write_them(kind: str, on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    user = f"file of {kind}"
    event = msgspec.json.encode({**GOOD, "user_id": user})
    content = FILES[kind] % ((user.encode(),) * 2 if kind == "CSV" else (event, event))
    if kind == "ISO times":
        content = content.replace(b"5.0", b'"' + ISO + b'"')
    file = tmp_path / "events"
    file.write_bytes(gzip.compress(content) if "gzip" in kind else content)
    ran = on_broker("publish", "engagements", file)
    assert (ran.status, ran.err) == (0, "")
    times = [e["occurred_at"] for e in events_of(read_topic(cli_settings, "engagements")) if e["user_id"] == user]
    assert times == {"ISO times": [1767323045.0] * 2, "CSV": [5.0, 1767323045.0]}.get(kind, [5.0, 5.0])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (msgspec.json.encode(GOOD).decode().encode("utf-16"), "is UTF-16"),
        (b"[" + msgspec.json.encode(GOOD) + b"]", "is one JSON array"),
        (b"user_id,item_id\nu,i", "looks like CSV, and its first line does not name event_id"),
        (b"PK\x03\x04", "is packed with zip"),
    ],
)
def test_other_files_are_named_in_one_line(content: bytes, told: str, on_broker: Run, tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(content)
    ran = on_broker("publish", "engagements", tmp_path / "events")
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1), ran
    assert told in ran.err


def test_a_time_in_doubt_is_a_bad_line(on_broker: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, {**GOOD, "occurred_at": "2026-01-02T03:04:05"}, {**GOOD, "occurred_at": True}, GOOD)
    ran = on_broker("publish", "engagements", file)
    assert (ran.status, "1 engagements published" in ran.out) == (1, True)
    first, second = ran.err.splitlines()
    assert first.startswith("line 1: occurred_at: wrong_type: '2026-01-02T03:04:05' does not say its time zone: write")
    assert second.startswith("line 2: occurred_at: wrong_type: ")


def test_raw_lines_are_sent_as_they_are(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    huge = b'{"user_id":"raw","x":"' + b"y" * (5 << 20) + b'"}'
    ran = on_broker("publish", "engagements", lines(tmp_path, b"{broken", {"user_id": "raw"}, huge), "--raw", "--json")
    assert (ran.status, ran.document["published"]) == (0, 3)
    sent = [(record.key, len(record.value)) for record in read_topic(cli_settings, "engagements")]
    assert {(b"line-1", 7), (b"raw", len(huge))} <= set(sent)


def test_standard_input_and_single_events(
    on_broker: Run, cli_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"\n".join(msgspec.json.encode({**GOOD, "user_id": "stdin", "event_id": str(n)}) for n in range(5))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert on_broker("publish", "engagements", "-", "--unframed").status == 0
    records = [record for record in read_topic(cli_settings, "engagements") if record.key == b"stdin"]
    assert len(records) == 5


def test_speed_keeps_the_events_time(on_broker: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, {**GOOD, "occurred_at": 100.0}, {**GOOD, "occurred_at": 130.0})
    assert on_broker("publish", "engagements", file, "--speed", "100", "--json").document["took_s"] >= 0.3


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


def test_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    ran = run("publish", "uploads", file)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == f"sidestream: no file {file}: give a file of JSON lines, or - for standard input\n"


def test_no_broker(run: Run, tmp_path: Path) -> None:
    ran = run("publish", "uploads", lines(tmp_path, b"{}"), "--bootstrap-servers", "127.0.0.1:1")
    assert ran.status == 1
    assert ran.err.count("\n") == 1
    assert "sidestream up" in ran.err
    as_json = run("publish", "uploads", lines(tmp_path, b"{}"), "--bootstrap-servers", "127.0.0.1:1", "--json")
    assert (as_json.status, as_json.err) == (1, "")
    assert "sidestream up" in as_json.document["error"]


# ---- topics and dead letters ----


def test_topics(on_broker: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDESTREAM_KAFKA__TOPIC_PREFIX", "cli-topics.")
    missing = on_broker("topics", "list", "--json")
    assert missing.status == 1
    assert "sidestream topics create" in missing.document["error"]
    assert on_broker("topics", "create").out == "12 topics created, 0 were there\n"
    assert on_broker("topics", "create", "--json").document["created"] == 0
    listed = on_broker("topics", "list")
    assert listed.status == 0
    assert "cli-topics.engagements" in listed.out


def test_topics_that_keep_another_count_are_named(on_broker: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDESTREAM_KAFKA__TOPIC_PREFIX", "cli-counts.")
    monkeypatch.setenv("SIDESTREAM_KAFKA__PARTITIONS", "2")
    assert on_broker("topics", "create", "--json").document["note"] == ""
    monkeypatch.setenv("SIDESTREAM_KAFKA__PARTITIONS", "16")
    again = on_broker("topics", "create")
    assert again.status == 0
    assert "0 topics created, 12 were there\nkafka.partitions is 16, and these topics keep the count" in again.out
    assert "cli-counts.engagements 2" in again.out
    assert "checkpoints" not in again.out
    assert "cli-counts.uploads 2" in on_broker("topics", "create", "--json").document["note"]


def test_dead_letters(on_broker: Run, cli_settings: Settings) -> None:
    letter = DeadLetter(
        reason="not_json", detail="d", topic="cli.profiles", partition=0, offset=3, key=b"dead", value=b"{"
    )
    with Publisher(settings=cli_settings) as publisher:
        publisher.send("dead-letters", "s", letter.encode())
    listed = on_broker("dead-letters", "list")
    assert "cli.profiles/0@3" in listed.out
    assert "1 dead letters: not_json 1" in listed.out
    document = on_broker("dead-letters", "list", "--json").document
    assert document["by_reason"] == {"not_json": 1}
    assert document["letters"][0] == msgspec.json.decode(letter.encode())
    assert on_broker("dead-letters", "list", "--reason", "wrong_type", "--json").document["found"] == 0
    assert on_broker("dead-letters", "replay").out == "1 dead letters published again\n"
    assert on_broker("dead-letters", "replay").out == "0 dead letters published again\n"
    assert on_broker("dead-letters", "replay", "--again").out == "1 dead letters published again\n"
    assert on_broker("dead-letters", "list", "--json").document["letters"] == document["letters"]
    assert b"{" in [record.value for record in read_topic(cli_settings, "profiles") if record.key == b"dead"]


# ---- which system, and the rest ----


def test_a_system_is_found_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIDESTREAM_")]:
        monkeypatch.delenv(name)
    with pytest.raises(NotRunningError, match="sidestream up --data-dir"):
        find_system(tmp_path)
    (tmp_path / "settings.toml").write_text('[kafka]\ntopic_prefix = "p."\n')
    addresses = {"bootstrap_servers": "127.0.0.1:7", "url": "http://127.0.0.1:8/"}
    addresses["settings"] = str(tmp_path / "settings.toml")
    (tmp_path / "addresses.json").write_text(json.dumps({**addresses, "pid": os.getpid()}))
    found = find_system(tmp_path)
    assert (found.url, found.settings.kafka.bootstrap_servers) == ("http://127.0.0.1:8", "127.0.0.1:7")
    assert found.settings.topic("uploads") == "p.uploads"
    named = find_system(tmp_path, "other:1", "http://other:2")
    assert (named.url, named.settings.kafka.bootstrap_servers) == ("http://other:2", "other:1")
    (tmp_path / "addresses.json").write_text(json.dumps({**addresses, "pid": os.getpid(), "stopped": True}))
    with pytest.raises(NotRunningError, match="has ended"):
        find_system(tmp_path)
    (tmp_path / "addresses.json").write_text("[]")
    with pytest.raises(NotRunningError, match="damaged"):
        find_system(tmp_path)


def test_settings_that_are_wrong_are_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[kafka]\ngrup = 1\n")
    ran = run("topics", "list", "--settings", tmp_path / "s.toml")
    assert ran.status == 1
    assert "grup" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("arguments", [["-h"], ["publish", "--help"], ["checkpoints", "rollback", "-h"], ["up", "-h"]])
def test_help_is_a_manual(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.status == 0
    if len(arguments) > 1 and arguments[0] != "publish":
        assert "Example: sidestream" in ran.out


def test_usage_errors_are_two(run: Run) -> None:
    assert run("fly").status == 2
    assert run("recommend", "-k", "0").status == 2
