"""`sidestream export`: whole files of what the log holds, without who was forgotten."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from kafka import KafkaProducer

from store.histories import UserRow
from store.items import ItemCard
from store.log import Forgotten
from store.settings import Settings
from store.topics import FORGOTTEN_USERS, SEMANTIC_IDS, USER_STATES
from stream.cli.data import exporting
from stream.kafka.state_topics import GENERATION
from tests.stream.conftest import Run


def test_interactions_in_each_form(
    on_broker: Run, cli_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BATCH_ROWS", 3)
    file = tmp_path / "e.csv"
    lines = "".join(f"{user},i,watch,5,0.5\n" for user in [f"out{n}" for n in range(7)] + ["gone"])
    file.write_text("user_id,item_id,kind,occurred_at,value\n" + lines)
    assert on_broker("import", "csv", file, "--as", "engagements").status == 0
    one = Forgotten(user_id="gone", offset=0, forgotten_at_ms=int(time.time() * 1000) + 1000)
    producer = KafkaProducer(bootstrap_servers=cli_settings.kafka.bootstrap_servers)
    producer.send(cli_settings.topic(FORGOTTEN_USERS), one.encode(), one.key()).get(10)
    producer.close()
    found = {}
    for form in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"out.{form}"
        told = on_broker("export", "interactions", out, "--json").document
        if form == "csv":
            rows = list(csv.DictReader(out.read_text().splitlines()))
        elif form == "jsonl":
            rows = [msgspec.json.decode(line) for line in out.read_bytes().splitlines()]
        else:
            rows = pq.read_table(out).to_pylist()
        assert told["rows"] == len(rows)
        ours = [row for row in rows if row["user_id"].startswith(("out", "gone"))]  # the broker has others' events, too
        found[form] = sorted((row["user_id"], float(row["value"])) for row in ours)
    assert found["csv"] == found["jsonl"] == found["parquet"] == [(f"out{n}", 0.5) for n in range(7)]
    assert not list(tmp_path.glob("*.tmp"))


def test_items_and_users_are_exported_too(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    producer = KafkaProducer(bootstrap_servers=cli_settings.kafka.bootstrap_servers)
    card = ItemCard(
        item_id="exported", codebook="v", codes=[1], suffix=2, assigned_at=1, uploaded_at=1, published_at_ms=1
    )
    headers = [(GENERATION, b"1")]
    for topic, value in ((SEMANTIC_IDS, msgspec.json.encode(card)), (USER_STATES, msgspec.msgpack.encode(UserRow()))):
        producer.send(cli_settings.topic(topic), value, b"exported", headers).get(10)
    producer.close()
    for what, column in (("items", "item_id"), ("users", "user_id")):
        out = tmp_path / f"{what}.csv"
        assert on_broker("export", what, out, "--json").document["rows"] >= 1
        assert "exported" in {row[column] for row in csv.DictReader(out.read_text().splitlines())}
    assert on_broker("export", "items", tmp_path / "i.parquet", "--vectors").status == 0
    assert pq.read_table(tmp_path / "i.parquet").schema.names[-1] == "vector"
    assert "users have no vectors" in on_broker("export", "users", tmp_path / "u.csv", "--vectors").err


def test_an_export_that_fails_leaves_what_was_there(run: Run, on_broker: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("before")
    ran = run("export", "interactions", out, "--bootstrap-servers", "127.0.0.1:1")
    assert (ran.status, out.read_text(), list(tmp_path.glob("*.tmp"))) == (1, "before", [])
    assert "end its name in .csv" in on_broker("export", "interactions", tmp_path / "out.txt").err
