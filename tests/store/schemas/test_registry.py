"""The registry is asked once for a schema, over HTTP; what it cannot say is told by name."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from store.schemas.registry import Registry, RegistryDeniedError, RegistryError
from store.schemas.wire import SchemaError, registered
from store.settings import Registry as Said
from tests.store.schemas.registry_stub import RegistryStub, running
from tests.store.schemas.test_avro import SCHEMA, written

RECORD = {"item_id": "i", "uploaded_at": 1_767_323_045_000, "title": "t", "tags": []}


@pytest.fixture
def stub() -> Iterator[RegistryStub]:
    with running(RegistryStub()) as stub:
        yield stub


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def registry(stub: RegistryStub, clock: list[float]) -> Iterator[Registry]:
    registry = Registry(Said(url=f"{stub.url}/"), lambda: clock[0])
    yield registry
    registry.close()


def test_a_schema_is_asked_for_once(stub: RegistryStub, registry: Registry) -> None:
    schema_id = stub.add(SCHEMA)
    assert not registry.is_known(schema_id)
    for _ in range(3):
        value = registry.json_of(registered(schema_id, written(SCHEMA, RECORD)))
        assert json.loads(value) == {**RECORD, "uploaded_at": 1767323045.0}
    assert stub.asked == [f"/schemas/ids/{schema_id}"]
    assert registry.is_known(schema_id)


def test_json_by_a_schema_is_json(stub: RegistryStub, registry: Registry) -> None:
    schema_id = stub.add({"type": "object"}, "JSON")
    assert registry.json_of(registered(schema_id, b'{"a":1}')) == b'{"a":1}'


def test_schemas_refer_to_others(stub: RegistryStub, registry: Registry) -> None:
    kind = {"type": "enum", "name": "shop.Kind", "symbols": ["click", "like"]}
    base = {"type": "record", "name": "shop.Base", "fields": [{"name": "kind", "type": "shop.Kind"}]}
    act = {"type": "record", "name": "shop.Act", "fields": [{"name": "a", "type": "shop.Base"}]}
    stub.add(kind, subject="shop/kind")
    stub.add(base, subject="base", references=[("shop.Kind", "shop/kind", 1)])
    schema_id = stub.add(act, references=[("shop.Base", "base", 1), ("shop.Kind", "shop/kind", 1)])
    whole = {**act, "fields": [{"name": "a", "type": {**base, "fields": [{"name": "kind", "type": kind}]}}]}
    data = registered(schema_id, written(whole, {"a": {"kind": "like"}}))
    assert registry.json_of(data) == b'{"a":{"kind":"like"}}'
    missing = stub.add(act, references=[("shop.Base", "gone", 1)])
    with pytest.raises(SchemaError, match="refers to gone 1, which there is not"):
        registry.json_of(registered(missing, b""))
    circle = stub.add(base, subject="circle", references=[("shop.Base", "circle", 1)])
    with pytest.raises(SchemaError, match="no Avro schema that can be used"):
        registry.json_of(registered(circle, b""))


def test_an_id_that_there_is_not_is_asked_for_again_after_a_while(
    stub: RegistryStub, registry: Registry, clock: list[float]
) -> None:
    for _ in range(2):
        with pytest.raises(SchemaError, match="has no schema 1") as refused:
            registry.json_of(registered(1, b""))
    assert refused.value.reason == "unknown_schema"
    assert (len(stub.asked), registry.is_known(1)) == (1, True)
    clock[0] += 61.0
    stub.add({"type": "object"}, "JSON")
    assert not registry.is_known(1)
    registry.fetch(1)
    assert registry.json_of(registered(1, b"1")) == b"1"


def test_what_cannot_be_read_is_refused_by_its_id(stub: RegistryStub, registry: Registry) -> None:
    schema_id = stub.add('syntax = "proto3";', "PROTOBUF")
    for _ in range(2):
        with pytest.raises(SchemaError, match=f"schema {schema_id}: it is PROTOBUF: send Avro") as refused:
            registry.json_of(registered(schema_id, b"x"))
        assert refused.value.reason == "unknown_schema"
    assert len(stub.asked) == 1
    schema_id = stub.add(SCHEMA)
    with pytest.raises(SchemaError, match=f"schema {schema_id}: it was not written by its schema"):
        registry.json_of(registered(schema_id, b"\xff"))


@pytest.mark.parametrize("status", [503, 404, 302])
def test_a_server_that_is_none_or_is_ill_is_an_error_of_the_log(
    stub: RegistryStub, registry: Registry, clock: list[float], status: int
) -> None:
    schema_id = stub.add({"type": "object"}, "JSON")
    stub.status = status
    for _ in range(2):  # and not asked at once again
        with pytest.raises(RegistryError, match=f"answers {status}, and not as a schema registry"):
            registry.fetch(schema_id)
    assert (len(stub.asked), registry.is_known(schema_id)) == (1, False)
    stub.status = 0
    clock[0] += 1.0
    registry.fetch(schema_id)
    assert registry.is_known(schema_id)


def test_no_server_is_an_error_that_names_the_address() -> None:
    registry = Registry(Said(url="http://127.0.0.1:1"))
    with pytest.raises(RegistryError, match=r"no schema registry answers at http://127.0.0.1:1"):
        registry.fetch(1)
    registry.close()


def test_a_server_that_takes_the_connection_and_says_nothing_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        registry = Registry(Said(url=url, timeout_s=0.2))
        with pytest.raises(RegistryError, match="no schema registry answers"):
            registry.fetch(1)
        registry.close()


def test_the_password_comes_out_of_a_file_and_is_never_told(stub: RegistryStub, tmp_path: Path) -> None:
    stub.password = "s3cret"
    schema_id = stub.add({"type": "object"}, "JSON")
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    registry = Registry(Said(url=stub.url, username="user", password_file=str(file)))
    registry.fetch(schema_id)
    registry.close()
    wrong = Registry(Said(url=stub.url, username="user", password="wr0ng"))
    with pytest.raises(RegistryDeniedError, match=r"answers 401: check kafka.registry.username") as denied:
        wrong.fetch(schema_id)
    assert "wr0ng" not in str(denied.value)
    wrong.close()


def test_an_address_with_tls_is_trusted_by_its_authority_only(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with running(RegistryStub(), context) as stub:
        schema_id = stub.add({"type": "object"}, "JSON")
        stranger = Registry(Said(url=stub.url))
        with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.fetch(schema_id)
        stranger.close()
        registry = Registry(Said(url=stub.url, ca_file=str(tmp_path / "ca.pem")))
        registry.fetch(schema_id)
        assert registry.is_known(schema_id)
        registry.close()


def test_what_the_registry_says_is_checked(stub: RegistryStub, registry: Registry) -> None:
    stub.schemas[1] = json.loads('{"schema": 5}')
    with pytest.raises(RegistryError, match="answers 200, and not as a schema registry"):
        registry.fetch(1)
