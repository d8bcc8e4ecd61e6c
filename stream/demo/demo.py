"""Demo: the whole way on one machine, seen from outside, with measured times.

It starts `sidestream up` as anybody would, fills it with a stream, and then uses public ways only: publisher, HTTP,
topics. Its status is 0 only if everything that it announces was seen.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from store.security import trust
from store.settings import Settings, load_settings
from store.topics import ENGAGEMENTS, UPLOADS
from stream.client.client import Client, ClientError
from stream.client.publisher import Publisher
from stream.client.recordings import Recorded, paced
from stream.client.training_runs import TrainerSilentError
from stream.demo.acts import Click, Seen, Stage, click_and_compare, patient_client, publish_and_find, train_and_swap
from stream.demo.stream import DemoStream, Feed, recorded, simulated
from stream.terminal.output import span
from stream.terminal.status_view import show_status
from stream.terminal.text import json_line, styled

ABSORBED_S = 120.0
DEMO_SETTINGS = """\
# Nobody but the demonstration asks for training, and for no longer than people like to watch. After half a minute a
# model need not surely help a ranker, so here the models alone decide.
[training]
gate_examples = 1000000000
max_seconds = 30.0
every_s = 1e9
every_engagements = 1000000000
first_engagements = 1000000000
metrics_port = 0
"""


class DemoError(RuntimeError):
    """The demonstration could not go on: the message says which part, and where its log lies."""


Absorbed = Callable[[], tuple[dict[str, float], int]]


def run_demo(folder: Path | None, *, leave: bool, speed: float | None, data_dir: Path | None, as_json: bool) -> int:
    """Runs it; returns the exit status. `leave`: end the system afterwards instead of waiting for Ctrl-C."""
    console = Console(stderr=as_json, highlight=False, width=None if sys.stdout.isatty() else 120)
    stream = recorded(folder) if folder else simulated()
    began = time.time()
    with _folder(data_dir) as where, _system(where, console) as addresses:
        settings = load_settings(Path(addresses["settings"]), {})
        with patient_client(addresses["url"], settings) as client, Publisher(settings=settings) as publisher:
            _fill(console, partial(_absorbed, client, settings), publisher, stream, speed)
            with Feed(stream, lambda event: _publish(publisher, event)) as feed:
                seen = _play(console, Stage(settings, client, publisher, stream, feed, partial(_say, console, "  ")))
            if feed.error is not None:
                raise feed.error
            status = client.status()
        took_s = time.time() - began
        all_seen = all(each.seen for each in seen)
        if as_json:
            document = {"all_seen": all_seen, "took_s": took_s, "seen": [asdict(each) for each in seen]}
            print(json_line({**document, "status": status, "addresses": addresses}), flush=True)
        else:
            _show(console, stream, seen, status, took_s)
        if not leave:
            _stay(console, addresses)
    return 0 if all_seen else 1


# ---- the system ----


@contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="sidestream-demo-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def _system(where: Path, console: Console) -> Iterator[dict[str, Any]]:
    """`sidestream up` as a process, on free ports; its addresses once it can serve."""
    file = where / "demo.toml"
    file.write_text(DEMO_SETTINGS)
    command = [sys.executable, "-m", "stream.cli", "up", "--data-dir", str(where), "--settings", str(file)]
    process = subprocess.Popen(
        [*command, "--web-port", "0", "--broker-port", "0", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C comes here; the system is ended in order afterwards
    )
    try:
        with console.status("starting broker, worker and trainer"):
            began = time.time()
            addresses = _first_line(process, where)
        took = span(time.time() - began)
        _say(console, f"ready after {took}: page {addresses['url']}, Kafka {addresses['bootstrap_servers']}")
        yield addresses
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.stdout is not None
        process.stdout.close()


def _first_line(process: subprocess.Popen[bytes], where: Path) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()  # `up` gives up by itself in time, and closes
    try:
        addresses: dict[str, Any] = json.loads(line)
    except ValueError:
        raise DemoError(f"the system did not start: see {where / 'logs'}") from None
    if "url" not in addresses:
        raise DemoError(f"the system did not start: {addresses.get('error', addresses)}")
    return addresses


# ---- the stream ----


def _fill(console: Console, absorbed: Absorbed, publisher: Publisher, stream: DemoStream, speed: float | None) -> None:
    """Publishes the stream, and returns when the system has absorbed it."""
    wait_s = paced(speed)
    began = time.time()
    with console.status(styled(f"publishing the {stream.name}")) as shown:
        for number, event in enumerate(stream.history()):
            if speed:
                time.sleep(wait_s(event.at))
            _publish(publisher, event)
            if number % 2000 == 0:
                shown.update(styled(f"publishing the {stream.name}: {number:,} events"))
        publisher.flush(ABSORBED_S)
        published_s = time.time() - began
        _await_absorbed(absorbed, stream, lambda lag: shown.update(f"learning: {lag:,} records to go"))
    took_s = time.time() - began
    counts = stream.counts
    _say(
        console,
        f"{counts['uploads']:,} uploads and {counts['engagements']:,} engagements published in {span(published_s)}, "
        f"learned from after {span(took_s)} ({sum(counts.values()) / took_s:,.0f} events/s)",
    )


def _publish(publisher: Publisher, event: Recorded) -> None:
    publisher.publish(UPLOADS if event.topic == UPLOADS else ENGAGEMENTS, event.value)


def _await_absorbed(absorbed: Absorbed, stream: DemoStream, told: Any) -> None:
    deadline = time.time() + ABSORBED_S
    while time.time() < deadline:
        taken, lag = absorbed()
        if all(taken.get(topic, 0) >= count for topic, count in stream.counts.items()) and lag == 0:
            return
        told(lag)
        time.sleep(0.1)
    raise DemoError(
        f"the system did not absorb the stream within {ABSORBED_S:g} s "
        f"({taken} of {dict(stream.counts)}): see the worker's log"
    )


def _absorbed(client: Client, settings: Settings) -> tuple[dict[str, float], int]:
    """Events that the worker has taken or refused, by topic, from its metrics; and those that wait."""
    counts: dict[str, float] = {}
    lag = sum(int(each["events"]) for each in client.status()["lag"].values())
    told = httpx.get(f"{client.url}/metrics", timeout=10.0, verify=trust(settings.serving.tls)).text
    for family in text_string_to_metric_families(told):
        for sample in family.samples:
            if sample.name == "sidestream_events_total":
                topic = sample.labels["topic"]
                counts[topic] = counts.get(topic, 0.0) + sample.value
    return counts, lag


# ---- the acts ----


def _play(console: Console, stage: Stage) -> list[Seen]:
    seen: list[Seen] = []
    console.rule("1  an item is published, and recommended before anybody has touched it", align="left")
    seen += _shown(console, publish_and_find(stage))
    console.rule("2  a click changes the order", align="left")
    click = click_and_compare(stage)
    _show_click(console, stage.client, click)
    seen += _shown(console, [click.seen])
    console.rule("3  a model is trained, gated and exchanged while requests go on", align="left")
    stage.tell(f"serving until now: {stage.client.checkpoints()['serving'] or 'no model yet'}")
    try:
        seen += _shown(console, train_and_swap(stage))
    except TrainerSilentError as error:
        seen += _shown(console, [Seen("trigger → answering from the new checkpoint", False, None, str(error))])
    return seen


def _shown(console: Console, seen: list[Seen]) -> list[Seen]:
    for each in seen:
        mark = ("✓", "green") if each.seen else ("✗ not seen", "red")
        seconds = f"{span(each.seconds)}  " if each.seconds is not None else ""
        _say(console, mark, f" {each.what}  ", (seconds, "bold"), each.detail)
    return seen


def _say(console: Console, *parts: str | tuple[str, str]) -> None:
    console.print(styled(*parts))


def _show_click(console: Console, client: Client, click: Click) -> None:
    drawn = Table("before", "after", box=None, padding=(0, 2), header_style="bold")
    names = {item: _name(client, item) for item in {*click.before, *click.after}}
    for rank in range(max(len(click.before), len(click.after))):
        old, new = (items[rank] if rank < len(items) else "" for items in (click.before, click.after))
        clicked = old and old == click.item_id
        left = [(names[old], "reverse"), " ← click"] if clicked else [names.get(old, "")]
        was = click.before.index(new) + 1 if new in click.before else None
        change = ("new", "green") if was is None else ("" if was == rank + 1 else (f"was {was}", "yellow"))
        drawn.add_row(styled(f"{rank + 1:2} ", *left), styled(f"{rank + 1:2} {names.get(new, '')} ", change))
    console.print(drawn)


def _name(client: Client, item_id: str) -> str:
    try:
        return str(client.item(item_id).get("title") or item_id)[:50]
    except ClientError:
        return item_id


def _show(console: Console, stream: DemoStream, seen: list[Seen], status: dict[str, Any], took_s: float) -> None:
    console.rule("what was seen", align="left")
    drawn = Table("", "what", "after", "how", header_style="bold")
    for each in seen:
        drawn.add_row("✓" if each.seen else "✗", each.what, span(each.seconds), styled(each.detail))
    console.print(drawn)
    show_status(status)
    console.print(
        "the freshness above is of the last minutes, when the whole stream was published at once", style="dim"
    )
    good = all(each.seen for each in seen)
    verdict = ("everything was seen", "green") if good else ("not everything was seen", "red")
    _say(console, verdict, f" on the {stream.name}, {span(took_s)} in all")


def _stay(console: Console, addresses: dict[str, Any]) -> None:
    """Until Ctrl-C or SIGTERM."""
    _say(
        console,
        f"the system stays up: page {addresses['url']}, Kafka {addresses['bootstrap_servers']}, "
        f"data {addresses['data_dir']}",
    )
    _say(console, f"try: sidestream status --data-dir {addresses['data_dir']}; Ctrl-C ends it")
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: ended.append(n))
    while not ended:
        time.sleep(0.2)
