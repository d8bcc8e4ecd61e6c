"""Connections: how many may be open, and for how long without a whole request.

Each takes a file of the process. Without a bound whoever reaches the port, with or without a token, could take those
that the rows, the log and the other workers need. So one more than `MOST_CONNECTIONS` is closed at once, and one whose
request does not come to its end (or does not begin) makes room for others.

Invariant: no byte of a connection that is one too many is read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from aiohttp import web

MOST_CONNECTIONS = 1000
IDLE_S = 75.0
"""So long a connection is kept for its next request, whose head must have come by then; balancers keep theirs less."""
HANDSHAKE_S = 10.0
BODY_S = 30.0
"""So long the body of a request may take, once its head is there."""


class _TooMany(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


async def listen(
    server: web.Server, host: str, port: int, context: ssl.SSLContext | None, most: int = MOST_CONNECTIONS
) -> asyncio.Server:
    """Serves at an address. Raises `OSError` where it cannot be had."""
    make: Callable[[], asyncio.BaseProtocol] = server

    def protocol() -> asyncio.BaseProtocol:
        return make() if len(server.connections) < most else _TooMany()

    handshake_s = HANDSHAKE_S if context else None
    loop = asyncio.get_running_loop()
    return await loop.create_server(protocol, host, port, ssl=context, backlog=128, ssl_handshake_timeout=handshake_s)
