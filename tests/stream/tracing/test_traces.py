"""One trace across workers, and a worker whose collector does not answer: between real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_trace_id

from store.keys import partition_of
from store.settings import Settings
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import REPOSITORY, EmbeddedCluster
from tests.stream.log import settings_on
from tests.stream.tracing.collector import ENGAGEMENT, UPLOAD, Collector, Seen, collecting
from tests.waiting import eventually

pytestmark = pytest.mark.long  # what one worker shows is shown in tests/stream/test_worker.py


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    with collecting() as found:
        yield found


def settings_for(broker: EmbeddedCluster, name: str, url: str) -> Settings:
    settings = settings_on(
        broker.bootstrap_servers,
        f"{name}.",
        kafka={"group": name, "partitions": 2},
        tracing={"endpoint": url, "sample_share": 1.0},
    )
    create_topics(settings)
    return settings


def event(item_id: str, user_id: str) -> dict[str, object]:
    return {
        **{"event_id": f"{user_id} {item_id}", "user_id": user_id, "item_id": item_id},
        **{"kind": "click", "occurred_at": time.time()},
    }


def ask(worker: WorkerProcess, user_id: str, headers: dict[str, str]) -> Any:
    url = f"{worker.url}/v1/recommend"
    return httpx.get(url, params={"user_id": user_id}, headers=headers, timeout=30).json()


def processes(spans: list[Seen], name: str) -> list[object]:
    return [span.resource["service.instance.id"] for span in spans if span.name == name]


def test_each_worker_tells_its_part_of_one_trace(
    embedded_broker: EmbeddedCluster, tmp_path: Path, collector: tuple[Collector, str]
) -> None:
    seen, settings = collector[0], settings_for(embedded_broker, "two-traced", collector[1])
    workers = [WorkerProcess(settings, tmp_path / f"worker-{n}") for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.await_ready()
    eventually(lambda: all(httpx.get(f"{one.url}/v1/status").json()["lag"] is not None for one in workers))
    item_id = next(f"i{n}" for n in range(99) if partition_of(f"i{n}", 2) == 0)
    user_id = next(f"u{n}" for n in range(99) if partition_of(f"u{n}", 2) == 1)
    tracer = TracerProvider().get_tracer("application")
    with Publisher(settings=settings) as publisher:
        with tracer.start_as_current_span("request") as first:
            publisher.upload({"item_id": item_id, "uploaded_at": time.time(), "title": "Garden roses"})
        publisher.flush()
        eventually(lambda: all(httpx.get(f"{one.url}/v1/items/{item_id}").status_code == 200 for one in workers))
        with tracer.start_as_current_span("request") as second:
            publisher.engagement(event(item_id, user_id))
    traces = [format_trace_id(one.get_span_context().trace_id) for one in (first, second)]
    expected = [Counter([*UPLOAD, "recommendable"]), Counter([*ENGAGEMENT, "visible"])]
    uploaded, engaged = (
        eventually(
            lambda trace=trace, names=names: Counter(one.name for one in seen.of(trace)) == names and seen.of(trace)
        )
        for trace, names in zip(traces, expected, strict=True)
    )
    assert len(set(processes(uploaded, "recommendable"))) == len(set(processes(engaged, "visible"))) == 2
    assert processes(engaged, "absorb engagements") != processes(engaged, "absorb item-signals"), "one owner of both"
    for spans, last, before in ((uploaded, "recommendable", UPLOAD[-2]), (engaged, "visible", ENGAGEMENT[-2])):
        [parent] = [span.span_id for span in spans if span.name == before]
        assert {span.parent_id for span in spans if span.name == last} == {parent}
    headers = {"traceparent": f"00-{5:032x}-{9:016x}-01"}
    for worker in workers:
        eventually(lambda worker=worker: not ask(worker, user_id, {})["degraded"])
        ask(worker, user_id, headers)
    names = Counter({"GET /v1/recommend": 2, "POST /internal/recommend": 1})
    eventually(lambda: Counter(one.name for one in seen.of(f"{5:032x}")) == names)
    asked = {one.span_id: one for one in seen.of(f"{5:032x}")}
    [forwarded] = [one for one in asked.values() if one.name == "POST /internal/recommend"]
    assert asked[forwarded.parent_id].name == "GET /v1/recommend"
    assert asked[forwarded.parent_id].resource != forwarded.resource, "the one that was asked, and the owner"
    assert [worker.stop() for worker in workers] == [0, 0]


@pytest.fixture
def paused() -> Iterator[str]:
    """The address of a collector that stands still."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stream.tracing.collector"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    process.send_signal(signal.SIGSTOP)
    yield url
    process.kill()
    process.communicate()


def test_a_collector_that_stands_still_costs_nothing_but_spans(
    embedded_broker: EmbeddedCluster, tmp_path: Path, paused: str
) -> None:
    settings = settings_for(embedded_broker, "paused", paused)
    worker = WorkerProcess(settings, tmp_path)
    worker.start()
    worker.await_ready()
    with Publisher(settings=settings) as publisher:
        publisher.upload({"item_id": "i", "uploaded_at": time.time(), "title": "Garden roses"})
        publisher.flush()
    eventually(lambda: httpx.get(f"{worker.url}/v1/items/i").status_code == 200)
    told = 'sidestream_trace_spans_total{result="dropped"} 3.0'
    eventually(lambda: told in httpx.get(f"{worker.url}/metrics").text)
    assert worker.log.read_text().count("takes no spans") == 1
    with Publisher(settings=settings) as publisher:
        publisher.upload({"item_id": "j", "uploaded_at": time.time(), "title": "Garden walls"})
    assert worker.stop() == 0, "it was ended from outside, or by what ends a worker that does not stop"
    assert "not stopped in" not in worker.log.read_text()
