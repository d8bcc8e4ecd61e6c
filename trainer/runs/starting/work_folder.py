"""The work folder: what a run in progress keeps, so that the next trainer goes on with it when this one is killed.

It lies beside the checkpoints under a hidden name and holds the run's plan (what it learns from, with which codebook
and words, for how long) and the newest two states of its learning. The plan is written last and fixed: who goes on
learns from the same range of the log, holds the same engagements out, and stops when the first one would have.

A state that is damaged is set aside, and the one before it counts. A plan that cannot be read, or that was made with
other settings or from another parent, counts as none.

Invariants: what has a name is whole; at most two states, one being written and one damaged one lie there; `clear`
leaves nothing. Only the one trainer at work writes.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from store.checkpoints import CODEBOOK
from store.files.crash_points import reached
from store.files.replacing import replace_file, sync, sync_tree
from trainer.model.learning.learning_state import DamagedStateError, LearningState
from trainer.model.vocabulary import Vocabulary
from trainer.runs.causes.codebook_choice import CodebookRequest
from trainer.runs.starting.span import Span
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.files import DamagedCodebookError, load_codebook, save_codebook

log = logging.getLogger("sidestream.trainer")

NAME = ".run"
KEPT = 2
_PLAN = "plan.json"
_STATE, _DAMAGED = "state-", "damaged-"


class RunPlan(msgspec.Struct, kw_only=True, frozen=True):
    """What a run is. `runs`: its ids in the run log. `begin`, `end`, `cut`: partition → offsets where the new
    engagements begin, end, and are held out. `note`: what a reader of the verdict should know. `made_with`: of the
    settings and the code."""

    runs: list[str]
    request: CodebookRequest = ""
    parent: str | None = None
    codebook: str = ""
    begin: dict[int, int] = {}
    end: dict[int, int] = {}
    cut: dict[int, int] = {}
    note: str = ""
    topic_id: str = ""
    max_seconds: float = 0.0
    made_with: str = ""

    @property
    def span(self) -> Span:
        return Span(self.begin, self.cut, self.note)


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that was begun: its plan, and the codebook and words that it has chosen."""

    plan: RunPlan
    codebook: Codebook
    vocabulary: Vocabulary


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """The one below `root`, the folder of all checkpoints."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / NAME

    def begin(self, begun: Begun) -> None:
        """Takes up a run; what was there of another one goes."""
        self.clear()
        self.path.mkdir(parents=True)
        save_codebook(begun.codebook, self.path / CODEBOOK)
        begun.vocabulary.save(self.path)
        sync_tree(self.path)
        replace_file(self.path / _PLAN, msgspec.json.encode(begun.plan))
        sync(self.path)

    def plan(self) -> RunPlan | None:
        """The plan of the run that was begun, if one was."""
        try:
            return msgspec.json.decode((self.path / _PLAN).read_bytes(), type=RunPlan)
        except (OSError, msgspec.MsgspecError):
            return None

    def begun(self, made_with: str, parent: str | None) -> Begun | None:
        """The run that was begun, if it still would be this one: see `trainer.runs.starting.identity`."""
        plan = self.plan()
        if plan is None or (plan.made_with, plan.parent) != (made_with, parent):
            return None
        try:
            return Begun(plan, load_codebook(self.path / CODEBOOK / plan.codebook), Vocabulary.load(self.path))
        except (DamagedCodebookError, ValueError, OSError) as error:
            log.warning("a run that was begun cannot be gone on with (%s): it begins anew", error)
            return None

    def keep(self, state: LearningState) -> None:
        """Keeps a state, and the one before it. A full disk costs the state, not the run."""
        if not self.path.is_dir():  # another trainer has ended the run
            return
        try:
            replace_file(self.path / f"{_STATE}{state.steps:09d}", state.encode())
        except OSError as error:
            log.warning("the state of the run is not kept: %s", error)
            return
        reached("learning_kept")
        for old in self._states()[KEPT:]:
            old.unlink(missing_ok=True)

    def newest(self) -> LearningState | None:
        """The newest whole state; damaged ones are set aside."""
        for file in self._states():
            try:
                return LearningState.decode(file.read_bytes())
            except (DamagedStateError, OSError) as error:
                log.warning("%s is set aside: %s", file, error)
                with suppress(OSError):
                    file.replace(self.path / f"{_DAMAGED}{_STATE}")
        return None

    def clear(self) -> None:
        """The run has ended, or is none that anybody can go on with."""
        with suppress(OSError):
            (self.path / _PLAN).unlink()  # what is half removed is no run
        shutil.rmtree(self.path, ignore_errors=True)

    def _states(self) -> list[Path]:
        """Newest first."""
        return sorted((file for file in self.path.glob(f"{_STATE}*") if file.suffix != ".tmp"), reverse=True)


@dataclass(frozen=True, slots=True)
class Work:
    """A run at work: what the run log calls it, its folder, and what an earlier trainer had begun of it."""

    folder: WorkFolder
    runs: list[str]
    begun: Begun | None = None
