"""The wire against kafka-python's own client half: every version that is spoken goes through, the rest is refused."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.broker.protocol import API_VERSIONS, APIS, Call, UnknownCallError, decode, encode
from tests.stream.broker.kafka_wire import request, schema

SPOKEN = [(key, version) for key, api in APIS.items() for version in range(api.oldest, api.newest + 1)]
LIST_OFFSETS, METADATA = 2, 3


@pytest.mark.parametrize(("key", "version"), SPOKEN)
def test_every_version_spoken_is_read_and_answered(key: int, version: int) -> None:
    name = APIS[key].name
    call = decode(request(name, version))
    assert (call.api.name, call.version, call.correlation_id, call.client_id) == (name, version, 7, "me")
    frame = bytes(encode(call, {}))
    assert struct.unpack_from(">i", frame)[0] == len(frame) - 4
    answer = schema(f"{name}Response").decode(frame[4:], version=version, header=True)
    assert answer.header.correlation_id == 7


@pytest.mark.parametrize("version", range(1, 8))
def test_nested_values_arrive_in_both_directions(version: int) -> None:
    asked = [{"name": "t", "partitions": [{"partition_index": 3, "timestamp": 99}]}]
    call = decode(request("ListOffsets", version, replica_id=-1, topics=asked))
    assert [(topic.name, one.partition_index, one.timestamp) for topic in call.body.topics for one in topic.partitions]
    (topic,) = call.body.topics
    assert (topic.name, topic.partitions[0].partition_index, topic.partitions[0].timestamp) == ("t", 3, 99)
    told = {"topics": [{"name": "t", "partitions": [{"partition_index": 3, "offset": 12, "error_code": 0}]}]}
    answer = schema("ListOffsetsResponse").decode(bytes(encode(call, told))[4:], version=version, header=True)
    assert answer.topics[0].partitions[0].offset == 12
    assert answer.topics[0].partitions[0].timestamp == -1, "what is left out takes the schema's default"


@pytest.mark.parametrize("key", [key for key in APIS if key != API_VERSIONS])
def test_a_version_that_is_not_spoken_is_refused_by_name(key: int) -> None:
    api = APIS[key]
    for version in (api.oldest - 1, api.newest + 1):
        with pytest.raises(UnknownCallError, match=rf"{api.name}\) version {version} from me"):
            decode(struct.pack(">hhih", key, version, 1, 2) + b"me")


def test_a_newer_client_may_ask_which_versions_are_spoken() -> None:
    call = decode(struct.pack(">hhih", API_VERSIONS, 99, 5, 2) + b"me" + b"\x00whatever is new")
    assert (call.api.name, call.version, call.correlation_id, call.body) == ("ApiVersions", 0, 5, None)


@given(
    frame=st.binary(max_size=60)
    | st.tuples(st.sampled_from(SPOKEN), st.binary(max_size=40)).map(
        lambda drawn: struct.pack(">hhih", *drawn[0], 1, -1) + drawn[1]
    )
)
@example(frame=struct.pack(">hhih", METADATA, 12, 1, 30_000))
@example(frame=struct.pack(">hhih", METADATA, 12, 1, -1) + b"\xff" * 20)
def test_any_bytes_are_a_request_or_refused(frame: bytes) -> None:
    with suppress(UnknownCallError):
        assert isinstance(decode(frame), Call)


def test_tags_that_a_newer_client_puts_into_the_header_are_passed_over() -> None:
    plain = request("Metadata", 12, topics=[{"name": "t"}])
    at = 10 + len("me")
    assert plain[at] == 0, "no tags"
    tagged = plain[:at] + b"\x02\x05\x03new\x81\x01\x00" + plain[at + 1 :]
    assert [topic.name for topic in decode(tagged).body.topics] == ["t"]


def test_a_client_without_a_name_is_answered() -> None:
    named = request("Metadata", 1, topics=[{"name": "t"}])
    nameless = decode(named[:8] + struct.pack(">h", -1) + named[12:])
    assert (nameless.client_id, [topic.name for topic in nameless.body.topics]) == ("", ["t"])


@pytest.mark.parametrize("version", range(4))
def test_the_versions_are_told_without_tags_in_the_header(version: int) -> None:
    told = {"api_keys": [{"api_key": 3, "min_version": 0, "max_version": 12}]}
    frame = bytes(encode(decode(request("ApiVersions", version)), told))[4:]
    (known,) = schema("ApiVersionsResponse").decode(frame, version=version, header=True).api_keys
    assert (known.api_key, known.min_version, known.max_version) == (3, 0, 12)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("byte", [b"\xff", b"\x80"])
def test_a_number_without_end_is_refused_at_once(byte: bytes) -> None:
    """It was read byte by byte into one number that took longer with each: a megabyte of it took minutes."""
    for key, version in ((METADATA, 12), (METADATA, 9), (API_VERSIONS, 3)):
        with pytest.raises(UnknownCallError):
            decode(struct.pack(">hhihb", key, version, 1, -1, 0) + byte * 1_000_000)
    with pytest.raises(UnknownCallError):
        decode(struct.pack(">hhih", METADATA, 12, 1, -1) + byte * 1_000_000)


def test_null_is_refused_where_the_protocol_has_none() -> None:
    """Each was an error in whoever first looked at it: a fault of the broker in its log."""
    joining = {"group_id": "g", "protocol_type": "consumer", "protocols": [{"name": "range", "metadata": None}]}
    for name, version, fields, field in (
        ("JoinGroup", 5, joining, "metadata"),
        ("JoinGroup", 5, {**joining, "protocols": [{"name": None, "metadata": b""}]}, "name"),
        ("Metadata", 5, {"topics": [{"name": None}]}, "name"),
        ("CreateTopics", 4, {"topics": None}, "topics"),
        ("Produce", 8, {"topic_data": [{"name": "t", "partition_data": None}]}, "partition_data"),
    ):
        with pytest.raises(UnknownCallError, match=f"{field} is null"):
            decode(request(name, version, **fields))
    assert decode(request("Metadata", 5, topics=None)).body.topics is None, "all topics"
    assert decode(request("Produce", 8, topic_data=[{"name": "t", "partition_data": [{"index": 0}]}])).body


def test_of_a_long_name_of_a_client_only_its_beginning_is_kept() -> None:
    """It comes back in answers, where it had no room: 32,767 bytes that are no UTF-8 became three times as many."""
    named = struct.pack(">hhih", METADATA, 1, 1, 32_767) + b"\xff" * 32_767 + struct.pack(">i", -1)
    assert decode(named).client_id == "\ufffd" * 200
