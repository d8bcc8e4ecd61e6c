"""Two workers as processes, over HTTPS: each answers for the other's users, and by copies when that one is gone."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import ON_EMBEDDED
from tests.secured import make_certificates
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)

USERS = [f"user-{number}" for number in range(6)]
AWAY = 30.0
"""A session that no takeover ends while the test looks."""


def settings_on(cluster: Any, folder: Path) -> Settings:
    certificates = make_certificates(folder / "certificates")
    name = f"peers-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": f"{name}.", "group": name, "partitions": 2}
    tls = {"certificate_file": str(certificates.broker), "ca_file": str(certificates.ca)}
    serving = {"explore_share": 0.0, "tls": tls}
    settings = settings_from(
        {
            "kafka": {**kafka, "session_timeout_s": AWAY, "heartbeat_s": 0.2},
            "serving": serving,
            "store": {"user_publish_interval_s": 0.2},
        }
    )
    create_topics(settings)
    return settings


@ON_EMBEDDED
def test_a_killed_workers_users_are_answered_by_what_it_published_of_them(cluster: Any, tmp_path: Path) -> None:
    settings = settings_on(cluster, tmp_path)
    workers = [WorkerProcess(settings, tmp_path / f"worker-{number}") for number in range(2)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            eventually(lambda w=worker: w.process.poll() is None and _partitions(w) == 4)
        with Publisher(settings=settings, framing=None) as publisher:
            for number in range(3):
                publisher.upload({"item_id": f"i{number}", "uploaded_at": time.time(), "title": f"Item {number}"})
            eventually(lambda: all(len(_answer(w, "nobody")["items"]) == 3 for w in workers))
            for user in USERS:
                event = {"event_id": user, "user_id": user, "item_id": "i0", "kind": "hide"}
                publisher.engagement({**event, "occurred_at": time.time()})
        for worker in workers:
            eventually(lambda w=worker: all(_shown(_answer(w, user)) == {"i1", "i2"} for user in USERS))
            assert not [user for user in USERS if (found := _answer(worker, user))["degraded"] or _is_copy(found)]
        time.sleep(1.0)  # the rows are published, and the copies taken
        workers[1].kill()
        answers = [_answer(workers[0], user) for user in USERS]
        assert not [answer for answer in answers if answer["degraded"]]
        assert all(_shown(answer) == {"i1", "i2"} for answer in answers), "what a user hid stays hidden"
        assert 0 < sum(map(_is_copy, answers)) < len(USERS)
    finally:
        for worker in workers:
            worker.remove()


def _partitions(worker: WorkerProcess) -> int:
    try:
        return int(worker.get("/v1/status").json()["partitions"])
    except httpx.HTTPError:
        return 0


def _answer(worker: WorkerProcess, user: str) -> dict[str, Any]:
    found: dict[str, Any] = worker.get("/v1/recommend", user_id=user).json()
    return found


def _shown(answer: dict[str, Any]) -> set[str]:
    return {item["item_id"] for item in answer["items"]}


def _is_copy(answer: dict[str, Any]) -> bool:
    return "copy" in [note["reason"] for note in answer["notes"]]
