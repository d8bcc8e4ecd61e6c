"""Fixtures shared by all tests: the brokers."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from store.reporting.client_noise import CLIENTS
from store.reporting.log_lines import QUIET
from tests.clusters import EmbeddedCluster, KafkaCluster, why_no_kafka
from tests.lengths import LONG

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: idle threads cost most
# A traced run on a shared machine says nothing of speed.
settings.register_profile("sidestream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sidestream")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """What collecting makes stays: to look through it for garbage took a fifth of its time, and later more."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `long` prove what shorter ones prove in another place, or take minutes for what seldom breaks."""
    for item in items:
        if not LONG and item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="long: run `make long`, `make chaos` or `make alerts`"))


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that runs in this process sets the process's log up: the next test must not be written to its end."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = [*root.handlers], root.level
    levels = {name: logging.getLogger(name).level for name in (*CLIENTS, *QUIET)}
    yield
    root.handlers[:], (sys.excepthook, threading.excepthook) = handlers, hooks
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """The embedded broker as a process; shared, so use topic and group names of your own."""
    cluster = EmbeddedCluster(tmp_path_factory.mktemp("embedded"))
    cluster.start()
    yield cluster
    assert cluster.stop() == 0, cluster.log


@pytest.fixture(scope="session")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One broker of real Kafka; shared, so use topic and group names of your own. Skips, with the reason."""
    reason = why_no_kafka()
    if reason:
        pytest.skip(reason)
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def cluster(request: pytest.FixtureRequest) -> EmbeddedCluster | KafkaCluster:
    """Each test that takes it runs on the embedded broker and on real Kafka: `.bootstrap_servers`."""
    name = "embedded_broker" if request.param == "embedded" else "real_kafka"
    found: EmbeddedCluster | KafkaCluster = request.getfixturevalue(name)
    return found
