"""The checkpoint folder: whole or absent, verifiable, pruned with care."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from store.checkpoints import (
    CheckpointError,
    CheckpointFolder,
    CheckpointRecord,
    LogRange,
    Manifest,
    RunRecord,
    TrainRequest,
    Verdict,
    decode_record,
    seal,
    serving,
    verify,
)

NOW = 1_800_000_000.0


def write(folder: CheckpointFolder, now: float = NOW, parent: str | None = None, verdict: Verdict = "pending") -> str:
    checkpoint = folder.next_id(now)
    with folder.writing(checkpoint) as path:
        (path / "model.safetensors").write_bytes(b"weights of " + checkpoint.encode())
        (path / "codebook" / "v1").mkdir(parents=True)
        (path / "codebook" / "v1" / "codebook.json").write_text("{}")
        manifest = Manifest(checkpoint=checkpoint, parent=parent, codebook="v1", created_at=now, verdict=verdict)
        seal(path, manifest)
    return checkpoint


def test_a_sealed_folder_verifies_and_names_every_file(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    checkpoint = write(folder)
    manifest = verify(folder.path(checkpoint))
    assert set(manifest.files) == {"model.safetensors", "codebook/v1/codebook.json"}
    assert folder.ids() == [checkpoint]


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_damage_is_found_and_the_error_names_file_and_remedy(tmp_path: Path, damage: str) -> None:
    folder = CheckpointFolder(tmp_path)
    file = folder.path(write(folder)) / "model.safetensors"
    file.write_bytes(b"other") if damage == "change" else file.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*restore"):
        verify(file.parent)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)

    def fail() -> None:
        with folder.writing("20270101T000000-0001") as path:
            (path / "model.safetensors").write_bytes(b"half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_manifest_is_never_named(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(CheckpointError, match="seal"), folder.writing("20270101T000000-0001") as path:
        (path / "model.safetensors").write_bytes(b"whole, but not sealed")
    assert folder.ids() == []


def test_what_a_killed_writer_left_is_hidden_and_cleaned(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    left = tmp_path / ".writing-20270101T000000-0001"
    left.mkdir()
    (left / "manifest.json").write_text("{}")
    assert folder.ids() == []
    assert folder.clean() == [left.name]
    assert not left.exists()


def test_ids_sort_by_age_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    made = [write(folder, now) for now in (NOW, NOW + 60, NOW - 3600, NOW - 3600)]
    assert made == sorted(made)
    assert len(set(made)) == 4


def test_the_verdict_is_written_into_the_manifest_and_files_stay_valid(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    checkpoint = write(folder)
    folder.set_verdict(checkpoint, "refused", ["overall: worse"], {"hr": 0.5})
    manifest = verify(folder.path(checkpoint))
    assert (manifest.verdict, manifest.reasons, manifest.metrics) == ("refused", ["overall: worse"], {"hr": 0.5})


def test_pruning_spares_serving_its_parent_and_promoted(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    promoted = write(folder, verdict="promoted")
    doomed = write(folder)
    parent = write(folder, verdict="passed")
    current = write(folder, parent=parent, verdict="passed")
    newest = [write(folder, parent=current, verdict="refused") for _ in range(2)]
    assert folder.lineage(current) == [current, parent]
    assert folder.prune(2, serving=current) == [doomed]
    assert folder.ids() == [promoted, parent, current, *newest]
    newest_passed = folder.newest()
    assert newest_passed is not None
    assert newest_passed.checkpoint == current


def test_a_missing_or_damaged_manifest_says_what_to_do(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(CheckpointError, match="checkpoints list"):
        folder.manifest("20270101T000000-0001")
    checkpoint = write(folder)
    for damaged in (b"{", b'{"checkpoint": "\xf0"}', b'{"x":' + b"[" * 50_000):
        (folder.path(checkpoint) / "manifest.json").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            folder.manifest(checkpoint)


def test_manifest_is_plain_json(tmp_path: Path) -> None:
    manifest = Manifest(
        checkpoint="a", parent=None, codebook="v", created_at=1.0, log={"engagements/0": LogRange(3, 9)}
    )
    tree = msgspec.json.decode(msgspec.json.encode(manifest))
    assert tree["log"] == {"engagements/0": [3, 9]}
    assert msgspec.convert(tree, Manifest) == manifest


def record(checkpoint: str, action: str, verdict: str) -> CheckpointRecord:
    tree = {"checkpoint": checkpoint, "parent": None, "location": "x", "published_at": 1.0}
    return msgspec.convert({**tree, "action": action, "verdict": verdict}, CheckpointRecord)


def test_serving_follows_offers_that_passed_and_what_people_say() -> None:
    log = [record("a", "offer", "passed"), record("b", "offer", "refused")]
    assert serving(log) == log[0]
    log.append(record("b", "promote", "promoted"))
    assert serving(log) == log[-1]
    log.append(record("a", "rollback", "passed"))
    assert serving(log) == log[-1]
    assert serving([]) is None


def test_records_of_the_topic_are_told_apart_by_key() -> None:
    assert decode_record(b"train", b'{"action":"train","requested_at":5}') == TrainRequest(requested_at=5.0)
    run = RunRecord(run="r", state="published", at=1.0)
    assert decode_record(b"training-run", msgspec.json.encode(run)) == run
    assert run.ended
    plain = b'{"checkpoint":"c","parent":null,"location":"x","verdict":"passed","published_at":1}'
    assert decode_record(b"model", plain) == record("c", "offer", "passed")
    assert decode_record(b"else", plain) is None
    assert decode_record(b"model", b"{") is None
    assert decode_record(b"model", None) is None
