"""The codebook that serves: it follows what scorers would serve, and stays where that cannot be read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.checkpoints import CODEBOOK, CheckpointRecord, Manifest, write_manifest
from store.records.foreign import ForeignRecordError
from store.settings import Settings
from stream.serving.learning.serving_codebook import ServingCodebook
from tests.stream.serving.test_swaps import on_log, until
from trainer.model_bundle import NO_CHECKPOINT
from trainer.semantic_ids.codebook import zero_codebook
from trainer.semantic_ids.files import save_codebook


def announced(folder: Path, checkpoint: str, number: int, at: float, **more: Any) -> CheckpointRecord:
    """A checkpoint that is nothing but its codebook."""
    path = folder / checkpoint
    book = replace(zero_codebook(Settings()), version=f"v-{number}")
    save_codebook(book, path / CODEBOOK)
    verdict = more.pop("verdict", "passed")
    manifest = Manifest(checkpoint=checkpoint, parent=None, codebook=book.version, created_at=at, verdict=verdict)
    write_manifest(path, manifest)
    record = {"checkpoint": checkpoint, "parent": None, "location": str(path), "verdict": verdict, "published_at": at}
    return CheckpointRecord(**{**record, **more})


def test_it_follows_and_stays_where_it_cannot(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[str, str]]:
        changes: list[int] = []
        serving = ServingCodebook(Settings(), lambda: changes.append(1))
        caught_up, seen = asyncio.Event(), [(serving.checkpoint, serving.codebook.version)]
        caught_up.set()
        running = asyncio.create_task(serving.run(caught_up))

        async def after(record: CheckpointRecord, wanted: str) -> None:
            serving.on_checkpoint(on_log(record))
            await until(lambda: serving.checkpoint == wanted and not serving._news.is_set())
            seen.append((serving.checkpoint, serving.codebook.version))

        await after(announced(tmp_path, "a", 1, 1.0), "a")
        await after(announced(tmp_path, "b", 2, 2.0), "b")
        await after(msgspec.structs.replace(announced(tmp_path, "c", 3, 3.0), location=str(tmp_path / "gone")), "b")
        await after(announced(tmp_path, "d", 4, 4.0, verdict="refused"), "b")
        await after(announced(tmp_path, "d", 4, 5.0, verdict="refused", action="promote"), "d")
        none = CheckpointRecord(
            checkpoint=NO_CHECKPOINT, parent=None, location="", verdict="pending", published_at=6.0, action="rollback"
        )
        await after(none, NO_CHECKPOINT)
        assert len(changes) == 4
        running.cancel()
        return seen

    seen = asyncio.run(scenario())
    assert len({version for _, version in seen}) == 4
    assert seen[0] == seen[-1]
    assert seen[2] == seen[3] == seen[4]


def test_what_is_no_checkpoints_is_foreign() -> None:
    with pytest.raises(ForeignRecordError):
        ServingCodebook(Settings(), lambda: None).on_checkpoint(on_log(b"x", b"nothing"))
