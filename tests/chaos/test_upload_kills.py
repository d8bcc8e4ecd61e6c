"""A worker dies at each boundary of an uploads partition, under uploads, edits and take-downs: in the end each item is
as its last upload says, or down."""

from __future__ import annotations

import random
import threading
import time
from itertools import product
from pathlib import Path

import msgspec
import pytest

from store.items import ItemCard
from store.settings import Settings
from stream.client.publisher import Publisher
from tests.chaos.load import settings_on
from tests.chaos.workers import WorkerProcess, read_topic
from tests.lengths import LONG
from tests.waiting import PATIENCE_S, eventually

POINTS = ["uploads_restored", "uploads_written", "cards_sent"]
USUAL = ("uploads_written", "kept")
"""Where every run of the suite dies, and the disk after it."""
PASSED = (1, 3) if LONG else (3,)
"""Which time it dies there; it is started again after each."""
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


class Uploads(threading.Thread):
    """Uploads, edits and takes down 60 items until told to end; `titles` says what each is in the end, None is down."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.titles: dict[str, str | None] = {}
        self._settings = settings
        self._ended = threading.Event()
        self._chance = random.Random(3)

    def run(self) -> None:
        number = 0
        with Publisher(settings=self._settings) as publisher:
            while not self._ended.is_set():
                number += 1
                self._change(publisher, f"item-{self._chance.randrange(60)}", f"Edit {number}")
                time.sleep(0.005)
            publisher.flush(30)

    def end(self) -> None:
        self._ended.set()
        self.join(60)

    def _change(self, publisher: Publisher, item: str, title: str) -> None:
        if self._chance.random() < 0.2:
            publisher.take_down(item)
            self.titles[item] = None
        else:
            publisher.upload({"item_id": item, "uploaded_at": 1.6e9, "title": title})
            self.titles[item] = title


def titles_of_cards(settings: Settings) -> dict[str, str]:
    """Of each item that is live, as a reader of `semantic-ids` ends."""
    found: dict[str, str] = {}
    for partition in range(settings.kafka.partitions):
        for key, value in read_topic(settings, "semantic-ids", partition):
            assert key is not None
            found.pop(key.decode(), None)
            if value is not None:
                found[key.decode()] = msgspec.json.decode(value, type=ItemCard).title
    return found


@pytest.mark.parametrize(
    ("point", "disk"),
    [
        each if each == USUAL else pytest.param(*each, marks=pytest.mark.long)
        for each in product(POINTS, ["kept", "lost"])
    ],
)
def test_items_are_as_their_last_upload_says(embedded_broker, tmp_path: Path, point: str, disk: str) -> None:
    settings = settings_on(embedded_broker)
    first, second = (WorkerProcess(settings, tmp_path / name) for name in ("first", "second"))
    last = first if disk == "kept" else second
    uploads = Uploads(settings)
    uploads.start()
    try:
        for count in PASSED:
            first.start(SIDESTREAM_FAULT=f"{point}:{count}")
            assert first.process is not None
            assert first.process.wait(PATIENCE_S) == -9
        uploads.end()
        last.start()
        last.await_ready()
        wanted = {item: title for item, title in uploads.titles.items() if title is not None}
        eventually(lambda: titles_of_cards(settings) == wanted)
        assert len(uploads.titles) > len(wanted) > 20
    finally:
        uploads.end()
        for worker in (first, second):
            worker.remove()
