"""Identity: by what a trainer tells whether a run that was begun is still the one that it would make.

Invariant: equal names mean equal learning, but for how long it may take and what the log has gained and lost.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

import msgspec

from store.settings import Settings


def code_version() -> str:
    """Of this program."""
    try:
        return version("sidestream")
    except PackageNotFoundError:
        return "unknown"


def made_with(settings: Settings) -> str:
    """A name for the code and all settings that decide how a run learns."""
    training = msgspec.structs.replace(settings.training, max_seconds=1.0)
    parts = [code_version(), settings.model, training, settings.codebook, settings.events]
    return sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
