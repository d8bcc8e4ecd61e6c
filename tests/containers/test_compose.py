"""deploy/compose.yaml for real: secured Kafka, topics, two workers, trainer and Prometheus in containers.

The tests go through one system in order: it answers, a model is trained and swapped in, one worker is killed under
load, all are upgraded one by one, and Prometheus has been watching. `pytest -s` tells the figures; those seen are in
docs/log/2026-11-28-containers.md. Grafana is in the compose file and is not started: its image is not made here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from bench.balancer import Balancer, figures
from stream.client.training_runs import follow, request_training
from tests.chaos.load import assert_exact, under_load
from tests.chaos.workers import await_committed
from tests.containers.composed import WORKERS, Composed, await_reachable, prometheus_api
from tests.containers.podman import why_no_podman
from tests.populated import publish_population
from tests.test_deploy import alert_rules
from tests.waiting import eventually

CALM_WITHIN_S = 10.0
"""From the kill of a worker until the last request was sent whose answer was degraded."""
CALM_S = 20.0
"""So long is watched after the last one that was: past the session of the worker that is gone."""
RATE_PER_S, REQUESTS_PER_S = 12, 5.0
"""Of events and of requests. What is published at once is late: so the stream comes at a pace that two cores serve."""
SETTLED_S = 6.0
USERS = 60

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    if reason := why_no_podman():
        pytest.skip(reason)
    composed = Composed(tmp_path_factory.mktemp("composed"))
    composed.images()
    composed.down()
    try:
        composed.up("kafka")
        composed.run_topics()
        for service in (*WORKERS, "trainer", "prometheus"):
            composed.up(service)
        await_reachable()
        yield composed
    finally:
        composed.down()


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    """Asks all the time, and sends nobody to a worker that is not ready."""
    balancer = Balancer([*WORKERS.values()], REQUESTS_PER_S, USERS, silent_polls=3)
    balancer.start()
    yield balancer
    balancer.end()


def test_both_workers_recommend_what_was_published(composed: Composed) -> None:
    users = publish_population(composed.settings(), flush_s=60, per_s=RATE_PER_S)
    await_committed(composed.settings())
    for url in WORKERS.values():
        for user in users[:10]:
            answer = httpx.get(f"{url}/v1/recommend", params={"user_id": user}, timeout=10)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["items"]) == 10
    absorbed = assert_exact(composed.settings(), learned=False)
    print(f"published what {len(users)} users did; engagements absorbed exactly: {absorbed}")


def test_a_model_is_trained_and_swapped_in(composed: Composed, balancer: Balancer) -> None:
    request, offset = request_training(composed.settings(), "")
    steps = list(follow(composed.settings(), request.run, offset, timeout_s=240))
    assert steps[-1].state == "published", steps
    for url in WORKERS.values():
        eventually(lambda url=url: serving(url) == steps[-1].checkpoint)
    seen = figures(list(balancer.asked))
    print(f"trained and serving: {steps[-1].checkpoint}; {seen}")
    assert seen["failed"] == seen["refused"] == 0


def serving(url: str) -> str | None:
    found: str | None = httpx.get(f"{url}/v1/checkpoints", timeout=10).json()["serving"]
    return found


def test_a_killed_worker_loses_nothing_and_leaves_nobody_without(composed: Composed, balancer: Balancer) -> None:
    with under_load(composed.settings(), [], RATE_PER_S) as load:
        time.sleep(SETTLED_S)
        balancer.forget()
        began_s = time.monotonic()
        composed.kill("worker-1")
        last_s = balancer.until_calm(began_s, calm_s=CALM_S, longest_s=90.0)
        seen = figures(list(balancer.asked))
        eventually(lambda: composed.is_healthy("worker-1"))
        print(
            f"killed: last degraded after {last_s} s; {seen}; back by itself after {time.monotonic() - began_s:.1f} s"
        )
        time.sleep(SETTLED_S)
    await_committed(composed.settings())
    absorbed = assert_exact(composed.settings(), learned=False)
    print(f"{load.sent} engagements were sent under the kill; all that ever were, absorbed exactly: {absorbed}")
    assert (last_s or 0.0) <= CALM_WITHIN_S


def test_an_upgrade_one_by_one_fails_no_request(composed: Composed, balancer: Balancer) -> None:
    with under_load(composed.settings(), [], RATE_PER_S):
        time.sleep(SETTLED_S)
        rows = {}
        for service in (*WORKERS, "trainer"):
            balancer.forget()
            status = composed.replace(service, "next")
            time.sleep(SETTLED_S)
            rows[service] = figures(list(balancer.asked))
            print(f"{service}: ended with {status}, {rows[service]}, {Counter(one.ended for one in balancer.asked)}")
            assert status == 0
            assert composed.image(service).endswith("sidestream:next")
    await_committed(composed.settings())
    assert_exact(composed.settings(), learned=False)
    assert {row["failed"] + row["refused"] for row in rows.values()} == {0}  # type: ignore[operator]


def test_every_alert_stayed_quiet(composed: Composed) -> None:
    up = prometheus_api("query", query="sum(up)")["result"]
    assert float(up[0]["value"][1]) == len(WORKERS) + 1
    for spent in ("passages_late:ratio_rate5m", "canary_overdue:ratio_time5m"):
        most = prometheus_api("query", query=f"max_over_time(sidestream:{spent}[1h])")["result"]
        print(spent, {each["metric"]["stage"]: round(float(each["value"][1]), 4) for each in most})
    fired = prometheus_api("query", query='count_over_time(ALERTS{alertstate="firing"}[1h])')["result"]
    names = {each["metric"]["alertname"] for each in fired}
    print(f"rules: {len(alert_rules())}; fired in the hour: {names or 'none'}")
    assert not names
