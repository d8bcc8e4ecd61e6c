"""Levers: a person's decision about what serves, as a record of `checkpoints`. Whoever pulls one, on a command line or
on the page, publishes what this makes.

Invariant: the record says what the manifest says, and who decided: `promoted` is a person's verdict, whatever the
gate's was; a return leaves the verdict as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from store.checkpoints import CheckpointRecord, Manifest

Lever = Literal["promote", "rollback"]
LEVERS: tuple[Lever, ...] = ("promote", "rollback")


def pulled(lever: Lever, manifest: Manifest, location: Path, now: float) -> CheckpointRecord:
    """The record that has every scorer serve the checkpoint; `now` in UTC epoch seconds."""
    return CheckpointRecord(
        checkpoint=manifest.checkpoint,
        parent=manifest.parent,
        location=str(location),
        verdict="promoted" if lever == "promote" else manifest.verdict,
        published_at=now,
        action=lever,
        codebook=manifest.codebook,
        data_until=manifest.data_until,
        reasons=manifest.reasons,
    )
