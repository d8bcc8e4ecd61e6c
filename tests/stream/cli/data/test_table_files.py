"""The same rows in every form; a file takes its name when it is whole."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stream.cli.data.table_files import Columns, table_file

COLUMNS: Columns = {
    "id": "text", "at": "number", "count": "whole", "tags": "texts", "codes": "wholes", "vector": "numbers",
    "more": "json",
}  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"id": "ü", "at": 1.5, "count": 2, "tags": ["a", 'b"'], "codes": [1, 2], "vector": [0.5], "more": {"a": [1]}},
    {"id": "x,\n", "at": None, "count": 0, "tags": [], "codes": [], "vector": None, "more": None},
]


def written(file: Path) -> Path:
    with table_file(file, COLUMNS) as write:
        write(ROWS[:1])
        write(ROWS[1:])
        write([])
        assert not file.exists()
    return file


def test_json_lines_hold_rows_as_they_are(tmp_path: Path) -> None:
    lines = written(tmp_path / "t.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS


def test_csv_holds_lists_as_json(tmp_path: Path) -> None:
    with written(tmp_path / "t.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["id"], row["at"], row["count"]) for row in rows] == [("ü", "1.5", "2"), ("x,\n", "", "0")]
    assert [json.loads(row["tags"]) for row in rows] == [["a", 'b"'], []]
    assert [(row["vector"], row["more"]) for row in rows] == [("[0.5]", '{"a": [1]}'), ("", "")]


def test_parquet_has_types(tmp_path: Path) -> None:
    table = pq.read_table(written(tmp_path / "t.parquet"))
    types = [
        "string",
        "double",
        "int64",
        "list<element: string>",
        "list<element: int64>",
        "list<element: float>",
        "string",
    ]
    assert [str(field.type) for field in table.schema] == types
    assert table.to_pylist() == [{**ROWS[0], "more": '{"a": [1]}'}, ROWS[1]]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("before")
    with pytest.raises(TypeError), table_file(file, COLUMNS) as write:
        write([*ROWS, {**ROWS[0], "more": object()}])
    assert (file.read_text(), [each.name for each in tmp_path.iterdir()]) == ("before", ["t.csv"])
    with pytest.raises(FileNotFoundError, match=r"end its name in \.csv"), table_file(tmp_path / "t.txt", COLUMNS):
        pass
