"""`sidestream up` killed and started again on its folder: it goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidestream import Client, Publisher
from store.settings import load_settings

ROOT = Path(__file__).parents[2]


@contextmanager
def up(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A system in a process of its own, ready."""
    command = [sys.executable, "-m", "stream.cli", "up", "--data-dir", str(folder), "--json"]
    first = [] if (folder / "addresses.json").exists() else ["--web-port", "0", "--broker-port", "0"]
    process = subprocess.Popen([*command, *first], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / "logs" / "worker.log").read_text()[-2000:]
        yield process, json.loads(line)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        process.stdout.close()


def sidestream(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(150)
def test_killed_and_started_again_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIDESTREAM_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    now = time.time()
    with up(tmp_path) as (process, addresses):
        with Publisher(settings=load_settings(Path(addresses["settings"]), {})) as publisher:
            for number in range(5):
                publisher.upload({"item_id": f"i{number}", "uploaded_at": now, "title": f"Film number {number}"})
            publisher.flush()
            for number in range(3):
                act = {"event_id": f"e{number}", "user_id": "ada", "item_id": f"i{number}", "kind": "click"}
                publisher.engagement({**act, "occurred_at": now})
        with Client(addresses["url"]) as client:
            before = settled(client)
        status = sidestream("status", "--data-dir", str(tmp_path), "--json")
        assert json.loads(status.stdout)["live_items"] == 5, status
        asked = sidestream("recommend", "--user", "ada", "--data-dir", str(tmp_path), "--json")
        assert {item["item_id"] for item in json.loads(asked.stdout)["items"]} == {"i3", "i4"}
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        gone = sidestream("status", "--data-dir", str(tmp_path))
        assert (gone.returncode, "has ended" in gone.stderr) == (1, True)
    with up(tmp_path) as (process, again):
        assert again["url"] == addresses["url"], "an application would have to be told"
        with Client(again["url"]) as client:
            assert settled(client) == before
            with Publisher(settings=load_settings(Path(again["settings"]), {})) as publisher:
                publisher.take_down("i3")
            end = time.monotonic() + 10
            while len(client.recommend("ada").items) > 1 and time.monotonic() < end:
                time.sleep(0.05)
            assert [item.item_id for item in client.recommend("ada").items] == ["i4"]
        process.terminate()
        assert process.wait(30) == 0
    assert "pid" in json.loads((tmp_path / "addresses.json").read_text())


def settled(client: Client) -> dict[str, Any]:
    """Counters and history once all three clicks have arrived."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            counters = {f"i{number}": client.item(f"i{number}")["counters"] for number in range(5)}
            history = client.user("ada")["history"]
        except LookupError:
            time.sleep(0.05)
            continue
        if sum(count.get("click", 0) for count in counters.values()) == 3 and len(history) == 3:
            return {"counters": counters, "history": history}
        time.sleep(0.05)
    raise AssertionError("the clicks did not arrive")
