"""Every row again, in chunks, whatever stops in between; what changes meanwhile is not set back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from store.rows import RowStore
from stream.ingest.protocol.republication import CHUNK, Republication
from stream.kafka.state_topics import REPUBLISHED


class Sample(msgspec.Struct, array_like=True):
    number: int = 0


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[RowStore[Sample]]:
    opened = RowStore(tmp_path / "rows", Sample)
    opened.write({f"{n:05}": Sample(n) for n in range(2 * CHUNK + 5)})
    yield opened
    opened.close()


def test_all_rows_are_staged_in_chunks_and_the_last_publication_says_so(rows: RowStore[Sample]) -> None:
    again = Republication(rows, "t-0")
    again.stage()
    assert rows.staged == 0, "nobody has asked"
    again.begin("r1")
    publications = []
    for turn in range(3):
        if turn == 1:
            rows.stage("00001", Sample(-1))  # changed after its row was published again
            rows.stage("04000", Sample(-2))  # and before
        again.stage()
        headers = again.headers()
        assert bool(headers) == (turn == 2)
        assert (again.position() is rows.position) == (turn == 2), "until then nothing is vouched for"
        publications.append(rows.flush())
        again.landed(headers)
    assert list(map(len, publications)) == [CHUNK, CHUNK + 2, 5]
    assert set().union(*publications) == {f"{n:05}" for n in range(2 * CHUNK + 5)}
    assert (rows.get("00001"), rows.get("04000")) == (Sample(-1), Sample(-2))
    assert headers == [(REPUBLISHED, f"r1 {2 * CHUNK + 5}".encode())]
    assert (again.under_way, rows.position.republish) == (False, False)
    again.begin("r1")
    assert not again.under_way, "asked again because it has said so to nobody who heard: it is on the topic"
    again.begin("r2")
    assert again.under_way


def test_what_was_begun_is_begun_again_by_the_next_start(tmp_path: Path) -> None:
    first = RowStore(tmp_path / "rows", Sample)
    first.write({"a": Sample(1)})
    again = Republication(first, "t-0")
    again.begin()
    again.stage()
    assert again.headers()
    first.flush()  # on this disk, and not safe on the topic: killed
    first.close()
    second = RowStore(tmp_path / "rows", Sample)
    next_start = Republication(second, "t-0")
    next_start.resume()
    next_start.stage()
    headers = next_start.headers()
    assert second.flush().keys() == {"a"}
    next_start.landed(headers)
    second.write({})
    second.close()
    third = RowStore(tmp_path / "rows", Sample)
    last_start = Republication(third, "t-0")
    last_start.resume()
    assert not last_start.under_way
    third.close()
