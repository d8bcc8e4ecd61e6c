"""While no registry answers, records wait, and those who wait say so; what waiting does not mend is an error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from store.schemas.registry import Registry, RegistryDeniedError, RegistryError
from store.schemas.wire import registered
from store.settings import Registry as Said
from stream.ingest.protocol.schema_wait import SchemaWait
from stream.kafka.records import Record
from tests.store.schemas.registry_stub import RegistryStub, running
from tests.waiting import PATIENCE_S


@pytest.fixture
def stub() -> Iterator[RegistryStub]:
    with running(RegistryStub()) as stub:
        yield stub


def record(value: bytes | None, key: bytes | None = None) -> Record:
    return Record("t", 0, 0, 0, key, value, lambda: None)


def ready(stub: RegistryStub, wait_s: float, *records: Record, password: str = "") -> Registry:
    registry = Registry(Said(url=stub.url, username="user" if password else "", password=password))
    asyncio.run(SchemaWait(registry, wait_s).ready(records))
    registry.close()
    return registry


def test_schemas_of_values_and_of_keys_of_tombstones_are_fetched(stub: RegistryStub) -> None:
    ids = [stub.add({}, "JSON") for _ in range(3)]
    values = [record(registered(ids[0], b"1"), registered(ids[1], b"1")), record(None, registered(ids[2], b"1"))]
    registry = ready(stub, 1.0, record(b"{}"), *values, values[0], record(None), record(b"\0"))
    assert [registry.is_known(each) for each in ids] == [True, False, True]
    assert stub.asked == [f"/schemas/ids/{each}" for each in (ids[0], ids[2])]


def test_what_there_is_not_is_no_reason_to_wait(stub: RegistryStub) -> None:
    assert ready(stub, 1.0, record(registered(5, b""))).is_known(5)


def test_records_wait_while_the_registry_is_away(stub: RegistryStub, caplog: pytest.LogCaptureFixture) -> None:
    schema_id = stub.add({}, "JSON")
    stub.status = 503

    async def wait_for_it() -> bool:
        registry = Registry(Said(url=stub.url))
        task = asyncio.create_task(SchemaWait(registry, 10 * PATIENCE_S).ready([record(registered(schema_id, b"1"))]))
        while len(stub.asked) < 2:
            assert not task.done()
            await asyncio.sleep(0.01)
        stub.status = 0
        await asyncio.wait_for(task, PATIENCE_S)
        registry.close()
        return registry.is_known(schema_id)

    with caplog.at_level(logging.INFO):
        assert asyncio.run(wait_for_it())
    told = [entry.message for entry in caplog.records if entry.name.endswith("schema_wait")]
    assert [line.partition(" (")[0] for line in told] == ["schemas cannot be fetched", told[1]]
    assert "records that need one wait" in told[0]
    assert told[1].startswith("over after")


def test_the_wait_ends_with_an_error_that_says_that_nothing_is_lost(stub: RegistryStub) -> None:
    stub.status = 503
    with pytest.raises(RegistryError, match=r"answers 503.*\(kafka.registry.wait_s\); nothing is lost"):
        ready(stub, 0.2, record(registered(1, b"")))


def test_who_is_not_let_in_does_not_wait(stub: RegistryStub) -> None:
    stub.password = "right"
    with pytest.raises(RegistryDeniedError, match=r"answers 401: check kafka\.registry\.username"):
        ready(stub, 1e6, record(registered(1, b"")), password="wrong")
