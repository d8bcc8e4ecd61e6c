"""Answering without absorbing: copies are followed of every partition, and forgotten with their user."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from store.log import Forgotten
from stream.worker import Worker
from tests.stream.log import settings_on
from tests.stream.serving.reading.test_item_rows import record


def test_copies_are_of_everybody_and_go_with_their_user(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings_on("127.0.0.1:1", "x."), role="serve", data_dir=str(tmp_path))
    worker: Any = Worker(settings)
    answering = worker._answering
    worker.scorer.owner_urls[0] = "http://a"
    answering._own_url = lambda: "http://me"
    assert answering._without_copies() == set()
    one = Forgotten(user_id="u", offset=3, forgotten_at_ms=5)
    worker._on_forgotten(record(one.key().decode(), one.encode()))
    assert worker.scorer.forgotten_at_ms("u") == 5
    assert answering._standby._lives == {"u": 3}
    asked = answering.work(asyncio.Event())
    assert list(asked) == ["standby"]
    asked["standby"].close()
    answering.close()
    worker.scorer.close()
