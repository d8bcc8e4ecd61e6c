"""`sidestream up`: killed and started again it goes on; it owns its folder and ports, and nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sidestream import Client, Publisher
from store.settings import Settings, load_settings
from stream.up import supervisor
from stream.up.child import Child
from tests.waiting import PATIENCE_S, eventually

ROOT = Path(__file__).parents[3]


@contextmanager
def up(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A system in a process of its own, ready."""
    command = [sys.executable, "-m", "stream.cli", "up", "--data-dir", str(folder), "--json", *arguments]
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
            process.wait(PATIENCE_S)
        process.stdout.close()


def sidestream(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIDESTREAM_") and "TEST" not in name]:
        monkeypatch.delenv(name)


@pytest.mark.timeout(600)
def test_killed_and_started_again_it_goes_on(tmp_path: Path) -> None:
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
        process.wait(PATIENCE_S)
        gone = sidestream("status", "--data-dir", str(tmp_path))
        assert (gone.returncode, "has ended" in gone.stderr) == (1, True)
    with up(tmp_path) as (process, again):
        assert again["url"] == addresses["url"], "an application would have to be told"
        with Client(again["url"]) as client:
            assert settled(client) == before
            with Publisher(settings=load_settings(Path(again["settings"]), {})) as publisher:
                publisher.take_down("i3")
            eventually(lambda: [item.item_id for item in client.recommend("ada").items] == ["i4"])
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert "pid" in json.loads((tmp_path / "addresses.json").read_text())


def settled(client: Client) -> dict[str, Any]:
    """Counters and history once all three clicks have arrived."""

    def arrived() -> dict[str, Any] | None:
        try:
            counters = {f"i{number}": client.item(f"i{number}")["counters"] for number in range(5)}
            history = client.user("ada")["history"]
        except LookupError:
            return None
        clicks = sum(count.get("click", 0) for count in counters.values())
        return {"counters": counters, "history": history} if clicks == len(history) == 3 else None

    found: dict[str, Any] = eventually(arrived)
    return found


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_systems_side_by_side_and_never_one_folder_twice(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with up(one) as (process, first):
        pids = first["pids"]
        again = sidestream("up", "--data-dir", str(one), "--web-port", "0", "--broker-port", "0")
        assert again.returncode == 1
        why = f"a system is already running on {one}, pid {process.pid}: stop it, or give another --data-dir"
        assert again.stderr == f"sidestream: {why}\n"
        taken = sidestream("up", "--data-dir", str(two), "--web-port", first["url"].rpartition(":")[2])
        assert taken.returncode == 1
        assert taken.stderr.count("\n") == 1, taken.stderr
        assert f"is in use by pid {pids['worker']}: give another --web-port" in taken.stderr
        broker = sidestream(
            "up", "--data-dir", str(two), "--broker-port", first["bootstrap_servers"].rpartition(":")[2]
        )
        assert (broker.returncode, "is taken" in broker.stderr) == (1, True)
        for role in ("worker", "trainer"):
            beside = sidestream(role, "--settings", first["settings"])
            assert beside.returncode == 1
            assert f"a {role} is already running on {one}, pid {pids[role]}: " in beside.stderr
        with up(two, "--web-port", "0", "--broker-port", "0") as (_, second):
            assert {*first["metrics"].values()}.isdisjoint(second["metrics"].values())
            for face in (*first["metrics"].values(), *second["metrics"].values()):
                assert scraped(face)
        told = sidestream("status", "--data-dir", str(one))
        assert f"metrics of the trainer: {first['metrics']['trainer']}" in told.stdout
        assert process.poll() is None
        assert json.loads((one / "addresses.json").read_text())["pids"] == pids, "a part was started again"


def scraped(url: str, within_s: float = PATIENCE_S) -> bool:
    """Whether the metrics are to be had; a trainer loads torch before it serves them."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            return "sidestream_" in httpx.get(url, timeout=5.0).text
        except httpx.HTTPError:
            time.sleep(0.2)
    return False


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_stranger_with_a_process_id_of_old_is_left_alone(tmp_path: Path) -> None:
    """The ids that a killed system wrote down belong to somebody else now, even to a sidestream of another folder."""
    script = "import time; time.sleep(600)  # stream.broker"
    stranger = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "broker")])
    try:
        mark = {"pid": stranger.pid, "started": "another boot/1"}
        left = {"pid": 1, "pids": {"worker": stranger.pid}, "processes": {"worker": mark}}
        (tmp_path / "addresses.json").write_text(json.dumps(left))
        with up(tmp_path, "--web-port", "0", "--broker-port", "0"):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_it_outlives_what_it_cannot_write(tmp_path: Path) -> None:
    """Addresses on a full disk, a log that is a folder: told, and done without."""
    (tmp_path / "logs" / "trainer.log").mkdir(parents=True)
    (tmp_path / "addresses.json.new").symlink_to("/dev/full")
    with up(tmp_path, "--web-port", "0", "--broker-port", "0") as (process, addresses):
        os.kill(addresses["pids"]["worker"], signal.SIGKILL)
        with Client(addresses["url"]) as client:
            client.wait_until_ready(PATIENCE_S)
        assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_that_start_at_once_take_different_ports(tmp_path: Path) -> None:
    """Each looks at the usual ports before the other has bound them."""
    command = [sys.executable, "-m", "stream.cli", "up", "--json", "--data-dir"]
    both = [
        subprocess.Popen([*command, str(tmp_path / name)], cwd=ROOT, stdout=subprocess.PIPE) for name in ("one", "two")
    ]
    try:
        lines = [process.stdout.readline() for process in both if process.stdout is not None]
        end = time.monotonic() + PATIENCE_S
        while True:
            found = [json.loads((tmp_path / name / "addresses.json").read_text()) for name in ("one", "two")]
            places = [place for each in found for place in (each["bootstrap_servers"], *each["metrics"].values())]
            if len(set(places)) == 6 and all(map(scraped, (place for place in places if place.startswith("http")))):
                break
            assert time.monotonic() < end, places
        assert [json.loads(line)["url"] for line in lines] == [each["url"] for each in found]
    finally:
        for process in both:
            process.terminate()
        for process in both:
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=PATIENCE_S)
            process.kill()  # nothing, where it has ended
            process.communicate()


def test_a_part_that_lives_is_waited_for_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that reads its rows back takes as long as it takes; one that ended is not waited for."""
    told: list[str] = []
    monkeypatch.setattr(supervisor, "TELL_EVERY_S", 0.0)
    monkeypatch.setattr(supervisor, "tell", told.append)
    monkeypatch.setattr(supervisor, "listens", lambda pid, port: True)
    settings = msgspec.structs.replace(Settings(), data_dir=str(tmp_path))
    system = supervisor.Supervisor(settings, web_port=0, broker_port=0, embedded=False)
    part = Child("worker", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "worker.log", told.append)
    system.children.append(part)
    part.start()
    try:
        system._await(part, 0, lambda: len(told) > 2)
        assert "the worker is still starting" in told[-1]
        part.stop()
        with pytest.raises(supervisor.StartError, match="the worker did not start"):
            system._await(part, 0, lambda: False)
    finally:
        part.stop()
