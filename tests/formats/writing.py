"""Records what this release writes: a small system runs, and what it leaves is packed into `releases/VERSION.zip`.

    python -m tests.formats.writing          # for a release, or where test_releases.py says that a format has changed

In the archive: `broker/` (the embedded broker's log), `data/` (a worker's rows, as RocksDB has them), `records.msgpack`
(topic → its records, as key and value), `checkpoint/manifest.json`, and `told.json`: what the worker answered of each
user and item, which the next release must answer, too. Archives of earlier releases stay as they are.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from store.checkpoints import (
    CHECKPOINT_KEY,
    RANKER_KEY,
    RUN_KEY,
    TRAIN_KEY,
    CheckpointRecord,
    LogRange,
    Manifest,
    RankerRecord,
    RunRecord,
    TrainRequest,
    seal,
)
from store.settings import Settings, settings_from
from store.topics import CHECKPOINTS, TOPIC_NAMES
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess, await_committed, read_topic
from tests.clusters import EmbeddedCluster
from tests.waiting import eventually

RELEASES = Path(__file__).parent / "releases"
USERS, ITEMS = 4, 8
OF_PROCESSES = ("LOG", "LOCK", "DAMAGED")
"""Begins the names of files that tell of a process, and of this machine's paths."""
AT_S = 1_700_000_000.0

Records = dict[str, list[tuple[bytes | None, bytes | None]]]


def settings_of(bootstrap_servers: str) -> Settings:
    """One partition; nothing is sent that the test does not send."""
    kafka = {"bootstrap_servers": bootstrap_servers, "partitions": 1}
    return settings_from({"kafka": kafka, "freshness": {"canary_s": 0.0}, "store": {"user_publish_interval_s": 0.2}})


def engage(settings: Settings) -> None:
    """Uploads with an edit and a take-down, engagements of every kind of entry, a profile, a user who is forgotten, and
    an event that is refused."""
    with Publisher(settings=settings) as publisher:
        for number in range(ITEMS):
            upload = {"item_id": f"item-{number}", "uploaded_at": AT_S, "title": f"Tale {number} of the red kite"}
            publisher.upload({**upload, "tags": ["birds"], "creator_id": "a-maker", "language": "en"})
        publisher.upload({"item_id": "item-1", "uploaded_at": AT_S, "title": "Edited"})
        publisher.take_down("item-7")
        publisher.flush(30)
        kinds = ("click", "watch", "like", "hide", "impression", "purchase")
        for number in range(USERS * 6):
            event = {"event_id": f"event-{number}", "user_id": f"user-{number % USERS}", "kind": kinds[number % 6]}
            value = {"value": 0.5} if event["kind"] == "watch" else {}
            publisher.engagement({**event, **value, "item_id": f"item-{number % 7}", "occurred_at": AT_S + number})
        publisher.profile({"user_id": "user-0", "updated_at": AT_S, "attributes": {"city": "Oslo", "age": 40.0}})
        publisher.flush(30)
        publisher.forget("user-3")
        publisher.send("engagements", "user-0", b'{"event_id": "no-item"}')
        publisher.flush(30)


def told_by(worker: WorkerProcess) -> dict[str, Any]:
    """What it answers of each user and item, without what changes with the clock."""
    users = {user: worker.get(f"/v1/users/{user}").json() for user in (f"user-{n}" for n in range(USERS))}
    items = {item: worker.get(f"/v1/items/{item}").json() for item in (f"item-{n}" for n in range(ITEMS))}
    return {"users": users, "items": items}


def _checkpoint(folder: Path) -> list[tuple[bytes, bytes]]:
    """A manifest, and one record of each kind on `checkpoints`."""
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    ranges = {"engagements/0": LogRange(0, 24)}
    name = "20231114T221320-0001"
    manifest = Manifest(checkpoint=name, parent=None, codebook="c", created_at=AT_S, log=ranges, verdict="passed")
    more = {"metrics": {"hits": 0.25}, "reasons": ["r"], "form": {"width": 32}, "lineage": name}
    seal(folder, msgspec.structs.replace(manifest, **more))
    offer = CheckpointRecord(checkpoint=name, parent=None, location="x", verdict="passed", published_at=AT_S)
    offer = msgspec.structs.replace(offer, codebook="c", data_until=AT_S, reasons=["r"])
    run = RunRecord(run="r", state="published", at=AT_S, checkpoint=name, detail="d", churn=[0.5])
    train = TrainRequest(requested_at=AT_S, run="r", codebook="refresh")
    ranker = RankerRecord(ranker="k", location="y", published_at=AT_S)
    pairs = {CHECKPOINT_KEY: offer, RUN_KEY: run, TRAIN_KEY: train, RANKER_KEY: ranker}
    return [(key, msgspec.json.encode(record)) for key, record in pairs.items()]


def write(folder: Path, release: str) -> Path:
    """Runs the system in `folder`; returns the archive."""
    cluster = EmbeddedCluster(folder / "of-broker")
    cluster.start()
    settings = settings_of(cluster.bootstrap_servers)
    create_topics(settings)
    worker = WorkerProcess(settings, folder / "worker", data_dir=folder / "data")
    worker.start()
    worker.await_ready()
    engage(settings)
    await_committed(settings)
    eventually(lambda: worker.get("/v1/users/user-3").status_code == 404)
    time.sleep(2.0)  # what is published at intervals
    told = told_by(worker)
    assert worker.stop() == 0
    records: Records = {name: read_topic(settings, name, 0) for name in TOPIC_NAMES}
    records[CHECKPOINTS] = [*_checkpoint(folder / "checkpoint")]
    cluster.stop()
    shutil.move(folder / "of-broker/data", folder / "broker")
    (folder / "checkpoint/model.bin").unlink()
    (folder / "records.msgpack").write_bytes(msgspec.msgpack.encode(records))
    (folder / "told.json").write_text(json.dumps(told, indent=1))
    return _packed(folder, RELEASES / f"{release}.zip")


def _packed(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in ("broker", "data", "checkpoint", "records.msgpack", "told.json"):
            place = folder / name
            for file in sorted([place, *place.rglob("*")]):
                if file.is_file() and not file.name.startswith(OF_PROCESSES):
                    packed.write(file, file.relative_to(folder))
    return archive


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        archive = write(Path(folder), version("sidestream"))
    print(f"{archive}: {archive.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
