"""Access: what a user may not do is told at once, all of it, before a process starts; no more is needed than that."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType

from store import topics
from store.settings import Settings, settings_from
from stream.canaries import Canaries
from stream.client.publisher import Publisher
from stream.kafka.access import TRAINER, WORKER, WORKERS, check_access, check_worker
from stream.kafka.connections import BrokerRefusedError
from stream.kafka.topics import TopicsError, create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import HOST, EmbeddedCluster, KafkaCluster, why_no_kafka
from tests.secured import INTERNAL, USER, Door, secured_cluster, security
from tests.stream import log
from tests.stream.test_secured import eventually, settings_on, the_whole_way

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def restricted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Real Kafka where a user may do what ACLs allow, and nothing else."""
    reason = why_no_kafka()
    if reason:
        pytest.skip(reason)
    cluster = secured_cluster(tmp_path_factory.mktemp("kafka") / "kafka", {"DOOR": Door("SASL_PLAINTEXT")}, acls=True)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def settings(restricted: KafkaCluster) -> Settings:
    """Of that user, with topics that an administrator has made."""
    made = settings_on(restricted.bootstrap_servers, security("SASL_PLAINTEXT"))
    with pytest.raises(TopicsError, match="TopicAuthorizationFailed"):
        create_topics(made)
    create_topics(settings_from({"kafka": {**inside(restricted), "topic_prefix": made.kafka.topic_prefix}}))
    return made


def inside(cluster: KafkaCluster) -> dict[str, Any]:
    return {"bootstrap_servers": f"{HOST}:{cluster.doors[INTERNAL]}", "partitions": 1}


def allow(
    cluster: KafkaCluster,
    kind: ResourceType,
    name: str,
    operation: ACLOperation,
    permission: ACLPermissionType = ACLPermissionType.ALLOW,
) -> None:
    pattern = ResourcePattern(kind, name, ACLResourcePatternType.PREFIXED)
    admin = KafkaAdminClient(bootstrap_servers=f"{HOST}:{cluster.doors[INTERNAL]}")
    admin.create_acls([ACL(f"User:{USER}", "*", operation, permission, pattern)])
    admin.close()


def lacks(settings: Settings, **asked: Any) -> str:
    """What a worker lacks: empty if nothing."""
    try:
        check_access(settings, WORKER, **asked)
    except BrokerRefusedError as error:
        return str(error)
    return ""


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_user_whom_acls_restrict_needs_no_more_than_is_documented(
    restricted: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    prefix, group = settings.kafka.topic_prefix, settings.kafka.group
    refused = pytest.raises(BrokerRefusedError, match=rf"user '{USER}' lacks access .*uploads.*docs/security\.md")
    with Publisher(settings=settings) as publisher, refused:
        publisher.upload({"item_id": "v1", "uploaded_at": 1.0})
    allow(restricted, ResourceType.TOPIC, prefix, ACLOperation.READ)
    eventually(lambda: "READ and WRITE" not in lacks(settings) and f"lacks WRITE on {prefix}" in lacks(settings))
    told = lacks(settings, group=group)
    assert told.startswith(f"user '{USER}' lacks WRITE on {prefix}checkpoints, {prefix}dead-letters, ")
    assert f"{prefix}recommend-requests" not in told, "a worker only reads them"
    assert f"; READ on the group {group}: add the ACLs of docs/security.md" in told
    check_access(settings, dict.fromkeys(TRAINER, ("READ",)))
    allow(restricted, ResourceType.TOPIC, prefix, ACLOperation.WRITE)
    eventually(lambda: lacks(settings) == "")
    assert f"lacks READ on the group {group}" in lacks(settings, group=group)
    allow(restricted, ResourceType.GROUP, group, ACLOperation.READ)
    eventually(lambda: lacks(settings, group=group) == "")
    the_whole_way(settings, tmp_path)
    asyncio.run(canaries_without_a_right(restricted, settings))


async def canaries_without_a_right(cluster: KafkaCluster, settings: Settings) -> None:
    """Lost while a worker runs: counted, and the way is not known; whatever else runs goes on."""
    metrics = Metrics(freshness=settings.freshness)
    for result, permission in (("sent", ACLPermissionType.ALLOW), ("failed", ACLPermissionType.DENY)):
        name = settings.topic("uploads")
        await asyncio.to_thread(allow, cluster, ResourceType.TOPIC, name, ACLOperation.WRITE, permission)
        task = asyncio.create_task(Canaries(settings, metrics, lambda _: {0}).run())
        counted = {"topic": "uploads", "result": result}
        async with asyncio.timeout(30):
            while not metrics.registry.get_sample_value("sidestream_canaries_total", counted):
                await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert metrics.canaries.missing()["upload_to_semantic_id"] == 1


def test_a_broker_without_acls_refuses_nothing(embedded_broker: EmbeddedCluster) -> None:
    settings = log.settings_on(embedded_broker.bootstrap_servers, "access.")
    check_access(settings, WORKER, group="one that nobody has joined")  # of topics that do not exist, either
    create_topics(settings)
    check_access(settings, WORKER, group="access")
    check_access(settings, TRAINER)
    for role in WORKERS:
        check_worker(msgspec.structs.replace(settings, role=role))


def test_a_worker_of_a_role_asks_for_no_more_than_that_takes() -> None:
    assert set(WORKERS["ingest"]) == set(WORKER)
    assert WORKERS["ingest"][topics.CHECKPOINTS] == ("READ",), "it rolls nothing back"
    reads = {name for name, operations in WORKERS["serve"].items() if "READ" in operations}
    assert not reads & {topics.UPLOADS, topics.ENGAGEMENTS, topics.PROFILES, topics.ITEM_SIGNALS}


def test_each_process_asks_for_every_topic_that_it_uses() -> None:
    """One that is not in its table would be refused in the middle of work; for one too many it would not start."""
    assert set(WORKER) == set(topics.TOPIC_NAMES)
    assert imported_topics(ROOT / "trainer") == set(TRAINER)


def imported_topics(package: Path) -> set[str]:
    """The topics that the package's modules import by their constants: the only way to name one."""
    texts = [text for module in package.rglob("*.py") if "store.topics" in (text := module.read_text("utf-8"))]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    asked = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "store.topics"]
    values = [getattr(topics, name.name) for node in asked for name in node.names]
    return {value for value in values if isinstance(value, str)}
