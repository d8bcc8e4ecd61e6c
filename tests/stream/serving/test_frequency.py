"""Frequency: no more answers of a bounded task in any 24 hours, and bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import DAY_S
from store.histories import UserRow, note_answer
from store.requests import Request
from store.topics import USER_STATES
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from stream.serving.frequency import Frequency
from tests.chaos.workers import WorkerProcess, read_topic
from tests.clusters import EmbeddedCluster
from tests.stream.log import settings_on
from tests.waiting import eventually


def asked(user: str = "u", task: str = "notification") -> Request:
    return Request(user_id=user, task=task)  # type: ignore[arg-type]


@given(most=st.integers(1, 3), waits_s=st.lists(st.floats(0, 2 * DAY_S), max_size=20))
def test_no_day_brings_more(most: int, waits_s: list[float]) -> None:
    now = [0.0]
    frequency = Frequency({"notification": most}, clock=lambda: now[0])
    given_at: list[float] = []
    for wait_s in waits_s:
        now[0] += wait_s
        recent = [at for at in given_at if at > now[0] - DAY_S]
        assert (frequency.spent(asked()) is None) == (len(recent) < most)
        if frequency.spent(asked()) is None:
            frequency.count(asked(), lines=1)
            given_at.append(now[0])


def test_others_and_what_brought_nothing_do_not_count() -> None:
    frequency = Frequency({"notification": 1, "home": 0})
    frequency.count(asked(), lines=0)
    frequency.count(asked(task="home"), lines=5)
    frequency.count(asked(user="v"), lines=1)
    frequency.count(asked(user=""), lines=1)
    assert [frequency.spent(asked(user)) is None for user in ("u", "v", "")] == [True, False, True]
    assert frequency.spent(asked(task="home")) is None
    frequency.forget("v")
    assert frequency.spent(asked("v")) is None


def test_the_users_remembered_are_bounded() -> None:
    frequency = Frequency({"notification": 1}, most_users=2)
    for user in ("a", "b", "c"):
        frequency.count(asked(user), lines=1)
    assert [frequency.spent(asked(user)) is None for user in ("a", "b", "c")] == [True, False, False]


def test_what_the_users_row_knows_counts_once_and_every_answer_is_told() -> None:
    now, told = [1000.0], []
    frequency = Frequency({"notification": 2}, clock=lambda: now[0])
    row = UserRow()

    def note(user_id: str, task: str, at_s: float, most: int) -> None:
        told.append((user_id, task, at_s, most))
        note_answer(row, task, at_s, most)

    frequency.told = note
    frequency.count(asked(), lines=1)
    assert told == [("u", "notification", 1000.0, 2)]
    assert frequency.spent(asked(), row) is None, "one answer, which both remember"
    now[0] = 1001.0
    frequency.count(asked(), lines=1)
    fresh = Frequency({"notification": 2}, clock=lambda: now[0])
    assert fresh.spent(asked()) is None
    assert fresh.spent(asked(), row) is not None, "after a restart the row knows"
    now[0] = 1000.5 + DAY_S
    assert fresh.spent(asked(), row) is None


@pytest.mark.long
def test_what_a_user_got_is_known_after_a_restart_and_where_the_user_moves_to(
    embedded_broker: EmbeddedCluster, tmp_path: Path
) -> None:
    serving = {"tasks": {"notification": {"most_per_day": 2}}}
    kafka = {"partitions": 1}
    settings = settings_on(embedded_broker.bootstrap_servers, "capped.", kafka=kafka, serving=serving)
    create_topics(settings)
    worker = WorkerProcess(settings, tmp_path / "worker", data_dir=tmp_path / "data")

    def got() -> int:
        answer = worker.get("/v1/recommend", user_id="u", task="notification").json()
        return len(answer["items"]) if "capped" not in {note["reason"] for note in answer["notes"]} else -1

    try:
        worker.start()
        worker.await_ready()
        with Publisher(settings=settings) as publisher:
            publisher.upload({"item_id": "i", "uploaded_at": 1.7e9, "title": "A tale"})
        eventually(lambda: worker.get("/v1/items/i").status_code == 200)
        assert [got() for _ in range(3)] == [1, 1, -1]
        eventually(lambda: b"u" in {key for key, _ in read_topic(settings, USER_STATES, 0)})
        assert worker.stop() == 0
        worker.start()
        worker.await_ready()
        assert got() == -1, "after a restart on the same folder"
        assert worker.stop() == 0
        worker = WorkerProcess(settings, tmp_path / "elsewhere", data_dir=tmp_path / "other data")
        worker.start()
        worker.await_ready()
        assert got() == -1, "at another worker, which has only the log"
        assert worker.stop() == 0
    finally:
        worker.remove()
