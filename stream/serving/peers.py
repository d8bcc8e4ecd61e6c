"""Peers: a request that another worker can answer better, because the user's partition is at work there.

A forwarded request is sent once and waits `timeout_s` at most; whatever goes wrong, this worker answers from
what every scorer has. What went wrong is counted, and logged at most once in `LOG_EVERY_S` for each reason.

Invariant: no failure of a peer fails a request here.
"""

from __future__ import annotations

import logging
import math
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from store.records.foreign import UNREADABLE
from store.records.peer_messages import Heard, OwnedRow, RowRequest, Told
from store.requests import Answer, Request
from stream.metrics.metrics import Metrics
from stream.tracing.requests import outgoing

log = logging.getLogger(__name__)

LOG_EVERY_S = 60.0
SILENCE_S = 2.0
"""So long a peer is not asked again after it was silent for a request's whole time: one that stands still would take
that time of every request."""


MOST_SAID_BYTES = 4096


TOLD = "/internal/told"
WAYS = ("/internal/recommend", "/internal/rows")
"""An owner may answer, or give what it has of the user so that this worker answers."""
MOST_CLOSED = 1000
NOT_HERE = (404, 501)
"""What an owner says that does not go one of these ways: of a release before, or one that only absorbs."""


class _Readiness(msgspec.Struct):
    ready: bool
    reason: str


class _PeerError(RuntimeError):
    """The owner did not answer; `reason` is one of `stream.metrics.metrics.PEER_FAILURES`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _NoWayError(_PeerError):
    """The owner does not do what it was asked."""

    def __init__(self, detail: str) -> None:
        super().__init__("refused", detail)


class Peers:
    """The other workers, asked for what their partitions know. `owner_of` gives the address of a user's owner, None if
    nobody has announced itself; `own_url` is this worker's. `trusted`: the authorities of peers that speak TLS. With
    `by_rows` owners are asked for rows rather than for answers."""

    def __init__(
        self,
        *,
        owner_of: Callable[[str], str | None],
        own_url: Callable[[], str],
        metrics: Metrics,
        timeout_s: float,
        token: str = "",
        trusted: ssl.SSLContext | None = None,
        by_rows: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ways = WAYS[::-1] if by_rows else WAYS
        self._closed_ways: set[tuple[str | None, str]] = set()
        self._owner_of = owner_of
        self._own_url = own_url
        self._metrics = metrics
        self._clock = clock
        self._timeout_s = timeout_s
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._trusted = trusted
        self._logged_at: dict[str, float] = {}
        self._asked_again_at: dict[str, float] = {}
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            connector=aiohttp.TCPConnector(ssl=self._trusted or True),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def recommend(self, request: Request) -> Answer | OwnedRow | None:
        """The owner's answer, or what it has of the user; None when neither can be had."""
        due_s = request.due_s()
        try:
            return await self._by_either_way(request, due_s)
        except (_PeerError, *UNREADABLE) as error:
            self._note(error)
            return None

    async def _by_either_way(self, request: Request, due_s: float) -> Answer | OwnedRow:
        url = self._owner_of(request.user_id)
        first, second = sorted(self._ways, key=lambda way: (url, way) in self._closed_ways)
        try:
            return await self._by(first, request, due_s)
        except _NoWayError:
            if len(self._closed_ways) >= MOST_CLOSED:
                self._closed_ways.clear()
            self._closed_ways.add((url, first))
        found = await self._by(second, request, due_s)
        self._closed_ways.discard((url, second))
        return found

    async def _by(self, way: str, request: Request, due_s: float) -> Answer | OwnedRow:
        left = request.left(due_s)
        within_s = self._timeout_s if left.within_ms is None else left.within_ms / 1000.0
        if way == WAYS[0]:
            body = await self._ask(request.user_id, "POST", way, msgspec.json.encode(left), within_s)
            return msgspec.json.decode(body, type=Answer)
        asked = msgspec.msgpack.encode(RowRequest(request.user_id, request.task))
        body = await self._ask(request.user_id, "POST", way, asked, within_s)
        return msgspec.msgpack.decode(body, type=OwnedRow)

    async def user(self, user_id: str) -> dict[str, Any] | None:
        """What the owner knows of a user; None when it knows nothing or cannot be asked."""
        try:
            body = await self._ask(user_id, "GET", f"/internal/users/{quote(user_id, safe='')}")
            return msgspec.json.decode(body, type=dict[str, Any] | None)
        except (_PeerError, *UNREADABLE) as error:
            self._note(error)
            return None

    async def ready(self, url: str) -> tuple[bool | None, str]:
        """What a worker says of itself at `/readyz`; None when it says nothing, and why."""
        if self._session is None:
            return None, "this worker has not been started"
        try:
            async with self._session.get(f"{url}/readyz") as response:
                said = msgspec.json.decode(await response.content.read(MOST_SAID_BYTES), type=_Readiness)
                return said.ready, said.reason
        except (aiohttp.ClientError, TimeoutError, ValueError, *UNREADABLE) as error:
            return None, f"it does not answer: {error!r}"[:200]

    async def tell(self, url: str, told: Told) -> Heard | None:
        """What an owner says to what it is told; None if it cannot be reached. One of a release before is there, and
        says nothing."""
        try:
            body = await self._asked(url, "POST", TOLD, msgspec.msgpack.encode(told))
            return msgspec.msgpack.decode(body, type=Heard)
        except _NoWayError:
            return Heard()
        except (_PeerError, *UNREADABLE) as error:
            log.debug("%s was not told: %s", url, error)
            return None

    async def answer_by(self, url: str, request: Request) -> Answer | None:
        """The answer of a worker that answers; None if it gives none."""
        try:
            body = await self._asked(url, "POST", "/v1/recommend", msgspec.json.encode(request))
            return msgspec.json.decode(body, type=Answer)
        except (_PeerError, *UNREADABLE) as error:
            self._note(error)
            return None

    async def _ask(
        self, user_id: str, method: str, path: str, data: bytes | None = None, within_s: float = math.inf
    ) -> bytes:
        """What the owner of a user answers."""
        return await self._asked(self._owner_of(user_id), method, path, data, within_s)

    async def _asked(
        self, url: str | None, method: str, path: str, data: bytes | None = None, within_s: float = math.inf
    ) -> bytes:
        """The body of the answer. A peer that is only too slow for this request is asked by the next."""
        if url is None or url == self._own_url():  # announced by this worker, and its partition has gone since
            raise _PeerError("unknown", "nobody has announced itself as the owner of a user's partition")
        if self._clock() < self._asked_again_at.get(url, 0.0):
            raise _PeerError("timeout", f"{url} did not answer a moment ago")
        if self._session is None:
            raise _PeerError("unreachable", "this worker has not been started")
        timeout_s = min(within_s, self._timeout_s)
        try:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
            headers = {"Content-Type": "application/json", **outgoing()}
            asked = self._session.request(method, url + path, data=data, timeout=timeout, headers=headers)
            async with asked as response:
                if response.status == 200:
                    return await response.read()
                if response.status in NOT_HERE and path in (*WAYS, TOLD):
                    raise _NoWayError(f"{url} has no {path}")
                raise _PeerError("refused", f"{url} answered {response.status}: {(await response.text())[:200]}")
        except TimeoutError:
            if timeout_s >= self._timeout_s:
                self._asked_again_at[url] = self._clock() + SILENCE_S
            raise _PeerError("timeout", f"{url} did not answer within {timeout_s:g} s") from None
        except aiohttp.ClientError as error:
            raise _PeerError("unreachable", f"{url} is out of reach: {error!r}") from None

    def _note(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, _PeerError) else "refused"
        self._metrics.peer_failed(reason)
        if reason == "timeout":
            self._metrics.surfaces.late("owner")
        now = self._clock()
        if now - self._logged_at.get(reason, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged_at[reason] = now
            log.warning("the owner of a user does not answer (%s): %s", reason, error)
