"""Checkpoints: the folder that remembers every model that was ever trained, and the records that tell of them.

A checkpoint is a folder named by its id: the model's files, the codebook it is bound to (`codebook/`) and
`manifest.json`. It is written under a temporary name, synced, and renamed; so a folder with a plain name is whole.

Invariants: ids sort by age; a manifest names every other file of its folder with its sha256; only the verdict of a
published checkpoint ever changes, by an atomic exchange of the manifest; pruning never removes the serving
checkpoint, its parent, or one that a person promoted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from store.files.crash_points import reached
from store.files.replacing import sync, sync_tree
from store.records.foreign import UNREADABLE, ForeignRecordError, held_in, is_time
from store.records.republish_request import REPUBLISH_KEY, RepublishRequest

MANIFEST = "manifest.json"
CODEBOOK = "codebook"
_TEMPORARY = ".writing-"

Verdict = Literal["pending", "passed", "refused", "promoted"]
SERVABLE: tuple[Verdict, ...] = ("passed", "promoted")
"""Verdicts under which a checkpoint may serve: the gate passed it, or a person promoted it."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing or damaged: the message names the file and the remedy."""


class LogRange(msgspec.Struct, array_like=True, frozen=True):
    """Offsets of one topic partition: `begin` inclusive, `end` exclusive."""

    begin: int
    end: int


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """What a checkpoint is. `log`: `topic/partition` → offsets it has learned from, its ancestors' included in `end`;
    `topic_id`: of the topic that these count in, if the broker gives one. `form`: the parts of `[model]` that fix the
    tensors of its lineage, the first checkpoint of which is `lineage`; where one begins, `teacher` is the parent, whose
    weights it does not continue, but learns from.

    Times are UTC epoch seconds: `occurred_from`/`occurred_until` in event time, `data_until` in broker time (the
    timestamp of the newest record it has learned from: the model's data age is measured from it).
    """

    checkpoint: str
    parent: str | None
    codebook: str
    created_at: float
    log: dict[str, LogRange] = {}
    occurred_from: float = 0.0
    occurred_until: float = 0.0
    data_until: float = 0.0
    metrics: dict[str, float] = {}
    files: dict[str, str] = {}
    code_version: str = ""
    seed: int = 0
    verdict: Verdict = "pending"
    reasons: list[str] = []
    topic_id: str = ""
    form: dict[str, int] = {}
    lineage: str = ""
    teacher: str | None = None


class CheckpointRecord(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The record on topic `checkpoints` (key `model`): where a checkpoint lies and what every scorer shall do with it.

    `offer`: serve it if its verdict allows. `promote`: a person wants it. `rollback`: return to it.
    `published_at` and `data_until` are UTC epoch seconds; `reason` says why a scorer returned to it by itself,
    `reasons` why the gate judged as it did, with the scores that this rests on.
    """

    checkpoint: str
    parent: str | None
    location: str
    verdict: Verdict
    published_at: float
    action: Literal["offer", "promote", "rollback"] = "offer"
    codebook: str = ""
    data_until: float = 0.0
    reason: str = ""
    reasons: list[str] = []

    def fault(self) -> str:
        """Why no trainer or person can have announced this; empty if one can."""
        if not is_time(self.published_at, self.data_until):
            return "a time that has not come"
        plain = self.checkpoint.strip(".") and not {"/", "\0"} & {*self.checkpoint} and "\0" not in self.location
        return "" if plain and len(self.checkpoint) <= 200 else "a checkpoint that no folder can have"


CHECKPOINT_KEY, TRAIN_KEY, RUN_KEY, RANKER_KEY = b"model", b"train", b"training-run", b"ranker"  # on `checkpoints`


class TrainRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A person's request for a run now. `run` is the id that the run's records carry; empty: the trainer chooses.

    `codebook`: what to do with semantic IDs. `refresh` trains a version from the serving one, `anew` one from scratch.
    """

    requested_at: float
    action: Literal["train"] = "train"
    run: str = ""
    codebook: Literal["", "refresh", "anew"] = ""

    def fault(self) -> str:
        """Why nobody can have asked this; empty if somebody can."""
        return "" if is_time(self.requested_at) else "a time that has not come"


class RunRecord(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where a training run stands. `refused`, `published` and `failed` are its ends; `at` in UTC epoch seconds.

    `churn`: when the run brings another codebook, the share of items, by level, whose codes are no longer the same.
    """

    run: str
    state: Literal["queued", "started", "trained", "gated", "published", "refused", "failed"]
    at: float
    checkpoint: str = ""
    detail: str = ""
    churn: list[float] = []

    def fault(self) -> str:
        """Why no trainer can have reported this; empty if one can."""
        return "" if is_time(self.at) else "a time that has not come"

    @property
    def ended(self) -> bool:
        return self.state in ("published", "refused", "failed")


class RankerRecord(msgspec.Struct, kw_only=True, frozen=True):
    """Where the newest ranker lies; `published_at` in UTC epoch seconds."""

    ranker: str
    location: str
    published_at: float

    def fault(self) -> str:
        """Why no trainer can have announced this; empty if one can."""
        return "" if is_time(self.published_at) and "\0" not in self.location else "a time or a file that cannot be"


AnyRecord = CheckpointRecord | TrainRequest | RunRecord | RankerRecord | RepublishRequest

_DECODERS: dict[bytes, msgspec.json.Decoder[Any]] = {
    CHECKPOINT_KEY: msgspec.json.Decoder(CheckpointRecord),
    TRAIN_KEY: msgspec.json.Decoder(TrainRequest),
    RUN_KEY: msgspec.json.Decoder(RunRecord),
    RANKER_KEY: msgspec.json.Decoder(RankerRecord),
    REPUBLISH_KEY: msgspec.json.Decoder(RepublishRequest),
}


def record_in(key: bytes | None, value: bytes | None) -> AnyRecord:
    """One record of topic `checkpoints`, by its key. Raises `ForeignRecordError`."""
    decoder = _DECODERS.get(key or b"")
    if decoder is None:
        raise ForeignRecordError(f"no key of checkpoints: {key!r:.100}")
    record: AnyRecord = held_in(value or b"", decoder.decode, f"{(key or b'').decode()} record")
    return record


def decode_record(key: bytes | None, value: bytes | None) -> CheckpointRecord | TrainRequest | RunRecord | None:
    """One record of topic `checkpoints`, by its key; None for what is not of a model, or cannot be read."""
    try:
        found = record_in(key, value)
    except ForeignRecordError:
        return None
    return None if isinstance(found, RankerRecord | RepublishRequest) else found


def serving(records: Iterable[CheckpointRecord]) -> CheckpointRecord | None:
    """The checkpoint that the records, in the order of the log, tell every scorer to serve."""
    now: CheckpointRecord | None = None
    for record in records:
        if record.action != "offer" or record.verdict in SERVABLE:
            now = record
    return now


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """All checkpoints below one folder, which trainer and scorers share."""

    root: Path

    def path(self, checkpoint: str) -> Path:
        return self.root / checkpoint

    def ids(self) -> list[str]:
        """All whole checkpoints, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(path.parent.name for path in self.root.glob(f"*/{MANIFEST}") if not _hidden(path.parent))

    def next_id(self, now: float) -> str:
        """An id that sorts after all that are there, even when the clock went back."""
        ids = self.ids()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        if not ids:
            return f"{stamp}-0001"
        last_stamp, _, counter = ids[-1].partition("-")
        return f"{max(stamp, last_stamp)}-{int(counter or 0) + 1:04d}"

    @contextmanager
    def writing(self, checkpoint: str) -> Iterator[Path]:
        """A temporary folder to fill; renamed into place when the block ends well, removed when it does not.

        The block must leave a manifest (`seal`). Nothing half-written is ever visible under a plain name.
        """
        temporary = self.root / f"{_TEMPORARY}{checkpoint}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if not (temporary / MANIFEST).is_file():
                raise CheckpointError(f"{temporary} has no {MANIFEST}: call seal() before the block ends")
            reached("checkpoint_filled")
            sync_tree(temporary)
            reached("checkpoint_forced")
            temporary.rename(self.path(checkpoint))
            reached("checkpoint_named")
            sync(self.root)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def clean(self) -> list[str]:
        """Removes what a killed writer left behind; returns the names. Only the one trainer may call it."""
        left = sorted(self.root.glob(f"{_TEMPORARY}*")) if self.root.is_dir() else []
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in left]

    def manifest(self, checkpoint: str) -> Manifest:
        return read_manifest(self.path(checkpoint))

    def set_verdict(
        self, checkpoint: str, verdict: Verdict, reasons: list[str], metrics: dict[str, float] | None = None
    ) -> Manifest:
        """Writes the gate's (or a person's) verdict into the manifest, atomically; `metrics` are added to its own."""
        old = self.manifest(checkpoint)
        new = msgspec.structs.replace(old, verdict=verdict, reasons=reasons, metrics={**old.metrics, **(metrics or {})})
        write_manifest(self.path(checkpoint), new)
        return new

    def newest(self, verdicts: Collection[str] = SERVABLE) -> Manifest | None:
        """The newest checkpoint with one of these verdicts, or None."""
        for checkpoint in reversed(self.ids()):
            manifest = self.manifest(checkpoint)
            if manifest.verdict in verdicts:
                return manifest
        return None

    def lineage(self, checkpoint: str) -> list[str]:
        """The checkpoint and its ancestors, newest first, as far as they are still there."""
        line: list[str] = []
        known = set(self.ids())
        at: str | None = checkpoint
        while at in known and at not in line:
            line.append(at)
            at = self.manifest(at).parent
        return line

    def prune(self, keep: int, serving: str | None) -> list[str]:
        """Removes the oldest beyond `keep`, but the serving one, its parent, and promoted ones; returns their ids."""
        manifests = [self.manifest(checkpoint) for checkpoint in self.ids()]
        spared = {m.checkpoint for m in manifests if m.verdict == "promoted"}
        if serving is not None:
            spared.update(self.lineage(serving)[:2])
        newest = {m.checkpoint for m in manifests[max(0, len(manifests) - keep) :]}
        gone = [m.checkpoint for m in manifests if m.checkpoint not in newest | spared]
        for checkpoint in gone:
            doomed = self.root / f"{_TEMPORARY}pruned-{checkpoint}"
            self.path(checkpoint).rename(doomed)  # out of sight at once: a reader never sees half a folder
            reached("checkpoint_hidden")
            shutil.rmtree(doomed, ignore_errors=True)
        return gone


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Writes the manifest of a folder that is otherwise finished, with the sha256 of every file in it."""
    sealed = msgspec.structs.replace(manifest, files=_hashes(folder))
    write_manifest(folder, sealed)
    return sealed


def read_manifest(folder: Path) -> Manifest:
    """The manifest of one checkpoint folder."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        remedy = "choose one that `sidestream checkpoints list` shows"
        raise CheckpointError(f"no checkpoint in {folder}: {remedy}") from None
    except UNREADABLE as error:
        remedy = "remove the folder and train again, or restore it from a copy"
        raise CheckpointError(f"{folder / MANIFEST} is damaged ({error}): {remedy}") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Exchanges the manifest atomically."""
    temporary = folder / f".{MANIFEST}.{os.getpid()}"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    sync(temporary)
    reached("manifest_written")
    temporary.replace(folder / MANIFEST)
    sync(folder)


def verify(folder: Path) -> Manifest:
    """The manifest, after every file's hash was compared. Raises CheckpointError at the first difference."""
    manifest = read_manifest(folder)
    remedy = "restore the folder from a copy, or roll back to another checkpoint"
    for name, want in sorted(manifest.files.items()):
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{folder.name}: {name} is missing: {remedy}")
        if _sha256(file) != want:
            raise CheckpointError(f"{folder.name}: {name} is not what was published (sha256 differs): {remedy}")
    return manifest


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in sorted(files)}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
