"""addresses.json in the data folder: where a system answers, and which processes it consists of.

Invariant: the file is whole at every moment (written aside and renamed). What it says of processes is believed only as
far as `process_identity` confirms it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stream.up.process_identity import exists, is_same

ADDRESSES = "addresses.json"


class DamagedAddressesError(ValueError):
    """The file does not hold what `sidestream up` writes: start it there again."""


def read_addresses(folder: Path) -> dict[str, Any]:
    """What the last `sidestream up` on this folder wrote. Raises OSError, or `DamagedAddressesError`."""
    try:
        found = json.loads((folder / ADDRESSES).read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DamagedAddressesError(f"{folder / ADDRESSES} is damaged: start `sidestream up` there again")
    return found


def write_addresses(folder: Path, addresses: Mapping[str, Any]) -> None:
    """Exchanges the file by one rename. Raises OSError."""
    aside = folder / f"{ADDRESSES}.new"
    try:
        aside.write_text(json.dumps(addresses, indent=1))
        aside.rename(folder / ADDRESSES)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def is_running(addresses: Mapping[str, Any]) -> bool:
    """Whether the system that wrote this still has its supervisor."""
    if addresses.get("stopped"):
        return False
    pid, mark = addresses.get("pid"), addresses.get("started")
    if not isinstance(pid, int):
        return True  # written by something else than `up`: taken at its word
    return is_same(pid, mark) if mark else exists(pid)
