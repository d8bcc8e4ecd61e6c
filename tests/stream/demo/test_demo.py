"""The whole way, as a person runs it: `sidestream demo` on a small recording, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from store.events import Upload
from stream.demo.population import Census, Population

ROOT = Path(__file__).parents[3]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recorded stream of 7,500 events, of which the demonstration holds 5,000 back."""
    events = list(islice(Population(Census(users=300, creators=20, first_items=200, seed=3)), 7_500))
    for name, wanted in (("uploads", True), ("engagements", False)):
        lines = [msgspec.json.encode(event) for event in events if isinstance(event, Upload) is wanted]
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    return tmp_path


@pytest.mark.timeout(600)
def test_everything_that_the_demo_announces_is_seen(recording: Path, tmp_path: Path) -> None:
    quick = {"SIDESTREAM_TRAINING__MAX_SECONDS": "3.0", "SIDESTREAM_DATA_DIR": "", "OMP_NUM_THREADS": "1"}
    data = tmp_path / "data"
    command = [sys.executable, "-m", "stream.cli", "demo", str(recording), "--exit", "--json", "--data-dir", str(data)]
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **quick}, capture_output=True, text=True, timeout=580, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads(ran.stdout)
    assert said["all_seen"] is True
    seen = {each["what"]: each for each in said["seen"]}
    assert len(seen) == 8
    assert all(each["seen"] for each in said["seen"])
    assert " 0 failed" in seen["requests answered while training and swapping"]["detail"]
    assert said["status"]["checkpoint"] == seen["trigger → answering from the new checkpoint"]["detail"]
    left = json.loads((data / "addresses.json").read_text())
    assert left["stopped"] is True
    assert not _alive(said["addresses"]["pid"])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
