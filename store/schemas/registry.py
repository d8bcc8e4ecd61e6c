"""The registry: which schema an id means, asked of a server that speaks the protocol of Confluent's.

Asking takes a moment and blocks: whoever must not block asks for what is not `known` in a thread, before it reads.
https://docs.confluent.io/platform/current/schema-registry/develop/api.html

Invariant: what is known of an id never changes, but for one that no registry has: that is asked again after a minute.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import quote

import msgspec

from store.records.foreign import UNREADABLE
from store.records.log_error import LogError
from store.schemas.avro import Read, avro_reader, fastavro
from store.schemas.wire import SchemaError, payload_of, schema_id_of
from store.security.options import secret_of, trusting
from store.settings import Registry as Said

UNKNOWN_S = 60.0
"""So long an id that the registry does not have is not asked for again."""
AWAY_S = 0.5
"""So long a registry that did not answer is not asked again: many wait for it."""
MOST_UNKNOWN = 10_000
MOST_REFERENCES = 200
MISSING = (40401, 40402, 40403)
"""How a registry says that there is no such subject, version or schema; another 404 is some other server's."""


class RegistryError(LogError):
    """The registry does not answer as one: the message says what it said and which setting to look at."""


class RegistryDeniedError(RegistryError):
    """The registry does not let us in: the message names the settings to correct."""


class Registry:
    """Schemas by id. Close it, or let the process end."""

    def __init__(self, said: Said, clock: Callable[[], float] = time.monotonic) -> None:
        fastavro()  # said at the start rather than at the first record
        self._said = said
        self._clock = clock
        self._readers: dict[int, Read] = {}
        self._unknown: dict[int, float] = {}
        self._client: Any = None
        self._lock = Lock()
        self._away: tuple[float, str] = (0.0, "")

    def json_of(self, data: bytes) -> bytes:
        """The JSON that a key or value of the wire format stands for. Raises `SchemaError` and `RegistryError`."""
        schema_id = schema_id_of(data)
        if schema_id not in self._unknown:  # of late or not: whoever must not block has asked a moment ago
            self.fetch(schema_id)
        read = self._readers.get(schema_id)
        if read is None:
            raise SchemaError("unknown_schema", f"{self._said.url} has no schema {schema_id}")
        try:
            return read(payload_of(data))
        except SchemaError as error:
            raise SchemaError(error.reason, f"schema {schema_id}: {error}") from None

    def is_known(self, schema_id: int) -> bool:
        """Whether nothing needs to be asked of it now, be it that there is none."""
        return schema_id in self._readers or self._unknown.get(schema_id, 0.0) > self._clock()

    def fetch(self, schema_id: int) -> None:
        """Asks for a schema that is not known. Raises `RegistryError` where that cannot be."""
        if self.is_known(schema_id):
            return
        with self._lock:
            if not self.is_known(schema_id):
                self._fetch(schema_id)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _fetch(self, schema_id: int) -> None:
        found = self._ask(f"/schemas/ids/{schema_id}")
        if found is None:
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.pop(next(iter(self._unknown)))
            self._unknown[schema_id] = self._clock() + UNKNOWN_S
        else:
            self._readers[schema_id] = self._reader(found)
            self._unknown.pop(schema_id, None)

    def _reader(self, schema: _Schema) -> Read:
        if schema.kind == "JSON":
            return _as_it_is
        try:
            if schema.kind == "AVRO":
                return avro_reader(schema.schema, self._named(schema))
            raise SchemaError("unknown_schema", f"it is {schema.kind[:20]}: send Avro, or JSON by JSON Schema")
        except SchemaError as error:
            return _refusing(error)

    def _named(self, schema: _Schema) -> list[str]:
        """The schemas that it refers to, each behind those that it needs itself. Raises `SchemaError`."""
        found: list[str] = []
        self._gather(schema, found, set())
        return found

    def _gather(self, schema: _Schema, found: list[str], met: set[tuple[str, int]]) -> None:
        for each in schema.references:
            place = (each.subject, each.version)
            if place in met:
                continue
            met.add(place)
            if len(met) > MOST_REFERENCES:
                raise SchemaError("unknown_schema", f"it refers to more than {MOST_REFERENCES} others")
            named = self._ask(f"/subjects/{quote(each.subject, safe='')}/versions/{each.version}")
            if named is None:
                raise SchemaError("unknown_schema", f"it refers to {each.subject} {each.version}, which there is not")
            self._gather(named, found, met)
            found.append(named.schema)

    def _ask(self, path: str) -> _Schema | None:
        """What the registry says; None where it says that there is no such schema."""
        until, why = self._away
        if until > self._clock():
            raise RegistryError(why)
        try:
            return self._asked(path)
        except RegistryDeniedError:
            raise
        except RegistryError as error:
            self._away = (self._clock() + AWAY_S, str(error))
            raise

    def _asked(self, path: str) -> _Schema | None:
        import httpx

        url = self._said.url.rstrip("/")
        if self._client is None:
            self._client = _client(self._said)
        try:
            answer = self._client.get(f"{url}{path}")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise RegistryError(f"no schema registry answers at {url} ({error or type(error).__name__})") from None
        if answer.status_code in (401, 403):
            raise RegistryDeniedError(
                f"the schema registry at {url} answers {answer.status_code}: check kafka.registry.username and password"
            )
        try:
            if answer.status_code == 404 and _fault.decode(answer.content).error_code in MISSING:
                return None
            if answer.status_code == 200:
                return _schema.decode(answer.content)
        except UNREADABLE:
            pass
        said = f"{url}{path} answers {answer.status_code}"
        raise RegistryError(f"{said}, and not as a schema registry: check kafka.registry.url")


class _Reference(msgspec.Struct):
    subject: str
    version: int


class _Schema(msgspec.Struct):
    schema: str
    kind: str = msgspec.field(default="AVRO", name="schemaType")
    references: list[_Reference] = []


class _Fault(msgspec.Struct):
    error_code: int


_schema = msgspec.json.Decoder(_Schema)
_fault = msgspec.json.Decoder(_Fault)


def _client(said: Said) -> Any:
    import httpx

    auth = (said.username, secret_of(said, "password", "kafka.registry")) if said.username else None
    if said.url.startswith("https:"):
        context = trusting(said.ca_file, "kafka.registry.ca_file")
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and is not asked; another costs 0.2 s
    return httpx.Client(auth=auth, verify=context, timeout=said.timeout_s)


def _as_it_is(payload: bytes) -> bytes:
    return payload


def _refusing(error: SchemaError) -> Read:
    def read(_: bytes) -> bytes:
        raise SchemaError(error.reason, str(error))

    return read
