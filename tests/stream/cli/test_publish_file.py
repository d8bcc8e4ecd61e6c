"""A file of events: what it publishes, and that a bad line is told by its number and costs itself."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import msgspec
import pytest

from store.settings import Settings
from tests.stream.conftest import Run
from tests.stream.log import events_of, read_topic

GOOD = {"event_id": "e1", "user_id": "u1", "item_id": "i1", "kind": "click", "occurred_at": 5.0}


def lines(folder: Path, *values: object) -> Path:
    file = folder / "events.jsonl"
    file.write_bytes(b"\n".join(v if isinstance(v, bytes) else msgspec.json.encode(v) for v in values))
    return file


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
    assert (ran.status, ran.err, "read as CSV" in ran.out) == (0, "", kind == "CSV")
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


def test_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    ran = run("publish", "uploads", file)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == f"sidestream: no file {file}: give a file of JSON lines, or - for standard input\n"


def test_lines_that_broke_the_command_are_named_like_others(on_broker: Run, tmp_path: Path) -> None:
    """Each ended it with a traceback, and what came after it was not published."""
    local = msgspec.json.encode({**GOOD, "user_id": "broken", "occurred_at": "2026-01-02T03:04:05Z"})
    file = lines(
        tmp_path,
        b'{"events":' + b"[" * 20_000,
        local.replace(b"}", b',"query":"\\ud800"}'),
        local.replace(b"}", b", nonsense"),
        local.replace(b"}", b',"context_item_id":' + b"[" * 20_000),
        {**GOOD, "user_id": "broken", "occurred_at": "2026-01-02T03:04:05Z"},
    )
    ran = on_broker("publish", "engagements", file, "--json")
    assert (ran.status, ran.document["published"], ran.document["bad"]) == (1, 1, 4)
    assert [line["line"] for line in ran.document["bad_lines"]] == [1, 2, 3, 4]


def test_lines_are_sent_as_they_are_whatever_key_they_show(on_broker: Run, tmp_path: Path) -> None:
    odd = [b'{"user_id":"\\ud800"}', b'{"user_id":["x"]}', b'{"user_id":7,"occurred_at":1' + b"0" * 400 + b"}"]
    ran = on_broker("publish", "engagements", lines(tmp_path, *odd), "--raw", "--speed", "1000", "--json")
    assert (ran.status, ran.document["published"]) == (0, 3)
