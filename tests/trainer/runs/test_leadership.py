"""Of several trainers one leads, and one that stood still learns of another before it does anything."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from store.settings import Settings, settings_from, to_toml
from stream.kafka.topics import create_topics
from tests.clusters import ON_KAFKA, EmbeddedCluster, KafkaCluster
from tests.waiting import PATIENCE_S
from trainer.runs import leadership
from trainer.runs.leadership import Leadership

ROOT = Path(__file__).parents[3]
SAYS = """
import pathlib, sys, time
from store.settings import load_settings
from trainer.runs import leadership
from trainer.runs.leadership import Leadership
member = Leadership(load_settings(pathlib.Path(sys.argv[1])))
member.start()
while True:
    print(member.standing, flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    name = f"lead-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": f"{name}.", "group": name}
    made = settings_from({"kafka": {**kafka, "partitions": 1, "session_timeout_s": 2.0, "heartbeat_s": 0.3}})
    create_topics(made)
    return made


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def test_one_leads_a_newcomer_does_not_displace_it_and_takes_over(settings: Settings) -> None:
    first, *others = (Leadership(settings) for _ in range(3))
    first.start()
    eventually(lambda: first.standing == "leading")
    for other in others:
        other.start()
    eventually(lambda: all(other.standing == "standing by" for other in others))
    eventually(lambda: first.standing == "leading")
    first.close()
    eventually(lambda: sorted(other.standing for other in others) == ["leading", "standing by"])
    for other in others:
        other.close()


@ON_KAFKA
def test_one_that_stood_still_does_not_lead_beside_another(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(to_toml(settings))
    with subprocess.Popen(
        [sys.executable, "-c", SAYS, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            eventually(lambda: process.stdout.readline() == "leading\n")  # type: ignore[union-attr]
            process.send_signal(signal.SIGSTOP)
            other = Leadership(settings)
            other.start()
            eventually(lambda: other.standing == "leading")
            process.send_signal(signal.SIGCONT)
            said = [process.stdout.readline().strip() for _ in range(60)]
            while "standing by" not in said:
                said.append(process.stdout.readline().strip())
            awake = said[said.index("undecided") :]  # what stood in the pipe when it was stopped comes before
            assert "leading" not in awake
            other.close()
        finally:
            process.kill()


def test_a_join_that_ends_between_two_polls_is_heard_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python forgets one that began because the topic became known: the group has decided, the member waits."""
    monkeypatch.setattr(leadership, "POLL_S", 0.002)
    for _ in range(3):
        member = Leadership(settings)
        member.start()
        try:
            began = time.monotonic()
            eventually(lambda: member.standing == "leading")  # noqa: B023
            assert time.monotonic() - began < 10.0
        finally:
            member.close()
