"""The desk: levers on a real log with real folders, refused when it is not as the person saw it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from store.checkpoints import CHECKPOINT_KEY, CheckpointFolder, CheckpointRecord, Manifest, decode_record, seal
from store.requests import DeskError
from store.settings import Settings, settings_from
from store.topics import CHECKPOINTS
from stream.kafka.topics import create_topics
from stream.serving.desk.desk import MOST_WAITING, WorkerDesk
from stream.serving.desk.lineage import Lineage
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic
from trainer.model_bundle import NO_CHECKPOINT


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    kafka = {"bootstrap_servers": embedded_broker.bootstrap_servers, "topic_prefix": "levers.", "partitions": 1}
    folder = tmp_path_factory.mktemp("checkpoints")
    settings = settings_from({"kafka": kafka, "checkpoint_dir": str(folder)})
    create_topics(settings)
    manifest = Manifest(
        checkpoint="c2",
        parent="c1",
        codebook="v0",
        created_at=1.0,
        verdict="refused",
        metrics={"popular.all.hr@10": 0.1},
    )
    with CheckpointFolder(folder).writing("c2") as where:
        seal(where, manifest)
    return settings


@pytest.fixture
def desk(settings: Settings) -> Iterator[WorkerDesk]:
    """Nothing serves yet: of a scorer a lever needs only which checkpoint that is."""
    lineage = Lineage()
    for checkpoint in ("c2", "gone"):
        record = CheckpointRecord(
            checkpoint=checkpoint, parent="c1", location=f"nowhere/{checkpoint}", verdict="refused", published_at=1.0
        )
        lineage.on_record(CHECKPOINT_KEY, msgspec.json.encode(record))
    scorer: Any = SimpleNamespace(serving=SimpleNamespace(checkpoint=NO_CHECKPOINT), swaps=SimpleNamespace(note=""))
    desk = WorkerDesk(settings, scorer=scorer, lineage=lineage, owners=SimpleNamespace())  # type: ignore[arg-type]
    yield desk
    desk.close()


def refusal(act: Awaitable[Any]) -> DeskError:
    async def main() -> DeskError:
        with pytest.raises(DeskError) as refused:
            await act
        return refused.value

    return asyncio.run(main())


def test_a_lever_is_a_record_on_the_log(desk: WorkerDesk, settings: Settings) -> None:
    asyncio.run(desk.pull("promote", "c2", None))
    record = [decode_record(each.key, each.value) for each in read_topic(settings, CHECKPOINTS)][-1]
    assert isinstance(record, CheckpointRecord)
    assert (record.action, record.checkpoint, record.verdict) == ("promote", "c2", "promoted")
    assert record.location == str((settings.checkpoint_folder() / "c2").resolve())


def test_it_is_refused_when_it_is_not_as_the_person_saw_it(desk: WorkerDesk, settings: Settings) -> None:
    before = len(read_topic(settings, CHECKPOINTS))
    assert refusal(desk.pull("promote", "c2", "c1")).conflict
    assert refusal(desk.pull("promote", "../c2", None)).conflict
    assert "checkpoints list" in str(refusal(desk.pull("promote", "gone", None)))
    assert len(read_topic(settings, CHECKPOINTS)) == before


def test_details_are_the_manifests_and_a_lost_folder_is_said(desk: WorkerDesk) -> None:
    about = asyncio.run(desk.checkpoint("c2"))  # type: ignore[arg-type,var-annotated]
    assert (about["metrics"], about["verdict"]) == ({"popular.all.hr@10": 0.1}, "refused")
    assert asyncio.run(desk.checkpoint("never")) is None  # type: ignore[arg-type,func-returns-value]
    assert "no checkpoint in" in str(refusal(desk.checkpoint("gone")))
    assert [each["checkpoint"] for each in desk.lineage()["checkpoints"]] == ["c2", "gone"]


def test_a_manifest_that_is_no_file_stops_nothing(desk: WorkerDesk, settings: Settings, tmp_path: Path) -> None:
    folder = settings.checkpoint_folder() / "gone"
    (folder / "manifest.json").mkdir(parents=True)
    try:
        assert "no manifest" in str(refusal(desk.checkpoint("gone")))
    finally:
        (folder / "manifest.json").rmdir()
        folder.rmdir()


def test_few_wait_for_the_thread(desk: WorkerDesk) -> None:
    async def main() -> None:
        held = threading.Event()
        work: Callable[[], bool] = lambda: held.wait(10)  # noqa: E731
        waiting = [asyncio.ensure_future(desk._apart(work)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0.05)
        with pytest.raises(DeskError, match="come again"):
            await desk.letters()
        held.set()
        assert all(await asyncio.gather(*waiting))

    asyncio.run(main())


def test_without_a_broker_a_lever_says_so(settings: Settings) -> None:
    kafka = {"bootstrap_servers": "127.0.0.1:1", "connect_timeout_s": 0.5}
    away = settings_from({"kafka": kafka, "checkpoint_dir": str(settings.checkpoint_folder())})
    lineage = Lineage()
    record = CheckpointRecord(checkpoint="c2", parent=None, location="", verdict="passed", published_at=1.0)
    lineage.on_record(CHECKPOINT_KEY, msgspec.json.encode(record))
    scorer: Any = SimpleNamespace(serving=SimpleNamespace(checkpoint="c1"), swaps=SimpleNamespace(note=""))
    desk = WorkerDesk(away, scorer=scorer, lineage=lineage, owners=SimpleNamespace())  # type: ignore[arg-type]
    assert "no Kafka broker" in str(refusal(desk.pull("rollback", "c2", "c1")))
    desk.close()
