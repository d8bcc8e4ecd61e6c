"""Folder lock: one data folder, one owner.

The lock is the kernel's (flock) on a file in the folder: it ends with its process, kill -9 included, so nothing is ever
left to be cleaned up. The file also names its holder, for the message only.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FolderInUseError(RuntimeError):
    """Another process owns the folder: stop it, or give this one a folder of its own. `holder` names it."""

    def __init__(self, folder: Path, owner: str, holder: str) -> None:
        super().__init__(f"a {owner} is already running on {folder}, {holder}: stop it, or give another --data-dir")
        self.holder = holder


class FolderUnusableError(OSError):
    """The folder cannot be made or written: the message says why; give another, or mend it."""


class FolderLock:
    """Holds `folder` for one `owner` ("worker", "trainer", …) until closed; each owner has a lock of its own.

    Raises `FolderInUseError` when a process holds it, `FolderUnusableError` when nothing can be written there. On a
    file system without locks it warns and goes on.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self._file = _opened(folder, owner)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 300, 0).decode(errors="replace")
            os.close(self._file)
            raise FolderInUseError(folder, owner, _named(holder)) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(self._file)
                raise
            log.warning("%s cannot be locked (%s): start no second %s on it", folder, error.strerror, owner)
        self._sign()

    def close(self) -> None:
        """Lets go of the folder."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _sign(self) -> None:
        """Who holds it; on a full disk the lock holds all the same, without a name."""
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except OSError as error:
            log.warning("%s", error)


def _opened(folder: Path, owner: str) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / f"{owner}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FolderUnusableError(
            f"{folder} cannot be used as a data folder ({error.strerror}): give another --data-dir, or mend it"
        ) from None


def _named(holder: str) -> str:
    pid, _, host = holder.strip().partition(" ")
    if not pid.isdigit():
        return "its process id is not known"
    return f"pid {pid}" if host in ("", socket.gethostname()) else f"pid {pid} on {host}"
