"""Room on a disk: what to say when there is none."""

from __future__ import annotations

import errno

_FULL = ("No space left on device", "Disk quota exceeded")


def is_full(error: BaseException) -> bool:
    """Whether an error of a file, or of a database on one, says that its disk is full."""
    by_number = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return by_number or any(words in str(error) for words in _FULL)


def remedy_of(error: BaseException, otherwise: str) -> str:
    """What to do about an error of a process that has ended by it."""
    if is_full(error):
        return "there is no room on its disk: make room and start again, nothing is lost that the log has"
    return otherwise
