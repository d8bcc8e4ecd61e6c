"""`sidestream replay`: the report of a small recording as tables and as a document."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from store.events import Upload
from stream.demo.population import Census, Population
from tests.stream.conftest import Run


@pytest.mark.timeout(600)
def test_a_recording_is_evaluated(run: Run, tmp_path: Path) -> None:
    events = list(islice(Population(Census(users=40, creators=5, first_items=40, seed=3)), 800))
    for name, wanted in (("uploads", True), ("engagements", False)):
        lines = [msgspec.json.encode(event) for event in events if isinstance(event, Upload) is wanted]
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    ran = run("replay", tmp_path, "--sample", "20", "--report", tmp_path / "out.json")
    assert ran.status == 0, ran.err
    report = json.loads((tmp_path / "out.json").read_text())
    assert f"{report['stream']}: {report['evaluated']:,} engagements evaluated" in ran.out
    for name in ("sidestream", *report["baselines"], *report["headline"], *report["source_recall"]):
        assert name in ran.out


def test_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    ran = run("replay", tmp_path / "none")
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "give one with uploads.jsonl[.gz]" in ran.err
