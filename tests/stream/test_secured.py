"""The whole way on secured Kafka: every client gets in, and whoever is refused is told why in one line."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from store.security import RefusedError, find_server
from store.settings import Settings, settings_from
from stream.cli.data import exported
from stream.client.publisher import Publisher
from stream.client.training_runs import follow, request_training
from stream.kafka.connections import BrokerRefusedError
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import HOST, why_no_kafka
from tests.secured import PASSWORD, USER, Certificates, Door, make_certificates, secured_cluster, security

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[dict[str, str]]:
    """Where one broker listens, by what it speaks there; at "EXPIRED" its certificate has expired."""
    reason = why_no_kafka()
    if reason:
        pytest.skip(reason)
    own, old = certificates.broker, certificates.expired_broker
    made = {
        "SASL_SSL": Door("SASL_SSL", ("PLAIN", "SCRAM-SHA-512"), own),
        "SASL_PLAINTEXT": Door("SASL_PLAINTEXT"),
        "SSL": Door("SSL", certificate=own, mutual=True),
        "EXPIRED": Door("SASL_SSL", certificate=old),
    }
    cluster = secured_cluster(tmp_path_factory.mktemp("kafka") / "kafka", made, ca=certificates.ca)
    cluster.start()
    yield {
        name: f"{HOST}:{cluster.doors[name]}" if name in cluster.doors else cluster.bootstrap_servers for name in made
    }
    cluster.stop()


def settings_on(bootstrap_servers: str, given: dict[str, Any]) -> Settings:
    name = f"secured-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": bootstrap_servers, "topic_prefix": f"{name}.", "group": name, "partitions": 1}
    return settings_from({"kafka": {**kafka, "session_timeout_s": 6.0, "heartbeat_s": 0.5, "security": given}})


def the_whole_way(settings: Settings, folder: Path) -> None:
    """Published, live and recommended; the trainer hears a request and answers."""
    worker = WorkerProcess(settings, folder / "worker")
    worker.start()
    command = [sys.executable, "-m", "stream.cli", "trainer", "--settings", str(worker.file)]
    log = (folder / "trainer.log").open("wb")
    trainer = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        worker.await_ready()
        with Publisher(settings=settings) as publisher:
            publisher.upload({"item_id": "v1", "uploaded_at": time.time(), "title": "Sourdough"}).result(20)
            event = {"event_id": "e1", "user_id": "ada", "item_id": "v1", "kind": "click", "occurred_at": time.time()}
            publisher.engagement(event).result(20)
        eventually(lambda: recommended(worker, "bob") == ["v1"])
        eventually(lambda: recommended(worker, "ada") == [])
        eventually(lambda: [row["item_id"] for row in exported.items(settings)] == ["v1"])
        eventually(lambda: [row["user_id"] for row in exported.users(settings)] == ["ada"])
        request, offset = request_training(settings)
        states = [record.state for record in follow(settings, request.run, offset, answer_s=60.0, timeout_s=90.0)]
        assert states, (folder / "trainer.log").read_text()
        assert PASSWORD not in worker.log.read_text() + (folder / "trainer.log").read_text()
    finally:
        trainer.terminate()
        worker.stop()
        trainer.wait(30)
        log.close()


def recommended(worker: WorkerProcess, user: str) -> list[str]:
    answer = httpx.get(f"{worker.url}/v1/recommend", params={"user_id": user}, timeout=10).json()
    return [item["item_id"] for item in answer["items"]]


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        pytest.param("SASL_PLAINTEXT", "PLAIN", marks=pytest.mark.long),
        pytest.param("SASL_SSL", "PLAIN", marks=pytest.mark.long),
        ("SASL_SSL", "SCRAM-SHA-512"),
        pytest.param("SSL", "", marks=pytest.mark.long),
    ],
)
def test_the_whole_way_is_secured(
    doors: dict[str, str], certificates: Certificates, tmp_path: Path, protocol: str, mechanism: str
) -> None:
    files = {"ca_file": str(certificates.ca)} if protocol.endswith("SSL") else {}
    files |= {"certificate_file": str(certificates.client)} if protocol == "SSL" else {}
    settings = settings_on(doors[protocol], security(protocol, mechanism, **files))
    create_topics(settings)
    the_whole_way(settings, tmp_path)


@pytest.mark.parametrize(
    ("protocol", "given", "named"),
    [
        ("SASL_PLAINTEXT", {"password": "42"}, rf"refuses the password of user '{USER}' \(PLAIN\)"),
        ("SASL_PLAINTEXT", {"mechanism": "SCRAM-SHA-256"}, r"does not offer SCRAM-SHA-256"),
        ("SASL_SSL", {"ca_file": "stranger"}, r"is not trusted .*kafka\.security\.ca_file"),
        ("SASL_SSL", {"protocol": "SASL_PLAINTEXT", "ca_file": ""}, r"kafka\.security\.protocol is SASL_PLAINTEXT"),
        ("SASL_PLAINTEXT", {"protocol": "SASL_SSL", "ca_file": "ca"}, r"does not speak TLS at this port"),
        ("SSL", {"certificate_file": ""}, r"refuses this client's certificate .*certificate_file"),
        ("SSL", {"certificate_file": "expired"}, r"refuses this client's certificate .*certificate_file"),
    ],
)
def test_whoever_is_refused_is_told_why_at_once(
    doors: dict[str, str], certificates: Certificates, protocol: str, given: dict[str, str], named: str
) -> None:
    files = {"ca_file": "ca"} if protocol.endswith("SSL") else {}
    files |= {"certificate_file": "client"} if protocol == "SSL" else {}
    wanted = security(protocol, **files) | given
    paths = {key: str(getattr(certificates, value)) if value else "" for key, value in wanted.items() if "_file" in key}
    began = time.monotonic()
    with pytest.raises(BrokerRefusedError, match=named) as refused:
        create_topics(settings_on(doors[protocol], wanted | paths))
    assert time.monotonic() - began < 10
    assert "\n" not in str(refused.value)


def test_a_broker_whose_certificate_has_expired_is_named(doors: dict[str, str], certificates: Certificates) -> None:
    settings = settings_on(doors["EXPIRED"], security("SASL_SSL", ca_file=str(certificates.ca)))
    with pytest.raises(RefusedError, match="has expired: renew it on the broker"):
        find_server(settings.kafka)


def test_a_client_without_security_is_told_of_the_section(doors: dict[str, str]) -> None:
    with pytest.raises(BrokerRefusedError, match=r"may expect TLS or SASL, set kafka\.security\.protocol"):
        create_topics(settings_on(doors["SASL_PLAINTEXT"], {}))
