"""A schema registry that speaks Confluent's protocol over HTTP, as far as consumers ask."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryStub:
    """`schemas`: id → what the registry says of it; `subjects`: (subject, version) → its id. `asked`: the paths of all
    requests. `status`: what it answers instead, if not 0. `password`: what `user` must give."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[tuple[str, int], int] = {}
        self.asked: list[str] = []
        self.status = 0
        self.password = ""
        self.url = ""

    def add(self, schema: Any, kind: str = "", subject: str = "", references: Any = ()) -> int:
        """Registers a schema; returns its id."""
        schema_id = len(self.schemas) + 1
        said: dict[str, Any] = {"schema": schema if isinstance(schema, str) else json.dumps(schema)}
        if kind:  # of Avro nothing is said
            said["schemaType"] = kind
        if references:
            said["references"] = [{"name": n, "subject": s, "version": v} for n, s, v in references]
        self.schemas[schema_id] = said
        self.subjects[subject or f"subject-{schema_id}", 1] = schema_id
        return schema_id

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if self.status:
            return self.status, {"message": "not now"}
        if self.password and authorization != f"Basic {base64.b64encode(f'user:{self.password}'.encode()).decode()}":
            return 401, {"error_code": 401, "message": "Unauthorized"}
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["schemas", "ids"] and int(parts[2]) in self.schemas:
            return 200, self.schemas[int(parts[2])]
        if parts[:2] == ["schemas", "ids"]:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        found = self.subjects.get((parts[1], int(parts[3])))
        if found is None:
            return 404, {"error_code": 40401, "message": "Subject not found."}
        return 200, {"subject": parts[1], "version": int(parts[3]), "id": found, **self.schemas[found]}


@contextmanager
def running(stub: RegistryStub, tls: ssl.SSLContext | None = None) -> Iterator[RegistryStub]:
    """The stub behind an address of its own, `stub.url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, said = stub.answer(self.path, self.headers.get("Authorization", ""))
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stub.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
