"""The acts claim what they have seen in answers, and say what they have not; against a worker in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, cast

import pytest

from store.settings import Settings
from stream.client.client import Client
from stream.client.publisher import Publisher
from stream.demo.acts import Stage, Traffic, click_and_compare, publish_and_find
from stream.demo.stream import DemoStream, Feed
from stream.metrics.metrics import Metrics
from stream.web.server import application
from tests.stream.client.test_client import serving
from tests.stream.web.fake_service import FakeService


class Log:
    """A log that reaches the service at once, or never."""

    def __init__(self, service: FakeService, arrives: bool) -> None:
        self.service, self.arrives = service, arrives

    def upload(self, event: dict[str, Any]) -> Future[None]:
        if self.arrives:
            self.service.titles = {event["item_id"]: event.get("title", ""), **self.service.titles}
        return _done()

    def engagement(self, event: dict[str, Any]) -> Future[None]:
        if self.arrives:
            liked_too = [{"user_id": "x", "item_id": "i7"}] * 2  # another item than the clicked one moves up
            self.service.engagements += [event, *liked_too]
        return _done()


def _done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


@pytest.fixture
def service() -> FakeService:
    return FakeService(Metrics(), {f"i{n}": f"[/b] film {n}" for n in range(12)})


@pytest.fixture
def client(service: FakeService) -> Iterator[Client]:
    for url in serving(application(service, service.metrics)):
        with Client(url) as client:
            yield client


def stage(client: Client, service: FakeService, told: list[str], arrives: bool = True) -> Stage:
    stream = DemoStream("nothing", iter(()))
    feed = Feed(stream, lambda event: None)
    tell = lambda *parts: told.append("".join(part if isinstance(part, str) else part[0] for part in parts))  # noqa: E731
    return Stage(Settings(), client, cast(Publisher, Log(service, arrives)), stream, feed, tell)


def test_an_item_that_is_recommended_is_seen_with_its_time(client: Client, service: FakeService) -> None:
    told: list[str] = []
    live, recommended = publish_and_find(stage(client, service, told), within_s=10.0)
    assert (live.seen, "semantic ID 1·2·3" in live.detail) == (True, True)
    assert recommended.seconds is not None
    assert "rank 1, source popular" in recommended.detail
    assert told[0].startswith("publishing demo-")


def test_an_item_that_does_not_arrive_is_not_claimed(client: Client, service: FakeService) -> None:
    seen = publish_and_find(stage(client, service, [], arrives=False), within_s=0.2)
    assert [each.seen for each in seen] == [False, False]


def test_a_click_that_changes_the_order_is_seen(client: Client, service: FakeService) -> None:
    told: list[str] = []
    service.engagements = [{"user_id": "x", "item_id": f"i{n}"} for n in range(9)]
    click = click_and_compare(stage(client, service, told), within_s=5.0)
    assert (click.item_id, click.seen.seen) == ("i4", True)
    assert click.seen.seconds is not None
    assert [item for item in click.before if item != "i4"] != [item for item in click.after if item != "i4"]
    assert told == [f"{click.user} clicks on [/b] film 4"]


def test_a_click_that_changes_nothing_is_not_claimed(client: Client, service: FakeService) -> None:
    click = click_and_compare(stage(client, service, [], arrives=False), within_s=0.2)
    assert (click.seen.seen, click.seen.seconds) == (False, None)
    assert click.before == click.after


def test_traffic_counts_answers_and_failures(client: Client, service: FakeService) -> None:
    with Traffic(client, ["u1", "u2"], pause_s=0.001) as traffic:
        while len(traffic.latencies_s) < 5:
            pass
        service.fault = RuntimeError("broken")
        while not traffic.failures:
            pass
    assert set(traffic.first_answer_of) == {"c1"}
    assert 0 < traffic.quantile_ms(0.5) <= traffic.quantile_ms(1.0)
