"""A collector of traces: takes OTLP over HTTP as OpenTelemetry's own does, and keeps what it was sent."""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.waiting import eventually

UPLOAD = ("publish uploads", "receive uploads", "assign semantic ID", "recommendable")
ENGAGEMENT = ("publish engagements", "absorb engagements", "absorb item-signals", "publish item-states", "visible")


class Seen(NamedTuple):
    """A span as it came. Ids in hexadecimal digits; times in nanoseconds since the epoch."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, str | int | bool]
    resource: dict[str, str | int | bool]
    kind: int
    failed: bool


class Collector:
    """`status`: what it answers with. While `answers` is not set it takes requests and says nothing."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()

    def of(self, trace_id: str) -> list[Seen]:
        """The spans of a trace, in the order in which they came."""
        return [one for one in self.seen if one.trace_id == trace_id]

    def chain(self, trace_id: str, *names: str) -> list[Seen]:
        """The spans of a trace once one of each name is there; each is the child of the one before it, and ends no
        earlier than that (by clocks that tell milliseconds)."""
        found = eventually(lambda: len(found := self.of(trace_id)) >= len(names) and found)
        spans = sorted(found, key=lambda one: names.index(one.name))
        assert [one.name for one in spans] == list(names)
        for before, after in pairwise(spans):
            assert after.parent_id == before.span_id, (before, after)
            assert after.began_ns >= before.began_ns - 10**6
        assert all(one.ended_ns >= one.began_ns for one in spans)
        return spans

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        if path != "/v1/traces" or headers.get("content-type") != "application/x-protobuf":
            return 404
        self.headers.append(headers)
        self.answers.wait()
        if self.status == 200:
            request = ExportTraceServiceRequest.FromString(body)
            for of_resource in request.resource_spans:
                resource = _plain(of_resource.resource.attributes)
                for scope in of_resource.scope_spans:
                    for span in scope.spans:
                        self.seen.append(
                            Seen(
                                span.name,
                                span.trace_id.hex(),
                                span.span_id.hex(),
                                span.parent_span_id.hex(),
                                span.start_time_unix_nano,
                                span.end_time_unix_nano,
                                _plain(span.attributes),
                                resource,
                                span.kind,
                                span.status.code == span.status.STATUS_CODE_ERROR,
                            )
                        )
        return self.status


def _plain(attributes: Iterator[KeyValue]) -> dict[str, str | int | bool]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting(port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[tuple[Collector, str]]:
    """A collector at work, and its address; with a `context` it speaks TLS."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector, f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    finally:
        collector.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    """A collector as a process of its own, to be paused: says where it answers, and ends with its input."""
    with collecting() as (_, url):
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
