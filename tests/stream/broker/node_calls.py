"""Calls of a node in this process: requests go through the wire's codec and the broker's handlers, without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream.broker.node import Node, Options
from stream.broker.protocol import decode, encode
from stream.broker.server import HANDLERS
from tests.stream.broker.kafka_wire import request, schema


@contextmanager
def node_at(folder: Path, **options: Any) -> Iterator[Node]:
    """A node on a folder, closed at the end."""
    node = Node(Options(data_dir=folder, **options))
    try:
        yield node
    finally:
        node.close()


async def ask(node: Node, name: str, version: int, **fields: Any) -> Any:
    """The answer to a request by its Kafka name; None where there is to be none."""
    call = decode(request(name, version, **fields))
    answer = await HANDLERS[name](node, call)
    if answer is None:
        return None
    return schema(f"{name}Response").decode(bytes(encode(call, answer))[4:], version=version, header=True)
