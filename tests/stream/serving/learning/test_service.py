"""What a worker that answers nothing tells of itself; over HTTP: `tests/stream/test_absorbing.py`."""

from __future__ import annotations

import asyncio

from store.records.peer_messages import RowRequest, Told
from stream.ingest.assignment import Assignment
from stream.metrics.metrics import Metrics
from stream.serving.learning.service import AbsorbingService
from stream.serving.others.owned_users import OwnedUsers
from stream.serving.others.readiness import Readiness
from tests.stream.log import settings_on
from tests.stream.serving.learning.test_learner import learner_that_tells


def test_it_tells_the_stages_that_it_knows_and_who_answers() -> None:
    settings, learner = settings_on("127.0.0.1:1", "x."), learner_that_tells([])
    assignment = Assignment({}, lambda _: None)
    users = OwnedUsers(assignment, 4, learner.attribution, learner.frequency, lambda *_: None)
    service = AbsorbingService(
        settings,
        learner=learner,
        assignment=assignment,
        metrics=Metrics(),
        own_url=lambda: "http://me",
        readiness=Readiness(asyncio.Event(), lambda: ""),
        users=users,
    )
    status = service.status()
    assert [stage["stage"] for stage in status["stages"]] == ["upload_to_semantic_id"]
    assert (status["verdict"], status["answered_by"]) == ("unknown", [])
    assert "no worker" in status["note"]
    assert not service.ready()[0]
    assert service.hear(Told("http://s")).answerers == ["http://s"]
    assert (service.status()["answered_by"], service.status()["note"]) == (["http://s"], "")
    assert service.owned_row(RowRequest("u", "home")) is None
    assert service.owned_user("u") is None
    learner.close()
