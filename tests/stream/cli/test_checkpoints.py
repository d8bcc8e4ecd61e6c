"""`sidestream checkpoints`: the model's lineage and its levers, on a real broker beside a worker in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.checkpoints import CheckpointFolder, CheckpointRecord, Manifest, decode_record, seal
from store.settings import Settings
from tests.stream.conftest import Run
from tests.stream.log import read_topic


def test_checkpoints_listed_and_shown(
    run: Run, worker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = run("checkpoints", "list", "--url", worker_url).out
    assert "serving c1" in listed
    assert "it helps; scores on 40 held-out engagements" in listed
    assert run("checkpoints", "list", "--url", worker_url, "--json").document["serving"] == "c1"
    monkeypatch.setenv("SIDESTREAM_CHECKPOINT_DIR", str(tmp_path))
    assert checkpoint(tmp_path, "c2") == run("checkpoints", "show", "c2", "--url", worker_url, "--json").document
    missing = run("checkpoints", "show", "c9", "--url", worker_url)
    assert (missing.status, missing.err.count("\n")) == (1, 1)
    assert "checkpoints list" in missing.err


def test_promote_and_rollback_are_records(
    on_broker: Run, cli_settings: Settings, worker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDESTREAM_CHECKPOINT_DIR", str(tmp_path))
    for name in ("c1", "c2"):
        checkpoint(tmp_path, name)
    # c1 is what this worker always serves, so waiting for it ends at once, and waiting for c2 in vain.
    assert "c1 serves after" in on_broker("checkpoints", "rollback", "c1", "--url", worker_url).out
    vain = on_broker("checkpoints", "promote", "c2", "--wait", "0.2", "--url", worker_url)
    assert vain.status == 1
    assert "did not serve it" in vain.err
    assert on_broker("checkpoints", "promote", "c2", "--wait", "0", "--url", worker_url).status == 0
    records = [decode_record(record.key, record.value) for record in read_topic(cli_settings, "checkpoints")]
    pulled = [record for record in records if isinstance(record, CheckpointRecord)]
    assert [(record.action, record.checkpoint, record.verdict) for record in pulled] == [
        ("rollback", "c1", "passed"),
        ("promote", "c2", "promoted"),
        ("promote", "c2", "promoted"),
    ]
    assert pulled[0].location == str(tmp_path / "c1")
    orphan = on_broker("checkpoints", "rollback", "--url", worker_url)
    assert orphan.status == 1
    assert "no parent" in orphan.err


def checkpoint(folder: Path, name: str) -> Any:
    manifest = Manifest(checkpoint=name, parent=None, codebook="v0", created_at=1.0, verdict="passed")
    with CheckpointFolder(folder).writing(name) as where:
        (where / "weights").write_bytes(b"w")
        return msgspec.to_builtins(seal(where, manifest))
