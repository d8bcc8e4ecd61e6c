"""CSV: read where the first line leaves no doubt, named where it does not; a bad row costs itself."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.client.csv_lines import table_of
from stream.client.line_files import Line, RecordingError, read_lines


def lines(folder: Path, content: str | bytes, topic: str = "uploads") -> list[Line]:
    file = folder / "events.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_lines(file, table=table_of(topic)))


def test_cells_become_fields(tmp_path: Path) -> None:
    content = (
        "item_id,uploaded_at,title,duration_s,tags,shelf\r\n"
        'a,1767323045,"Bread, and ""more""",61.5,"[""x"", ""y""]",7\r\n'
        "b,2026-01-02T03:04:05Z,,,,\r\n"
    )
    first, second = lines(tmp_path, content)
    assert json.loads(first.value) == {
        "item_id": "a", "uploaded_at": 1767323045.0, "title": 'Bread, and "more"',
        "duration_s": 61.5, "tags": ["x", "y"], "shelf": "7",
    }  # fmt: skip
    assert json.loads(second.value) == {"item_id": "b", "uploaded_at": 1767323045.0}
    assert (first.number, second.number) == (2, 3)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_as_spreadsheets_write_them(separator: str, mark: str, tmp_path: Path) -> None:
    rows = [["event_id", "user_id", "item_id", "kind", "occurred_at"], ["e", "u", "i,;", "click", "5"]]
    text = mark + "\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    (line,) = lines(tmp_path, text, "engagements")
    assert json.loads(line.value)["item_id"] == "i,;"


def test_a_bad_row_costs_itself(tmp_path: Path) -> None:
    content = "item_id,uploaded_at,tags\na,1\nb,yesterday,\nc,2026-01-02,\nd,4,x|y\ne,5,\n,,\n"
    found = lines(tmp_path, content)
    assert [(line.number, line.fault.partition(":")[0]) for line in found] == [
        (2, "2 cells, and the first line has 3"),
        (3, "uploaded_at"),
        (4, "uploaded_at"),
        (5, "tags"),
        (6, ""),
    ]
    assert "time zone" in found[2].fault


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("item_id,title\na,b\n", "looks like CSV, and its first line does not name uploaded_at"),
        ("id;created\n1;2\n", "does not name item_id, uploaded_at: name the columns of uploads"),
        (b"item_id,uploaded_at,title\na,1,K\xf6ln\n", "line 2 is not UTF-8"),
    ],
)
def test_what_is_in_doubt_is_named(content: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=told):
        lines(tmp_path, content)


def test_other_bad_lines_are_lines(tmp_path: Path) -> None:
    assert [line.value for line in lines(tmp_path, "no json at all\n{}")] == [b"no json at all", b"{}"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1), min_size=1, max_size=5))
def test_any_text_survives_its_quotes(tmp_path: Path, titles: list[str]) -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["item_id", "uploaded_at", "title"])
    writer.writerows([f"i{n}", n + 1, title] for n, title in enumerate(titles))
    assert [json.loads(line.value)["title"] for line in lines(tmp_path, out.getvalue())] == titles


def test_what_no_json_and_no_table_can_hold_is_named_never_a_fault(tmp_path: Path) -> None:
    """Each ended the command with a traceback: nesting without end, half characters, a heading that is none."""
    heading = "item_id,uploaded_at,tags\n"
    for cell in ("[" * 20_000, '"[""\\ud800""]"'):
        (line,) = lines(tmp_path, f"{heading}a,1,{cell}\n")
        assert line.fault, cell[:20]
        assert line.number == 2
    for first in ("a\rb,c", "x" * 200_000, '"' + "x" * 200_000 + '",b'):
        assert [line.value[:1] for line in lines(tmp_path, f"{first}\n")] == [first[:1].encode()]
