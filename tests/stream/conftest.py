"""Fixtures for the command line: run in this process, on the shared embedded broker, beside a worker in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from store.settings import Settings
from stream.cli import main
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from stream.web.server import application
from tests.clusters import EmbeddedCluster
from tests.stream.client.test_client import serving
from tests.stream.log import settings_on
from tests.stream.web.fake_service import FakeService


class Ran(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in [name for name in os.environ if name.startswith("SIDESTREAM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0 if code is None else 1, said.out, said.err)

    return run


@pytest.fixture(scope="module")
def cli_settings(embedded_broker: EmbeddedCluster, request: pytest.FixtureRequest) -> Settings:
    """Topics of the file's own: what others have published there may be no event at all."""
    settings = settings_on(embedded_broker.bootstrap_servers, f"{request.module.__name__}.")
    create_topics(settings)
    return settings


@pytest.fixture
def on_broker(cli_settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SIDESTREAM_KAFKA__TOPIC_PREFIX", cli_settings.kafka.topic_prefix)
    return lambda *arguments: run(*arguments, "--bootstrap-servers", cli_settings.kafka.bootstrap_servers)


@pytest.fixture(scope="module")
def worker_url() -> Iterator[str]:
    metrics = Metrics()
    yield from serving(application(FakeService(metrics), metrics))
