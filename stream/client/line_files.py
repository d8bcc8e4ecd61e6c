"""Files of lines, recognised by what is in them: plain or gzip, with a byte order mark, with either kind of line end.

A name says nothing: what begins like gzip is unpacked, also from standard input. What cannot be lines of JSON in UTF-8
(UTF-16, other archives, one JSON array) is named, with the command that makes it so. Tables in CSV are read where their
first line leaves no doubt; see `csv_lines`.

Invariant: a line of JSON is passed on as the bytes that it was; blank lines are skipped, and counted in the numbers of
others.
"""

from __future__ import annotations

import gzip
import io
import shlex
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

GZIP = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
_WIDE = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"{\x00": "UTF-16LE",
    b"\x00{": "UTF-16BE",
}
_PACKED = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"\xfd7zXZ\x00": ("xz", "xz -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}


class RecordingError(ValueError):
    """A file or folder cannot be read as events: the message says what it is and what to do; or give another path."""


class Line(NamedTuple):
    """One line: `number` counts from 1; `position` is how far into the file as it lies on disk, bytes.

    `table` is set for a row of a table; `fault` says why it is no event, where that is seen already.
    """

    number: int
    value: bytes
    position: int
    fault: str = ""
    table: bool = False


MOST_LINE = 16 << 20
"""Bytes of a line; the largest record has one MiB, and a frame may be a line. A line can have no
end: some kilobytes of gzip may unpack to one."""

Convert = Callable[[Iterator[tuple[int, bytes]], str], Iterator[Line]]


def read_lines(
    file: Path, *, table: Callable[[bytes, str], Convert | None] = lambda _line, _name: None, exact: bool = False
) -> Iterator[Line]:
    """The lines of a file, or of standard input for `-`. Raises `RecordingError`.

    `table` is asked with the first line and the file's name whether the rest is a table, and how it becomes lines of
    JSON. With `exact`, what is in the lines is not looked at.
    """
    if str(file) == "-":
        yield from _lines(_buffered(sys.stdin.buffer), "standard input", lambda: 0, table, exact)
        return
    try:
        with file.open("rb") as raw:
            yield from _lines(raw, str(file), raw.tell, table, exact)
    except OSError as error:
        raise RecordingError(f"cannot read {file}: {error.strerror or error}") from None


def _lines(
    raw: io.BufferedReader,
    name: str,
    position: Callable[[], int],
    table: Callable[[bytes, str], Convert | None],
    exact: bool,
) -> Iterator[Line]:
    try:
        numbered = _numbered(_unpacked(raw, name))
        first = next(numbered, (1, b""))[1].removeprefix(BOM)
        numbered = chain([(1, first)], numbered)
        filled = ((number, value) for number, line in numbered if (value := line.strip()))
        if exact:
            yield from (_line(number, value, position()) for number, value in filled)
            return
        _refuse_foreign(first, name)
        begun = next(filled, None)
        if begun is None:
            return
        _refuse_several_lines(begun[1], name)
        convert = table(begun[1], name)
        if convert is not None:
            yield from (line._replace(position=position()) for line in convert(numbered, name))
            return
        yield from (_line(number, value, position()) for number, value in chain([begun], filled))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RecordingError(f"{name} is no whole gzip file ({error}): copy or pack it again") from None


def _numbered(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines and their numbers; of one that is too long only as much as shows that."""
    for number in count(1):
        line = stream.readline(MOST_LINE + 1)
        if not line:
            return
        yield number, line
        while len(line) > MOST_LINE and not line.endswith(b"\n"):
            line = stream.readline(MOST_LINE + 1)


def _line(number: int, value: bytes, position: int) -> Line:
    if len(value) > MOST_LINE:
        return Line(number, b"", position, f"longer than {MOST_LINE >> 20} MiB: give one event a line")
    return Line(number, value, position)


def _unpacked(raw: io.BufferedReader, name: str) -> BinaryIO:
    start = raw.peek(len(GZIP))
    if start.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    for magic, (kind, unpack) in _PACKED.items():
        if start.startswith(magic):
            raise RecordingError(f"{name} is packed with {kind}: {unpack} {_quoted(name)} | sidestream publish … -")
    if name.lower().endswith(".gz") and start and start.lstrip(BOM + b" \t\r\n")[:1] != b"{":
        raise RecordingError(f"{name} is no whole gzip file (it does not begin like one): copy or pack it again")
    return raw


def _refuse_foreign(first: bytes, name: str) -> None:
    for magic, encoding in _WIDE.items():
        if first.startswith(magic):
            remedy = f"iconv -f {encoding} -t UTF-8 {_quoted(name)} | sidestream publish … -"
            raise RecordingError(f"{name} is {encoding}, and UTF-8 is read: {remedy}")


def _refuse_several_lines(first: bytes, name: str) -> None:
    """One value spread over lines, or an array of events; an array among lines is a bad line, told by its number."""
    if first == b"{":
        raise RecordingError(
            f"{name} holds JSON over several lines, and one event a line is read: "
            f"jq -c . {_quoted(name)} | sidestream publish … -"
        )
    if not first.startswith(b"["):
        return
    try:
        found = msgspec.json.decode(first)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    if found is None or any(isinstance(each, dict) for each in found):
        remedy = f"jq -c '.[]' {_quoted(name)} | sidestream publish … -"
        raise RecordingError(f"{name} is one JSON array, and one event a line is read: {remedy}")


def _quoted(name: str) -> str:
    return "FILE" if name == "standard input" else shlex.quote(name)


def _buffered(stream: BinaryIO) -> io.BufferedReader:
    """Standard input, with a look ahead that takes nothing away."""
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
