"""Client: how an application asks a running scorer for recommendations, blocking.

    from sidestream import Client

    with Client("http://127.0.0.1:8470") as client:
        for item in client.recommend(user_id="u1", k=5).items:
            print(item.item_id, item.score, item.reason)

Everything that goes wrong is a `ClientError`, and its message says what to do. Each is also what it is to Python, so
that applications can catch it without a name from here:

    ClientError
    ├── UnreachableError(ConnectionError)  nothing answers at the URL
    ├── TimeoutError(TimeoutError)         no answer in time
    ├── RefusedError(ValueError)           a parameter is wrong; `field` and `remedy` say which and how
    ├── NotFoundError(LookupError)         no such item or user
    └── ServerError(RuntimeError)          the server failed, or is no sidestream worker

Invariant: a method returns what the server said or raises one of these, within its timeout. Every call is a read, so
one whose connection broke (a worker that was restarted) is sent once more before it counts as failed.
"""

from __future__ import annotations

import builtins
import ssl
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from store.requests import Answer, Request, Task

Model = TypeVar("Model")


class ClientError(Exception):
    """Asking a scorer failed; the message says what to do."""


class UnreachableError(ClientError, ConnectionError):
    """Nothing answers at the URL: start a worker (`sidestream up`), or give the client the URL it printed."""


class TimeoutError(ClientError, builtins.TimeoutError):
    """The scorer took too long: give the client a longer `timeout_s`, or look at `sidestream status`."""


class RefusedError(ClientError, ValueError):
    """A parameter is wrong: correct `field` as `remedy` says."""

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}")
        self.field = field
        self.remedy = remedy


class NotFoundError(ClientError, LookupError):
    """The item or user is unknown: check the id, or publish it first."""


class ServerError(ClientError, RuntimeError):
    """The server failed (its log has the cause), or what answers at the URL is no sidestream worker."""


class _Answers(msgspec.Struct):
    answers: list[Answer]


class Client:
    """A connection pool to one worker's web address; may be shared by threads. Timeouts in seconds. `token`: one of the
    worker's `[serving.tokens]`, where it has any. `ca_file`: the authorities to trust, where the URL is an HTTPS one;
    empty: those that httpx trusts (certifi's, or SSL_CERT_FILE)."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8470",
        *,
        timeout_s: float = 5.0,
        connect_s: float = 2.0,
        token: str = "",
        ca_file: str = "",
    ) -> None:
        if "://" not in url:
            url = f"http://{url}"
        self.url = url.rstrip("/")
        self.timeout_s = timeout_s
        timeout = httpx.Timeout(timeout_s, connect=connect_s)
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
            self._http = httpx.Client(base_url=self.url, timeout=timeout, headers=headers, verify=verify)
        except OSError as error:  # of the file, or of what is in it
            raise UnreachableError(
                f"ca_file {ca_file} cannot be used ({error}): give a certificate in PEM form"
            ) from None
        except httpx.InvalidURL as error:
            raise UnreachableError(f"{url} is no URL ({error}): give one like http://127.0.0.1:8470") from None

    # ---- recommendations ----

    def recommend(
        self,
        user_id: str,
        *,
        task: Task = "home",
        query: str | None = None,
        item_id: str | None = None,
        country: str | None = None,
        device: str | None = None,
        k: int = 10,
        exclude: Sequence[str] = (),
        categories: Sequence[str] = (),
        languages: Sequence[str] = (),
        creator_ids: Sequence[str] = (),
        tags: Sequence[str] = (),
        max_age_s: float | None = None,
        candidates: Sequence[str] = (),
        page: str | None = None,
    ) -> Answer:
        """The `k` best items for a user now, without those in `exclude`, of those that pass the filters (one of each
        list that is given); an unknown user is answered too. Only `candidates` are ranked where there are some (`k` up
        to as many). Where there are fewer, the answer's `notes` say why. Page by page: begin with `page=""`, go on with
        the answer's `next_page`, as long as it has one."""
        asked = Request(
            user_id=user_id,
            task=task,
            query=query,
            item_id=item_id,
            country=country,
            device=device,
            k=k,
            exclude=tuple(exclude),
            categories=tuple(categories),
            languages=tuple(languages),
            creator_ids=tuple(creator_ids),
            tags=tuple(tags),
            max_age_s=max_age_s,
            candidates=tuple(candidates),
            page=page,
        )
        return self._decoded(self._send("POST", "/v1/recommend", body=_fields(asked)), Answer)

    def recommend_many(self, requests: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """One answer for each request (fields as in `recommend`), in their order, in one round trip."""
        body = {"requests": [dict(request) for request in requests]}
        return self._decoded(self._send("POST", "/v1/recommend", body=body), _Answers).answers

    def similar(self, item_id: str, *, k: int = 10, exclude: Sequence[str] = ()) -> Answer:
        """The `k` items most like this one, without those in `exclude`."""
        query = urlencode({"k": k, "exclude": exclude}, doseq=True)
        return self._decoded(self._send("GET", f"/v1/items/{_quoted('item_id', item_id)}/similar?{query}"), Answer)

    # ---- what is known ----

    def item(self, item_id: str) -> dict[str, Any]:
        """What is known of an item: title, live, uploaded_at, semantic_id, codebook, counters …"""
        return self._object(f"/v1/items/{_quoted('item_id', item_id)}")

    def user(self, user_id: str) -> dict[str, Any]:
        """What is known of a user."""
        return self._object(f"/v1/users/{_quoted('user_id', user_id)}")

    def trace(self, item_id: str) -> dict[str, Any]:
        """Every stage of one item with its time, epoch seconds."""
        return self._object(f"/v1/trace/{_quoted('item_id', item_id)}")

    def checkpoints(self) -> dict[str, Any]:
        """The model's lineage and which checkpoint serves."""
        return self._object("/v1/checkpoints")

    def codebook(self) -> dict[str, Any]:
        """The serving codebook: its health over the live items and the tree of its topics."""
        return self._object("/v1/codebook")

    def status(self) -> dict[str, Any]:
        """Freshness of every stage, lag, model and codebook age, each against its objective."""
        return self._object("/v1/status")

    # ---- readiness ----

    def ready(self) -> tuple[bool, str]:
        """Whether the worker can serve, and if not, what it waits for. Raises when nothing answers."""
        said = self._decoded(self._send("GET", "/readyz", also=(503,)), dict[str, Any])
        return bool(said.get("ready")), str(said.get("reason", ""))

    def wait_until_ready(self, within_s: float = 60.0) -> None:
        """Return as soon as the worker can serve. Raises `TimeoutError` with what it waits for."""
        until = time.monotonic() + within_s
        while True:
            try:
                ready, reason = self.ready()
            except (UnreachableError, TimeoutError) as error:
                ready, reason = False, str(error)
            if ready:
                return
            if time.monotonic() >= until:
                raise TimeoutError(f"{self.url} is not ready after {within_s:g} s: {reason}")
            time.sleep(0.1)

    # ---- connection ----

    def close(self) -> None:
        """Close the connections; the client is of no more use."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _object(self, path: str) -> dict[str, Any]:
        return self._decoded(self._send("GET", path), dict[str, Any])

    def _send(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, also: tuple[int, ...] = ()
    ) -> httpx.Response:
        """The response, when its status is 200 or in `also`."""
        content, headers = None, {"Accept": "application/json"}
        if body is not None:
            content = _encoded(body)
            headers["Content-Type"] = "application/json"
        response = self._request(method, path, content, headers)
        if response.status_code == 200 or response.status_code in also:
            return response
        raise self._error(response)

    def _request(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> httpx.Response:
        for last in (False, True):
            try:
                return self._http.request(method, path, content=content, headers=headers)
            except httpx.ConnectTimeout:
                raise UnreachableError(_nobody(self.url, "no connection in time")) from None
            except httpx.TimeoutException:
                remedy = "raise timeout_s, or see `sidestream status`"
                raise TimeoutError(f"{self.url} gave no answer within {self.timeout_s:g} s: {remedy}") from None
            except (httpx.TransportError, httpx.InvalidURL) as error:
                if last:
                    raise UnreachableError(_nobody(self.url, str(error))) from None
        raise AssertionError("the last attempt returns or raises")

    def _decoded(self, response: httpx.Response, kind: type[Model]) -> Model:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ServerError(f"what answers at {self.url} is no sidestream worker: check the URL") from None

    def _error(self, response: httpx.Response) -> ClientError:
        try:
            said = msgspec.json.decode(response.content)["error"]
            field, remedy = str(said["field"]), str(said["remedy"])
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
            status = response.status_code
            return ServerError(f"{self.url} answered {status} and is no sidestream worker: check the URL")
        if response.status_code == 404 and field != "path":
            return NotFoundError(f"{field}: {remedy}")
        if response.status_code < 500 and field != "path":
            return RefusedError(field, remedy)
        return ServerError(f"{self.url} answered {response.status_code}: {remedy}")


def _fields(request: Request) -> dict[str, Any]:
    fields = ((name, getattr(request, name)) for name in request.__struct_fields__)
    return {name: value for name, value in fields if value not in (None, ())}


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError) as error:
        raise RefusedError("request", f"send text in UTF-8 and numbers ({error})") from None


_DOTS = {".": "%2E", "..": "%2E%2E"}
"""The only ids that quoting leaves as they are and that mean something else in a path."""


def _quoted(field: str, id_: str) -> str:
    """An id as one segment of a path."""
    if not id_:
        raise RefusedError(field, "name it: an id has 1 to 256 characters")
    try:
        return _DOTS.get(id_) or quote(id_, safe="")
    except UnicodeEncodeError:
        raise RefusedError(field, "send UTF-8 text") from None


def _nobody(url: str, detail: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in detail:
        return (
            f"the certificate of {url} is not trusted ({detail}): name its authority by ca_file (serving.tls.ca_file)"
        )
    if "without sending a response" in detail and url.startswith("http:"):
        return f"what answers at {url} speaks no HTTP: it may speak HTTPS, so try https://"
    return f"nothing answers at {url} ({detail}): start a worker with `sidestream up`, or correct the URL"
