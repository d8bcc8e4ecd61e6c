"""The work folder: a run that is killed goes on from its last whole state, and ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

from store.checkpoints import CheckpointFolder
from store.settings import Settings
from tests.killed import killed_at
from tests.trainer.model.learning.test_learning_state import kept_states
from tests.trainer.runs.test_training_run import ENDS, settings, window
from tests.trainer.worlds import vocabulary
from trainer.model.learning.learning_state import LearningState
from trainer.runs.starting.identity import made_with
from trainer.runs.starting.work_folder import Begun, RunPlan, Work, WorkFolder
from trainer.runs.training_run import Result, run_training
from trainer.semantic_ids.codebook import ZERO_VERSION, zero_codebook

POINTS = ["learning_kept"]
LEARNING = """
import sys
from pathlib import Path
from tests.trainer.runs.starting.test_work_folder import go_on
go_on(Path(sys.argv[1]))
"""


def often() -> Settings:
    """A short run that keeps its state after each step."""
    return settings(steps=6, gate=30, keep_state_s=0.0)


def go_on(folder: Path) -> Result:
    """Begins the run, or goes on with it, as a trainer would."""
    chosen, work = often(), WorkFolder(folder)
    begun = work.begun(made_with(chosen), None)
    read = window({0: 0, 1: 0}, begun.plan.end if begun is not None else ENDS)
    return run_training(
        read, chosen, CheckpointFolder(folder), None, lambda *_: None, work=Work(work, ["asked"], begun)
    )


def begun(runs: list[str], parent: str | None = None) -> Begun:
    plan = RunPlan(runs=runs, codebook=ZERO_VERSION, parent=parent, end={0: 7}, made_with="these settings")
    return Begun(plan, zero_codebook(settings()), vocabulary())


def states(folder: Path) -> list[LearningState]:
    _, kept = kept_states(4)
    return [LearningState.decode(one) for one in kept]


def test_a_run_that_was_killed_goes_on_and_gives_the_same_weights(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed_at("learning_kept:4", LEARNING, killed)
    newest = WorkFolder(killed).newest()
    assert newest is not None
    assert newest.steps == 4
    made, wanted = (go_on(folder).manifest for folder in (killed, whole))
    for name in ("model.safetensors", "optimiser.safetensors", "prior.safetensors"):
        assert made.files[name] == wanted.files[name]
    assert made.log == wanted.log


def test_what_was_begun_is_found_again(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    assert work.plan() is None
    assert work.newest() is None
    work.begin(begun(["one", "two"], parent="p"))
    found = work.begun("these settings", "p")
    assert found is not None
    assert (found.plan.runs, found.plan.end, found.codebook.version) == (["one", "two"], {0: 7}, ZERO_VERSION)
    assert found.vocabulary.text("all about", 5) == vocabulary().text("all about", 5)


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    work.begin(begun(["one"], parent="p"))
    assert work.begun("these settings", "p") is not None
    assert work.begun("other settings", "p") is None
    assert work.begun("these settings", "q") is None
    assert work.begun("these settings", None) is None


def test_the_next_run_clears_what_was_kept(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    work.begin(begun(["one"]))
    work.keep(states(tmp_path)[0])
    work.begin(begun(["two"]))
    assert work.newest() is None
    work.clear()
    assert not list(tmp_path.iterdir())
    work.clear()


def test_two_states_are_kept_and_a_damaged_one_is_set_aside(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    work.begin(begun(["one"]))
    for state in states(tmp_path):
        work.keep(state)
    files = sorted(work.path.glob("state-*"))
    assert len(files) == 2
    files[-1].write_bytes(files[-1].read_bytes()[:-1])
    newest = work.newest()
    assert newest is not None
    assert newest.steps == 3
    files[0].write_bytes(b"")
    assert work.newest() is None
    assert [file.name for file in work.path.glob("*state-*")] == ["damaged-state-"]


def test_a_damaged_beginning_is_none(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    work.begin(begun(["one"]))
    next(work.path.glob("codebook/*/codebook.safetensors")).write_bytes(b"")
    assert work.begun("these settings", None) is None
    (work.path / "plan.json").write_bytes(b"{")
    assert work.plan() is None


def test_a_run_that_another_trainer_has_ended_keeps_nothing(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    work.keep(states(tmp_path)[0])
    assert not list(tmp_path.iterdir())
