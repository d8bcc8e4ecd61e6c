"""Databases on a full disk: the error says what to do, what was written before stays, and a new start goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from store.histories import UserRow
from store.rows import RowStore, RowStoreError
from tests.tiny_disk import tiny_disk


def write_until_it_fails(rows: RowStore[UserRow]) -> Iterator[int]:
    for number in count():
        rows.position.absorbed = number
        rows.write({f"user-{number}": UserRow(offset=number)})
        yield number


def test_rows_on_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tiny_disk(tmp_path / "disk", 8) as disk:
        folder = disk.folder / "rows"
        rows = RowStore(folder, UserRow)
        disk.fill()
        numbers: list[int] = []
        with pytest.raises(RowStoreError, match=r"cannot write .*/rows.*No space left.*make room and start again"):
            numbers.extend(write_until_it_fails(rows))
        written = len(numbers)
        with caplog.at_level(logging.WARNING):
            rows.close()
        assert "was not closed well" in caplog.text
        with pytest.raises(RowStoreError, match=r"cannot open .*/rows.*No space left.*make room and start again"):
            RowStore(folder, UserRow)
        disk.make_room()
        again = RowStore(folder, UserRow)
        assert again.position.absorbed == written - 1
        assert sorted(row.offset for _, row in again.scan()) == list(range(written))
        again.write({"after": UserRow(offset=1)})
        again.close()


def test_a_folder_that_is_in_use_is_told_from_a_full_disk(tmp_path: Path) -> None:
    rows = RowStore(tmp_path / "rows", UserRow)
    with pytest.raises(RowStoreError, match="another worker"):
        RowStore(tmp_path / "rows", UserRow)
    rows.close()
