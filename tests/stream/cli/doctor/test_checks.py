"""The doctor's checks: what each finds wrong, one at a time, and that looking changes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from store.files.folder_lock import FolderLock
from store.schemas.registry import RegistryDeniedError
from store.settings import Registry, Settings
from stream.cli.doctor import checks
from stream.cli.doctor.checks import CHECKS, NotWellError, examine
from stream.kafka.connections import admin_client
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster, KafkaCluster, free_ports
from tests.store.schemas.registry_stub import RegistryStub, running
from tests.stream.log import settings_on
from tests.waiting import eventually


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster, tmp_path: Path) -> Settings:
    prefix = f"doctor-{time.monotonic_ns()}."
    made = settings_on(cluster.bootstrap_servers, prefix, kafka={"partitions": 2}, data_dir=str(tmp_path / "data"))
    create_topics(made)
    return made


def alter(settings: Settings, topic: str, **configs: str) -> None:
    named = {key.replace("_", "."): value for key, value in configs.items()}
    with admin_client(settings) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(topic), configs=named)])
    eventually(lambda: named.items() <= checks._configs(settings, topic).items())  # brokers hear of it a moment later


def test_all_is_well(settings: Settings) -> None:
    found = examine(settings)
    assert [each.check for each in found] == list(CHECKS)
    assert not [each for each in found if not each.ok and each.check != "disk"]  # of the machine that runs this
    assert not Path(settings.data_dir).exists()


def test_a_registry_is_asked_where_one_is_named(settings: Settings) -> None:
    assert "no schema registry is named" in checks.schemas(settings)
    with running(RegistryStub()) as stub:
        kafka = msgspec.structs.replace(settings.kafka, registry=Registry(url=stub.url))
        named = msgspec.structs.replace(settings, kafka=kafka)
        assert "answers" in checks.schemas(named)
        stub.status = 401
        with pytest.raises(RegistryDeniedError, match="answers 401"):
            checks.schemas(named)


def test_retention_and_compaction_that_lose_something(settings: Settings) -> None:
    alter(settings, "engagements", retention_ms="60000", cleanup_policy="delete")
    alter(settings, "item-states", cleanup_policy="delete")
    with pytest.raises(NotWellError, match=r"engagements keeps 0.0 h, and training needs 24 h: raise retention.ms"):
        checks.retention(settings)
    with pytest.raises(NotWellError, match=r"item-states has cleanup.policy delete, not compact"):
        checks.compaction(settings)


def test_a_folder_that_somebody_holds_is_told(settings: Settings) -> None:
    assert "not there yet" in checks.folder_locks(settings)
    with FolderLock(Path(settings.data_dir), "worker"):
        assert "worker is held by pid" in checks.folder_locks(settings)
    assert "nobody holds" in checks.folder_locks(settings)


def test_what_cannot_be_looked_at_is_not_well(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    away = settings_on(f"127.0.0.1:{port}", "away.", data_dir=str(tmp_path))
    found = {each.check: each for each in examine(away)}
    wrong = {name for name, each in found.items() if not each.ok} - {"disk"}
    assert wrong == {*CHECKS} - {"disk", "folder locks", "schemas"}  # no registry is named
    assert f"no connection to 127.0.0.1:{port}" in found["brokers"].told
    assert all(each.told for each in found.values())


def test_other_counts_and_missing_topics(settings: Settings) -> None:
    other = settings_on(settings.kafka.bootstrap_servers, settings.kafka.topic_prefix, kafka={"partitions": 16})
    with pytest.raises(NotWellError, match=r"kafka.partitions is 16"):
        checks.partitions(other)
    missing = settings_on(settings.kafka.bootstrap_servers, "nowhere.")
    found = {each.check: each for each in examine(missing)}
    assert "sidestream topics create" in found["topics"].told


def test_a_clock_that_is_behind_the_brokers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from stream.client.publisher import Publisher

    assert "nothing was published" in checks.clocks(settings)
    with Publisher(settings=settings, framing=None) as publisher:
        publisher.upload({"item_id": "i", "uploaded_at": 1.0, "title": "t"})
    assert "not behind" in checks.clocks(settings)
    now_s = time.time()
    monkeypatch.setattr(checks.time, "time", lambda: now_s - 60)
    with pytest.raises(NotWellError, match="ahead of this machine: set its clock"):
        checks.clocks(settings)
