"""A full disk is known by the error's number or by its words, and nothing else is called one."""

from __future__ import annotations

import errno

import pytest

from store.files.room import is_full, remedy_of


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (RuntimeError("IO error: No space left on device: While appending to file: a.log"), True),
        (OSError(errno.EROFS, "Read-only file system"), False),
        (ValueError("space"), False),
    ],
)
def test_what_is_full(error: Exception, full: bool) -> None:
    assert is_full(error) == full
    assert (remedy_of(error, "otherwise") == "otherwise") != full
