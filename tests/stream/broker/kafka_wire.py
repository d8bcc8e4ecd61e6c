"""A Kafka client of the lowest level: any request in any version, the answer as it comes."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any

from kafka.protocol import admin, consumer, metadata, producer


class Wire:
    """One connection to a broker."""

    def __init__(self, bootstrap_servers: str, timeout_s: float = 20.0) -> None:
        host, _, port = bootstrap_servers.split(",")[0].partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout_s)
        self._number = 0

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, name: str, version: int, **fields: Any) -> Any:
        """Sends a request by its Kafka name and waits for the answer."""
        self.send(name, version, **fields)
        return self.receive(name, version)

    def send(self, name: str, version: int, **fields: Any) -> None:
        self._number += 1
        frame = request(name, version, self._number, "wire", **fields)
        self.send_bytes(len(frame).to_bytes(4, "big") + frame)

    def receive(self, name: str, version: int) -> Any:
        response = schema(name + "Response")
        answer = response.decode(self.receive_bytes(), version=version, header=True)
        assert answer.header.correlation_id == self._number
        return answer

    def send_bytes(self, frame: bytes) -> None:
        self._socket.sendall(frame)

    def receive_bytes(self) -> bytes:
        """One frame; empty where the broker has closed the connection."""
        size = self._exactly(4)
        return self._exactly(struct.unpack(">i", size)[0]) if size else b""

    def _exactly(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            try:
                part = self._socket.recv(size - len(out))
            except ConnectionResetError:
                part = b""
            if not part:
                return b""
            out += part
        return out


def request(name: str, version: int, correlation_id: int = 7, client_id: str = "me", **fields: Any) -> bytes:
    """A request by its Kafka name, as it follows its length on the wire."""
    made = filled(schema(f"{name}Request"), fields)
    made.API_VERSION = version
    made.with_header(correlation_id=correlation_id, client_id=client_id)
    return bytes(made.encode(header=True))


def schema(name: str) -> Any:
    """kafka-python's class of a request or response."""
    return next(getattr(module, name) for module in (admin, consumer, metadata, producer) if hasattr(module, name))


def filled(container: Any, values: dict[str, Any]) -> Any:
    """kafka-python's object for a nest of dictionaries; what is left out takes the schema's default."""
    made = container()
    for name, value in values.items():
        field = container._struct.fields[name]
        nested = field.is_struct_array() and value is not None
        setattr(made, name, [filled(field.data_class, item) for item in value] if nested else value)
    return made
