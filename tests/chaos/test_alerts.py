"""Alerts on a real Prometheus server with `deploy/`'s own files: each stage is stopped in turn, its metric rises and
its alert fires; a rolling restart under load fires none. `pytest -s` prints the table; one is in the log of docs/.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml

from store.settings import Freshness, Settings
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from stream.up.ports import free_port
from tests.chaos.prometheus import DEPLOY, DURATION, Prometheus, hastened, why_no_prometheus
from tests.chaos.stalling_worker import StallingWorker
from tests.clusters import EmbeddedCluster
from tests.stream.serving.test_swap import System, small_settings
from tests.test_deploy import alert_rules
from tests.waiting import PATIENCE_S, eventually

FACTOR = 30
CANARY_S = 2.0
SETTLED_S = 45.0
"""Load before and after the rolling restart."""
PAGES_FROM = 14.4 * Freshness().late_share
"""The share of an hour from which the alerts by burn rate page."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]


class Row(NamedTuple):
    """One of the table: what was stopped, the metric that rose (its value before, and when the alert fired), and the
    alert, with the seconds from the stop."""

    stopped: str
    metric: str
    before: float
    risen: float
    alert: str
    seconds: float


class Watched:
    """Broker, two workers, a trainer and two Prometheus servers: one with the rules as they are, one in haste."""

    def __init__(self, cluster: EmbeddedCluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        small = small_settings(cluster.bootstrap_servers, folder)
        training = msgspec.structs.replace(small.training, metrics_port=free_port())
        self.settings: Settings = msgspec.structs.replace(
            small, training=training, freshness=Freshness(canary_s=CANARY_S)
        )
        create_topics(self.settings)
        self.workers = [StallingWorker(self.settings, folder / f"worker-{n}", drain_s=2.0) for n in range(2)]
        for worker in self.workers:
            worker.start()
        self.start_trainer()
        for worker in self.workers:
            worker.await_ready()
        self.rows: list[Row] = []

    def start_trainer(self) -> None:
        command = [sys.executable, "-m", "stream.cli", "trainer", "--settings", str(self.workers[0].file)]
        with (self.folder / "trainer.log").open("ab") as log:
            self.trainer = subprocess.Popen(command, stdout=log, stderr=log)

    def stop_trainer(self) -> None:
        self.trainer.terminate()
        self.trainer.wait(PATIENCE_S)

    def fill(self) -> None:
        """Items, engagements, and a model that serves."""
        filling = System.__new__(System)
        filling.settings, filling.worker = self.settings, self.workers[0]
        filling.fill()
        filling.train()

    def watch(self) -> None:
        targets = {
            "sidestream": [worker.url.removeprefix("http://") for worker in self.workers],
            "sidestream-trainer": [f"127.0.0.1:{self.settings.training.metrics_port}"],
        }
        self.plain = Prometheus(self.folder / "plain", targets)
        self.hasty = Prometheus(self.folder / "hasty", targets, FACTOR)
        self.plain.start()
        self.hasty.start()
        eventually(lambda: len(self.hasty.query("up == 1")) == 3)

    def await_quiet(self) -> None:
        """Until nothing pages, and every canary comes."""
        eventually(lambda: not [one for one in self.hasty.alerts() if one.labels["severity"] == "page"], 180.0)
        eventually(lambda: not self.hasty.query("sidestream:canary_overdue > 0"))

    def stopped(self, what: str, metric: str, alert: str, stop: Callable[[], object], **labels: str) -> None:
        """Stops something, waits for its alert, and notes how its metric has risen."""
        self.await_quiet()
        before = self._value(metric)
        stop()
        began = time.monotonic()
        eventually(lambda: self._fires(alert, labels), 120.0)
        self.rows.append(Row(what, metric, before, self._value(metric), alert, time.monotonic() - began))

    def _fires(self, name: str, labels: dict[str, str]) -> bool:
        return any(one.name == name and labels.items() <= one.labels.items() for one in self.hasty.alerts())

    def _value(self, metric: str) -> float:
        return max((value for _, value in self.hasty.query(metric)), default=float("nan"))

    def owner_of(self, topic: str, number: int) -> StallingWorker:
        stage = {"uploads": "upload_to_semantic_id", "engagements": "engagement_to_history"}[topic]
        found = self.hasty.query(f'sidestream_canary_age_seconds{{stage="{stage}",partition="{number}"}}')
        addresses = {worker.url.removeprefix("http://"): worker for worker in self.workers}
        return addresses[found[0][0]["instance"]]

    def stop(self) -> None:
        for server in (getattr(self, "plain", None), getattr(self, "hasty", None)):
            if server is not None:
                server.stop()
        self.trainer.kill()
        self.trainer.wait(PATIENCE_S)
        for worker in self.workers:
            worker.remove()


@contextmanager
def load(settings: Settings) -> Iterator[None]:
    """Five uploads and twenty engagements a second."""
    ended = threading.Event()

    def run() -> None:
        number = 0
        with Publisher(settings=settings, framing=None) as publisher:
            while not ended.wait(0.2):
                number += 1
                publisher.upload({"item_id": f"load-{number}", "uploaded_at": time.time(), "title": f"Load {number}"})
                for user in range(4):
                    event = {"event_id": f"load-{number}-{user}", "user_id": f"load-{(4 * number + user) % 97}"}
                    item = {"item_id": f"load-{max(1, number - 20)}", "kind": "click", "occurred_at": time.time()}
                    publisher.engagement({**event, **item})

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(60)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if reason := why_no_prometheus():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("watched")
    made = EmbeddedCluster(folder / "broker")
    made.start()
    watched = Watched(made, folder)
    try:
        watched.fill()
        watched.watch()
        yield watched
    finally:
        watched.stop()
        made.stop()


@pytest.mark.long
def test_a_rolling_restart_fires_nothing(watched: Watched) -> None:
    """With the rules as they are. What is pending at the end would have to go on for its whole `for:`. This server has
    watched for minutes only, and its window of an hour holds no more than these: so for the alerts by burn rate the
    same late events, and the same seconds without a canary, are laid among an hour of the load."""
    with load(watched.settings):
        time.sleep(SETTLED_S)
        before = watched.plain.query("sum by (stage) (rate(sidestream_passages_total[30s]))")
        began = time.monotonic()
        for worker in watched.workers:
            assert worker.stop() == 0
            worker.start()
            worker.await_ready()
            time.sleep(1.0)
        took_s = time.monotonic() - began
        time.sleep(SETTLED_S)
        seconds = took_s + 2 * SETTLED_S
        late = watched.plain.query(
            f'sum by (stage) (increase(sidestream_passages_total{{result="late"}}[{seconds:.0f}s]))'
        )
        overdue = watched.plain.query(f"max by (stage) (avg_over_time(sidestream:canary_overdue[{seconds:.0f}s]))")
    per_s = {labels["stage"]: value for labels, value in before}
    late_of_an_hour = {labels["stage"]: value / (per_s[labels["stage"]] * 3600.0) for labels, value in late}
    overdue_of_an_hour = {labels["stage"]: value * seconds / 3600.0 for labels, value in overdue}
    print(f"\nrolling restart: {took_s:.0f} s; of an hour late {late_of_an_hour}, overdue {overdue_of_an_hour}")
    by_burn_rate = {rule["alert"] for rule in alert_rules() if "sidestream_objective_late_ratio" in rule["expr"]}
    assert not watched.plain.fired(seconds) - by_burn_rate
    assert not [one for one in watched.plain.alerts("pending") if one.labels["severity"] == "page"]
    assert max(late_of_an_hour.values()) < PAGES_FROM
    assert max(overdue_of_an_hour.values()) < PAGES_FROM


@pytest.mark.long
def test_each_stage_that_stops_shows_in_its_metric_and_fires_its_alert(watched: Watched) -> None:
    cluster, workers = watched.cluster, watched.workers

    def age(stage: str) -> str:
        return f'max(sidestream_canary_age_seconds{{stage="{stage}"}})'

    watched.stopped("broker (paused)", age("upload_to_recommendable"), "SidestreamStalled", cluster.pause)
    cluster.resume()
    watched.stopped("broker (killed)", age("engagement_to_embedding"), "SidestreamStalled", cluster.kill)
    cluster.restart()
    for worker in workers:
        worker.await_ready()
    for agent, stage in (
        ("uploads", "upload_to_semantic_id"),
        ("engagements", "engagement_to_history"),
        ("item-signals", "engagement_to_embedding"),
    ):
        watched.stopped(
            f"agent of {agent}", age(stage), "SidestreamStalled", lambda a=agent: stall_all(watched, a), stage=stage
        )
        for worker in workers:
            worker.stall("")
    watched.await_quiet()
    for topic, stage in (("uploads", "upload_to_recommendable"), ("engagements", "engagement_to_embedding")):
        owner = watched.owner_of(topic, 0)
        stall = lambda o=owner, t=topic: o.stall(f"partition {t} 0")  # noqa: E731
        watched.stopped(f"one partition of {topic}", age(stage), "SidestreamStalled", stall, stage=stage)
        fine = watched.hasty.query(f'max(sidestream_canary_age_seconds{{stage="{stage}",partition="1"}})')
        assert fine[0][1] < 2 * CANARY_S + 1.0, "the other partition goes on"
        owner.stall("")
    down = 'count(up{job="sidestream"} == 0) or vector(0)'
    watched.stopped("worker (killed)", down, "SidestreamWorkerDown", workers[1].kill)
    workers[1].start()
    workers[1].await_ready()
    model = "max(sidestream_serving_model_data_age_seconds)"
    watched.stopped("trainer", model, "SidestreamTrainerDown", watched.stop_trainer)
    watched.start_trainer()
    watched.await_quiet()
    print(f"\n{'stopped':<28}{'alert':<24}{'seconds':>8}  metric: before → when it fired")
    for row in watched.rows:
        print(f"{row.stopped:<28}{row.alert:<24}{row.seconds:>8.1f}  {row.metric}: {row.before:.1f} → {row.risen:.1f}")
    assert all(row.risen > row.before for row in watched.rows)


def stall_all(watched: Watched, agent: str) -> None:
    """The agent of every worker that has partitions of its topic."""
    for worker in watched.workers:
        worker.stall(f"agent {agent}")


def test_the_substitution_changes_durations_and_nothing_else() -> None:
    rules = (DEPLOY / "alerts.yml").read_text()
    quick = hastened(rules, FACTOR)
    assert DURATION.sub(r"\1_", rules) == DURATION.sub(r"\1_", quick)
    alerts = {rule.get("alert"): rule for group in yaml.safe_load(quick)["groups"] for rule in group["rules"]}
    assert alerts["SidestreamStalled"]["for"] == "4s"
    assert "[10s]" in alerts["SidestreamRecommendSlow"]["expr"]
