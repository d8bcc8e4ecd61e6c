"""Keys: partitions agree with every Kafka client, hashes are stable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as kafka_murmur2

from store.keys import Owned, hash64, murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "signed"),
    [  # the vectors of Apache Kafka's own UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_known_vectors(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


@given(st.binary(max_size=50))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafka_murmur2(data) & 0xFFFFFFFF


@given(st.text(max_size=20), st.integers(1, 1000))
def test_a_partition_is_in_range_and_a_function_of_the_key(key: str, partitions: int) -> None:
    found = partition_of(key, partitions)
    assert 0 <= found < partitions
    assert found == (kafka_murmur2(key.encode()) & 0x7FFFFFFF) % partitions


@given(st.lists(st.text(max_size=3), max_size=30), st.integers(1, 5))
def test_what_is_remembered_of_ownership_is_bounded_and_true(keys: list[str], partitions: int) -> None:
    owned = Owned(0, partitions, capacity=4)
    for key in keys:
        assert owned[key] == (partition_of(key, partitions) == 0)
        assert len(owned) <= 4


def test_of_ids_that_do_not_last_nothing_is_remembered_about_ownership() -> None:
    owned = Owned(0, 2, lasts=lambda key: key.startswith("item"))
    for number in range(500):
        assert owned[f"url-{number}"] == (partition_of(f"url-{number}", 2) == 0)
    assert [owned["item-1"], owned["item-1"]] == [partition_of("item-1", 2) == 0] * 2
    assert list(owned) == ["item-1"]


def test_what_is_remembered_of_ids_is_bounded() -> None:
    for number in range(20_000):
        partition_of(f"url-{number}", 2)
        hash64(f"url-{number}")
    assert partition_of.cache_info().currsize <= 1 << 14
    assert hash64.cache_info().currsize <= 1 << 14


def test_partitions_share_the_keys() -> None:
    counts = [0] * 8
    for number in range(8000):
        counts[partition_of(f"user-{number}", 8)] += 1
    assert min(counts) > 850


def test_hash64_is_stable_and_64_bits_wide() -> None:
    assert hash64("item-1") == 0x74A8B5AD5A9DEBE4
    hashes = {hash64(f"item-{number}") for number in range(5000)}
    assert len(hashes) == 5000
    assert max(hashes) < 2**64
    assert max(hashes) > 2**63
