"""Reading: one that answers nothing reads rows apart from the rest, and later. With a broker: `test_roles.py`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest

from store.settings import RoleName
from stream.reading import ROWS_GATHER_S
from stream.serving.learning.learner import Learner
from stream.serving.scorer import Scorer
from stream.worker import Worker
from tests.stream.log import settings_on

HAS = {"all": (True, True), "ingest": (True, False), "serve": (False, True)}


@pytest.mark.parametrize("role", get_args(RoleName))
def test_a_worker_has_the_parts_of_its_role(role: RoleName, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings_on("127.0.0.1:1", "x."), role=role, data_dir=str(tmp_path))
    worker: Any = Worker(settings)
    absorbs, answers = HAS[role]
    assert (worker._absorbing is not None, worker._answering is not None) == (absorbs, answers)
    assert isinstance(worker._known, Scorer if answers else Learner)
    broadcasts = worker._reading._broadcasts
    assert len(broadcasts) == (1 if answers else 2)
    assert broadcasts[-1].caught_up is worker._reading.caught_up
    assert (broadcasts[-1]._gather_s == ROWS_GATHER_S) == (not answers)
    assert worker._reading.is_news(SimpleNamespace(topic="x.semantic-ids", partition=0, offset=3))
    for part in (worker._answering, worker._known, worker._absorbing):
        if part is not None:
            part.close()
