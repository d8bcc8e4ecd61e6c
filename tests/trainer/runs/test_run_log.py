"""Announcements on a real broker: a wish that comes during a run is heard at once."""

from __future__ import annotations

import uuid
from typing import Any

from store.checkpoints import RunRecord
from store.log import Log
from store.settings import settings_from
from stream.client.training_runs import follow, request_training
from stream.kafka.topics import create_topics
from trainer.runs.run_log import RunLog


def test_a_wish_during_a_run_is_queued_once_and_its_codebook_wish_kept(embedded_broker: Any) -> None:
    name = f"said-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": embedded_broker.bootstrap_servers, "topic_prefix": f"{name}."}
    settings = settings_from({"kafka": kafka})
    create_topics(settings)
    with Log(settings.kafka) as log:
        said = RunLog(settings, log)
        request, offset = request_training(settings, "refresh")
        said.greet(["another-run"])
        said.greet(["another-run"])
        said.say([request.run], "refused", detail="the test ends it")
        heard: list[RunRecord] = list(follow(settings, request.run, offset))
        assert [record.state for record in heard] == ["queued", "refused"]
        assert said.wish([request.run]) == "refresh"
        assert said.wish(["another-run"]) == ""
        said.close()
