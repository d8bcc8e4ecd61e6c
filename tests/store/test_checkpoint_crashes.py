"""The checkpoint folder at each of its crash points: what is read afterwards is a whole checkpoint or none, with the
old verdict or the new."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.checkpoints import CheckpointFolder, verify
from tests.killed import killed_at
from tests.store.test_checkpoints import write

POINTS = ["checkpoint_filled", "checkpoint_forced", "checkpoint_named", "manifest_written", "checkpoint_hidden"]

WRITING = """
import sys
from pathlib import Path
from store.checkpoints import CheckpointFolder
from tests.store.test_checkpoints import write
write(CheckpointFolder(Path(sys.argv[1])))
"""
JUDGING = """
import sys
from pathlib import Path
from store.checkpoints import CheckpointFolder
folder = CheckpointFolder(Path(sys.argv[1]))
folder.set_verdict(folder.ids()[-1], "passed", ["better"])
"""
PRUNING = """
import sys
from pathlib import Path
from store.checkpoints import CheckpointFolder
CheckpointFolder(Path(sys.argv[1])).prune(1, serving=None)
"""


def assert_goes_on(folder: CheckpointFolder, ids: list[str]) -> None:
    """All that have a name are whole, what was left goes, and the next one is written and judged."""
    assert folder.ids() == ids
    for checkpoint in ids:
        verify(folder.path(checkpoint))
    folder.clean()
    assert not list(folder.root.glob(".*"))
    made = write(folder)
    assert folder.ids() == [*ids, made]
    assert folder.set_verdict(made, "passed", []).verdict == verify(folder.path(made)).verdict == "passed"


@pytest.mark.parametrize("point", ["manifest_written", "checkpoint_filled", "checkpoint_forced", "checkpoint_named"])
def test_a_checkpoint_that_was_being_written_is_whole_or_is_not(tmp_path: Path, point: str) -> None:
    folder = CheckpointFolder(tmp_path)
    before = write(folder)
    killed_at(point, WRITING, tmp_path)
    named = [each for each in folder.ids() if each != before]
    assert len(named) == (point == "checkpoint_named")
    assert folder.newest() is None, "nobody has judged it"
    assert_goes_on(folder, [before, *named])


def test_a_verdict_that_was_being_written_is_the_old_one(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    checkpoint = write(folder, verdict="refused")
    killed_at("manifest_written", JUDGING, tmp_path)
    assert verify(folder.path(checkpoint)).verdict == "refused"
    assert_goes_on(folder, [checkpoint])


def test_a_checkpoint_that_was_being_pruned_is_gone(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    made = [write(folder) for _ in range(3)]
    killed_at("checkpoint_hidden", PRUNING, tmp_path)
    assert_goes_on(folder, made[1:])
