"""Files of lines are known by what is in them; what is not lines of JSON in UTF-8 is named with its remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.client import line_files
from stream.client.line_files import RecordingError, read_lines

ROWS = [json.dumps({"item_id": f"Ünï{n} 🎾"}, ensure_ascii=False).encode() for n in range(3)]
PLAIN = b"\n".join(ROWS)
BOM = b"\xef\xbb\xbf"
SAME = {
    "plain": PLAIN,
    "byte order mark": BOM + PLAIN,
    "CRLF": b"\r\n".join(ROWS) + b"\r\n",
    "gzip": gzip.compress(PLAIN),
    "byte order mark in gzip": gzip.compress(BOM + PLAIN),
    "several gzip members": gzip.compress(ROWS[0] + b"\n") + gzip.compress(b"\n".join(ROWS[1:])),
    "blank lines": b"\n \n" + PLAIN + b"\n\n",
}
NAMED = {
    "UTF-16": (PLAIN.decode().encode("utf-16"), r"is UTF-16, and UTF-8 is read: iconv -f UTF-16 -t UTF-8"),
    "UTF-16 without a mark": (PLAIN.decode().encode("utf-16-le"), "is UTF-16LE"),
    "UTF-16 the other way": (PLAIN.decode().encode("utf-16-be"), "is UTF-16BE"),
    "UTF-32": (PLAIN.decode().encode("utf-32"), "is UTF-32"),
    "UTF-16 in gzip": (gzip.compress(PLAIN.decode().encode("utf-16")), "is UTF-16"),
    "bzip2": (bz2.compress(PLAIN), r"is packed with bzip2: bzip2 -dc .* \| sidestream publish"),
    "xz": (lzma.compress(PLAIN), "is packed with xz"),
    "zip": (b"PK\x03\x04rest", "is packed with zip"),
    "zstd": (b"\x28\xb5\x2f\xfdrest", "is packed with zstd"),
    "array": (b"[" + b",\n".join(ROWS) + b"]", r"is one JSON array.*: jq -c '\.\[\]'"),
    "array in a line": (b"[" + b",".join(ROWS) + b"]", "is one JSON array"),
    "over several lines": (json.dumps({"item_id": "a"}, indent=2).encode(), "JSON over several lines.*jq -c"),
    "cut gzip": (gzip.compress(PLAIN)[:-9], "no whole gzip file"),
    "damaged gzip": (gzip.compress(PLAIN)[:12] + b"\xff" * 40, "no whole gzip file"),
}


@pytest.mark.parametrize("name", ["events.jsonl", "events", "EVENTS.JSONL.GZ", "events.gz"])
@pytest.mark.parametrize("kind", SAME)
def test_content_decides_not_the_name(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SAME[kind])
    assert [line.value for line in read_lines(tmp_path / name)] == ROWS


@pytest.mark.parametrize("kind", SAME)
def test_standard_input_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SAME[kind])))
    assert [line.value for line in read_lines(Path("-"))] == ROWS


@pytest.mark.parametrize("kind", NAMED)
def test_what_it_is_and_what_to_do(kind: str, tmp_path: Path) -> None:
    content, told = NAMED[kind]
    file = tmp_path / "it's events"
    file.write_bytes(content)
    with pytest.raises(RecordingError, match=told) as caught:
        list(read_lines(file))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_come_as_they_are_written() -> None:
    """`tail -f` must not wait for a buffer to fill: the first line is there before the second is written."""
    read, write = os.pipe()
    lines = read_lines_from(read)
    os.write(write, ROWS[0] + b"\n")
    assert next(lines) == ROWS[0]
    os.write(write, ROWS[1] + b"\n")
    assert next(lines) == ROWS[1]
    os.close(write)
    assert list(lines) == []


def read_lines_from(pipe: int) -> Iterator[bytes]:
    with pytest.MonkeyPatch.context() as patch, open(pipe, "rb") as stream:
        patch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        for line in read_lines(Path("-")):
            yield line.value


def test_exact_lines_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"[1\n{\n\x00\xff")
    assert [line.value for line in read_lines(tmp_path / "a", exact=True)] == [b"[1", b"{", b"\x00\xff"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.binary(max_size=30).map(gzip.compress))
def test_any_bytes_are_lines_or_a_refusal(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "any").write_bytes(content)
    try:
        lines = list(read_lines(tmp_path / "any"))
    except RecordingError:
        return
    assert all(line.value.strip() for line in lines)


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"")
    assert list(read_lines(tmp_path / "a.gz")) == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_without_end_is_named_by_its_number_and_is_never_held_whole(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten kilobytes of gzip unpack to a line of ten megabytes, ten megabytes to one of ten gigabytes."""
    assert line_files.MOST_LINE == 16 << 20
    monkeypatch.setattr(line_files, "MOST_LINE", 1000)
    content = b"\n".join([ROWS[0], b"x" * 1001, ROWS[1], b"y" * 12_345, b"z" * 1000, ROWS[2]])
    (tmp_path / "events").write_bytes(gzip.compress(content) if packed else content)
    for exact in (False, True):
        found = list(read_lines(tmp_path / "events", exact=exact))
        assert [line.number for line in found if line.fault] == [2, 4]
        assert [line.value for line in found if not line.fault] == [ROWS[0], ROWS[1], b"z" * 1000, ROWS[2]]
