"""Files of three kinds as rows; what cannot be read is named."""

from __future__ import annotations

import gzip
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.client.line_files import RecordingError
from stream.client.tables.rows import BATCH_ROWS, MissingExtraError, format_of, read_rows


def anything(_: list[str]) -> str:
    return ""


def test_csv_with_any_heading(tmp_path: Path) -> None:
    file = tmp_path / "t.csv.gz"
    file.write_bytes(gzip.compress(b'\xef\xbb\xbfa;b\n1;"x;y"\n;2\n1;2;3\n'))
    rows = list(read_rows(file, "csv", anything))
    assert [(row.number, row.fields, row.fault) for row in rows] == [
        (2, {"a": "1", "b": "x;y"}, ""),
        (3, {"b": "2"}, ""),
        (4, None, "3 cells, and the first line has 2"),
    ]
    assert format_of(file) == "csv"


def test_lines_and_frames(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_bytes(b'{"a":1}\n{"events":[{"a":2},{"a":NaN}]}\n\n[3]\nno\n')
    rows = list(read_rows(file, "jsonl", anything))
    found = [(row.number, row.fields, row.raw) for row in rows]
    assert found[:2] == [(1, {"a": 1}, b'{"a":1}'), (2, {"a": 2}, b'{"a":2}')]
    assert found[2:] == [(2, None, b'{"a":NaN}'), (4, None, b"[3]"), (5, None, b"no")]
    assert format_of(file) == "jsonl"


def test_parquet_in_batches(tmp_path: Path) -> None:
    file = tmp_path / "t"
    count = BATCH_ROWS + 1
    table = pa.table(
        {
            "n": range(count),
            "at": pa.array([datetime(2026, 1, 2)] * count),
            "vector": [[1.0, 2.0]] * count,
            "map": pa.array([[("k", "v")]] * count, pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, file)
    rows = list(read_rows(file, "parquet", anything))
    assert (len(rows), rows[-1].number, rows[-1].position) == (count, count, file.stat().st_size)
    assert rows[0].fields == {"n": 0, "at": datetime(2026, 1, 2), "vector": [1.0, 2.0], "map": {"k": "v"}}
    assert format_of(file) == "parquet"


@pytest.mark.parametrize(
    ("content", "form", "told"),
    [
        (b"a,a\n1,2\n", "csv", "two columns have the same name"),
        (b"\xff\xfea\x00", "csv", "UTF-16"),
        (b"caf\xe9,b\n", "csv", "not UTF-8"),
        (b"PAR1 and no more", "parquet", "no whole Parquet file"),
        (b"", "parquet", "no whole Parquet file"),
        (b"a,b\n", "csv", "it lacks c"),
    ],
)
def test_a_file_that_is_none_is_named(content: bytes, form: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_bytes(content)
    with pytest.raises(RecordingError, match=told):
        list(read_rows(file, form, lambda _: "it lacks c"))


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sidestream\[parquet\]'"):
        list(read_rows(tmp_path / "t", "parquet", anything))
