"""The run log on a real broker: a request during a run is reported as queued at once."""

from __future__ import annotations

import uuid
from typing import Any

from store.checkpoints import RunRecord
from store.log import Log
from store.settings import settings_from
from stream.client.training_runs import follow, request_training
from stream.kafka.topics import create_topics
from tests.stream.log import settings_on
from tests.trainer.runs.test_log_window import create_anew
from trainer.runs.run_log import RunLog


def test_a_request_during_a_run_is_queued_once_and_its_codebook_request_kept(embedded_broker: Any) -> None:
    name = f"run-log-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": embedded_broker.bootstrap_servers, "topic_prefix": f"{name}."}
    settings = settings_from({"kafka": kafka})
    create_topics(settings)
    with Log(settings.kafka) as log:
        run_log = RunLog(settings, log)
        request, offset = request_training(settings, "refresh")
        run_log.queue_new_requests(["another-run"])
        run_log.queue_new_requests(["another-run"])
        run_log.report([request.run], "refused", detail="the test ends it")
        heard: list[RunRecord] = list(follow(settings, request.run, offset))
        assert [record.state for record in heard] == ["queued", "refused"]
        assert run_log.codebook_request([request.run]) == "refresh"
        assert run_log.codebook_request(["another-run"]) == ""
        run_log.close()


def test_wishes_on_a_topic_that_was_created_anew_are_heard(embedded_broker: Any) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, f"said-{uuid.uuid4().hex[:8]}.")
    create_topics(settings)
    with Log(settings.kafka) as log:
        run_log = RunLog(settings, log)
        for _ in range(3):
            request_training(settings)
        run_log.follow()
        create_anew(settings, "checkpoints")
        request, _ = request_training(settings)
        run_log.follow()
        assert request.run in run_log.open_requests()
        run_log.close()


def test_a_run_that_can_be_gone_on_with_stays_open_until_it_was_tried_often_enough(embedded_broker: Any) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, f"open-{uuid.uuid4().hex[:8]}.")
    create_topics(settings)
    with Log(settings.kafka) as log:
        run_log = RunLog(settings, log)
        for attempt in (1, 2, 3):
            run_log.report(["begun"] + ["lost"] * (attempt == 1), "started")
            run_log.follow()
            run_log.close_abandoned(3, ["begun"])
            assert run_log.still_open(["begun", "lost"]) == (["begun"] if attempt < 3 else [])
        run_log.close()
