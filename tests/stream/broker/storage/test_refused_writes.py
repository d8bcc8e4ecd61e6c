"""Refused writes: said once with what to do, said once more when they are over, and said again the next time."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.broker.storage.refused_writes import RefusedWrites

Said = Callable[[], list[tuple[int, str]]]
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """Level and text of each line so far."""
    caplog.set_level(logging.INFO)
    return lambda: [(record.levelno, record.getMessage()) for record in caplog.records]


def test_one_disk_that_is_full_is_one_line_however_often_it_refuses(tmp_path: Path, said: Said) -> None:
    writes = RefusedWrites(tmp_path)
    writes.taken()
    assert said() == []
    for _ in range(100):
        writes.refused(FULL)
    ((level, line),) = said()
    assert level == logging.ERROR
    assert f"{tmp_path} cannot be written ({FULL}): there is no room on its disk: make room." in line


def test_the_end_is_said_once_and_the_next_time_is_another(tmp_path: Path, said: Said) -> None:
    writes = RefusedWrites(tmp_path)
    for _ in range(2):
        writes.refused(FULL)
        writes.taken()
        writes.taken()
    assert [level for level, _ in said()] == [logging.ERROR, logging.WARNING] * 2
    assert "there is room again" in said()[1][1]


def test_a_disk_that_fails_otherwise_is_not_called_full(tmp_path: Path, said: Said) -> None:
    RefusedWrites(tmp_path).refused(OSError(errno.EROFS, "Read-only file system"))
    ((_, line),) = said()
    assert "repair its disk" in line
    assert "make room" not in line
