"""One trace of an upload and one of an engagement, taken from running processes and drawn.

    python -m bench.traced docs/images/trace.svg

Starts an embedded broker, two workers and a collector, publishes an item and a click on it, each in a span, the way
to the user's owner and the way to the item's being those of different workers, and draws what the collector was sent.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple

import httpx
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, format_trace_id

from store.keys import partition_of
from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster
from tests.stream.tracing.collector import Collector, Seen, collecting
from tests.waiting import eventually

ROW, NAME_WIDTH, BARS_WIDTH, MARGIN = 24, 190, 560, 16
COLOURS = ("#6b7280", "#2563eb", "#d97706")
"""Of the publisher and the workers: told apart by lightness, too."""


class Picture(NamedTuple):
    """A trace with its heading."""

    heading: str
    spans: list[Seen]


@contextmanager
def system(folder: Path) -> Iterator[tuple[Settings, list[WorkerProcess], Collector]]:
    with ExitStack() as stack:
        collector, url = stack.enter_context(collecting())
        broker = EmbeddedCluster(folder / "broker")
        broker.start()
        stack.callback(broker.stop)
        settings = settings_from(
            {
                "kafka": {"bootstrap_servers": broker.bootstrap_servers, "partitions": 2},
                "tracing": {"endpoint": url, "sample_share": 1.0},
            }
        )
        create_topics(settings)
        workers = [WorkerProcess(settings, folder / f"worker-{number}") for number in range(2)]
        for worker in workers:
            worker.start()
            stack.callback(worker.stop)
        for worker in workers:
            worker.await_ready()
        yield settings, workers, collector


def taken(folder: Path) -> list[Picture]:
    """The two traces; the first events of a process, which warm it up, are others."""
    item_id = next(f"i{n}" for n in range(99) if partition_of(f"i{n}", 2) == 0)
    user_id = next(f"u{n}" for n in range(99) if partition_of(f"u{n}", 2) == 1)
    tracer = TracerProvider().get_tracer("application")
    with system(folder) as (settings, workers, collector), Publisher(settings=settings) as publisher:
        time.sleep(5.0)  # both have their partitions by then
        for name in ("warm", item_id):
            with tracer.start_as_current_span("request") as uploaded:
                publisher.upload({"item_id": name, "uploaded_at": time.time(), "title": "Garden roses"})
            publisher.flush()
            for worker in workers:
                eventually(partial(_is_there, worker.url, name))
            with tracer.start_as_current_span("request") as engaged:
                act = {"event_id": name, "user_id": user_id, "item_id": name, "kind": "click"}
                publisher.engagement({**act, "occurred_at": time.time()})
            publisher.flush()
            time.sleep(3.0)
        publisher.close()
        found = [spans_of(collector, uploaded, 5), spans_of(collector, engaged, 6)]
    headings = ("An upload: recommendable by both workers", "An engagement: visible in the answers of both workers")
    return [Picture(heading, spans) for heading, spans in zip(headings, found, strict=True)]


def _is_there(url: str, item_id: str) -> bool:
    return httpx.get(f"{url}/v1/items/{item_id}").status_code == 200


def spans_of(collector: Collector, caller: Span, count: int) -> list[Seen]:
    trace = format_trace_id(caller.get_span_context().trace_id)
    spans: list[Seen] = eventually(lambda: len(found := collector.of(trace)) >= count and found)
    return sorted(spans, key=lambda span: (span.began_ns, span.ended_ns))


def drawn(pictures: Sequence[Picture]) -> str:
    """The traces, one below the other, each on an axis of its own; a colour is a process."""
    processes: list[object] = []
    body: list[str] = []
    top = MARGIN
    for picture in pictures:
        body.append(text(MARGIN, top + 14, picture.heading, "600 14px"))
        body += rows(picture.spans, top + 30, processes)
        top += 30 + ROW * len(picture.spans) + 36
    for place, colour in enumerate(COLOURS[: len(processes)]):
        name = "publisher" if place == 0 else f"worker {place}"
        body.append(f'<rect x="{MARGIN + 130 * place}" y="{top}" width="12" height="12" fill="{colour}"/>')
        body.append(text(MARGIN + 130 * place + 18, top + 11, name))
    width, height = NAME_WIDTH + BARS_WIDTH + 100, top + 12 + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, sans-serif"><title>Two traces as a collector got them</title>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def rows(spans: Sequence[Seen], top: int, processes: list[object]) -> Iterator[str]:
    began, ended = min(span.began_ns for span in spans), max(span.ended_ns for span in spans)
    scale = BARS_WIDTH / max(1, ended - began)
    for place, span in enumerate(spans):
        if (process := span.resource["service.instance.id"]) not in processes:
            processes.append(process)
        x, width = NAME_WIDTH + (span.began_ns - began) * scale, max(2.0, (span.ended_ns - span.began_ns) * scale)
        y, colour = top + place * ROW, COLOURS[processes.index(process)]
        yield text(MARGIN, y + 13, span.name)
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" rx="2" fill="{colour}"/>'
        yield text(x + width + 6, y + 12, f"{(span.ended_ns - span.began_ns) / 1e6:.1f} ms", "11px")
    y = top + len(spans) * ROW + 4
    yield f'<line x1="{NAME_WIDTH}" y1="{y}" x2="{NAME_WIDTH + BARS_WIDTH}" y2="{y}" stroke="#9ca3af"/>'
    yield text(NAME_WIDTH, y + 14, "0", "11px")
    yield text(NAME_WIDTH + BARS_WIDTH, y + 14, f"{(ended - began) / 1e6:.1f} ms", "11px")


def text(x: float, y: float, words: str, font: str = "13px") -> str:
    weight, _, size = font.rpartition(" ")
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{bold} fill="#111827">{escape(words)}</text>'


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pictures = taken(Path(folder))
    for picture in pictures:
        print(picture.heading)
        for span in picture.spans:
            process, lasted_ms = span.resource["service.instance.id"], (span.ended_ns - span.began_ns) / 1e6
            print(f"  {span.name:24} {lasted_ms:8.1f} ms  {process}  {span.span_id} behind {span.parent_id}")
    Path(sys.argv[1]).write_text(drawn(pictures), encoding="utf-8")


if __name__ == "__main__":
    main()
