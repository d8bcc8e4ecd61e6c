"""`sidestream import`: tables onto the log, and how far an import that was cut off has come."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.settings import Settings
from stream.cli.data import importing
from stream.kafka.deliveries import DeliveryError
from tests.stream.cli.data.test_validating import CLICKS, MAPPED
from tests.stream.conftest import Run
from tests.stream.log import events_of, read_topic

AT = 1767323045.0


def test_a_table_is_published_and_bad_rows_are_named(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "clicks.csv"
    file.write_text(CLICKS)
    ran = on_broker("import", "csv", file, "--as", "engagements", *MAPPED)
    assert ran.status == 1
    assert [line.partition(":")[0] for line in ran.err.splitlines()] == ["line 5", "line 6"]
    assert "3 engagements imported" in ran.out
    assert "3 acknowledged, 2 bad rows" in ran.out
    found = [each for each in events_of(read_topic(cli_settings, "engagements")) if each["user_id"] in ("u1", "u2")]
    assert [(each["item_id"], each["occurred_at"], each["kind"]) for each in found].count(("i1", AT, "click")) == 2
    assert len({each["event_id"] for each in found}) == 2
    judged = run_json(on_broker, "validate", file, "--as", "engagements", *MAPPED)
    imported = run_json(on_broker, "import", "csv", file, "--as", "engagements", *MAPPED)
    assert (imported["published"], imported["bad"]) == (judged["accepted"], judged["refused"])
    assert [each["reason"] for each in imported["bad_lines"]] == [each["reason"] for each in judged["refusals"]]


def run_json(run: Run, *arguments: object) -> dict[str, object]:
    found: dict[str, object] = run(*arguments, "--json").document
    return found


def test_parquet_by_a_mapping_file(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    made = pa.array([datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC"))
    table = pa.table({"sku": [71, 72], "made": made, "clip": [[0.5, 1.0]] * 2, "price": [1.5, None]})
    pq.write_table(table, tmp_path / "items.parquet")
    (tmp_path / "m.toml").write_text(
        '[columns]\nitem_id = "sku"\nuploaded_at = "made"\n"features.visual" = "clip"\n[constants]\ncategory = "p"\n'
    )
    ran = on_broker(
        "import", "parquet", tmp_path / "items.parquet", "--as", "uploads", "--mapping", tmp_path / "m.toml"
    )
    assert (ran.status, ran.err) == (0, "")
    found = {e["item_id"]: e for e in events_of(read_topic(cli_settings, "uploads"))}
    assert found["71"] == {
        "item_id": "71",
        "uploaded_at": AT,
        "category": "p",
        "features": {"visual": [0.5, 1.0]},
    }


def test_an_import_that_was_cut_off_goes_on(
    on_broker: Run, cli_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, kept = tmp_path / "e.csv", tmp_path / "progress"
    file.write_text("user_id,item_id,kind,occurred_at\n" + "".join(f"cut{n},i,click,5\n" for n in range(10)))
    whole, flushed = importing._publish_row, 0

    def failing(publisher: object, row: object, *rest: object) -> None:
        nonlocal flushed
        flushed += 1
        if flushed == 7:
            raise DeliveryError("the broker is gone")
        whole(publisher, row, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(importing, "_publish_row", failing)
    monkeypatch.setattr(importing, "SETTLE_S", 0.0)
    ran = on_broker("import", "csv", file, "--as", "engagements", "--resume", kept)
    assert (ran.status, ran.out) == (1, "")
    assert "the broker is gone; 6 rows are acknowledged: run the same command again" in ran.err
    told = run_json(on_broker, "import", "csv", file, "--as", "engagements", "--resume", kept)
    assert (told["skipped"], told["published"], told["rows"]) == (6, 4, 10)
    again = run_json(on_broker, "import", "csv", file, "--as", "engagements", "--resume", kept)
    assert (again["skipped"], again["published"]) == (10, 0)
    users = [each["user_id"] for each in events_of(read_topic(cli_settings, "engagements"))]
    assert sorted(user for user in users if user.startswith("cut")) == [f"cut{n}" for n in range(10)]
    assert run_json(on_broker, "import", "csv", file, "--as", "engagements", "--skip", "9")["published"] == 1


def test_the_progress_of_another_file_is_not_taken(on_broker: Run, tmp_path: Path) -> None:
    file, kept = tmp_path / "e.csv", tmp_path / "progress"
    file.write_text("item_id,uploaded_at\ni,5\n")
    kept.write_text(json.dumps({"source": ["other"], "rows": 5}))
    ran = on_broker("import", "csv", file, "--as", "uploads", "--resume", kept)
    assert (ran.status, "is of another file than" in ran.err) == (1, True)
    kept.write_text("x")
    assert "holds no progress of an import" in on_broker("import", "csv", file, "--as", "uploads", "--resume", kept).err


def test_lines_whose_fields_lie_deeper(on_broker: Run, cli_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "plays.jsonl"
    file.write_text('{"user": {"id": "deep"}, "track": 5, "ts": 1767323045, "skin": "dark"}\n')
    said = ("--column", "user_id=user.id", "--column", "item_id=track", "--column", "occurred_at=ts")
    assert on_broker("import", "jsonl", file, "--as", "engagements", *said, "--set", "kind=watch").status == 0
    found = [each for each in events_of(read_topic(cli_settings, "engagements")) if each["user_id"] == "deep"]
    assert [(each["item_id"], each["kind"], each["skin"]) for each in found] == [("5", "watch", "dark")]
