"""Topic configurations: a topic's own values over the broker's over the built-in ones; nothing impossible is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.broker.errors import Code, RefusedError
from stream.broker.storage.configs import TopicConfig

BUILT_IN = TopicConfig({}, {}).described()
numbers = st.dictionaries(
    st.sampled_from(["retention.ms", "segment.bytes", "max.message.bytes"]), st.integers(14, 10**9)
)


@given(own=numbers, brokers=numbers)
def test_the_nearest_value_counts_and_says_whether_it_is_the_topics_own(
    own: dict[str, int], brokers: dict[str, int]
) -> None:
    config = TopicConfig({k: str(v) for k, v in own.items()}, {k: str(v) for k, v in brokers.items()})
    for name, (value, is_default) in config.described().items():
        expected = own.get(name, brokers.get(name))
        assert value == config[name] == (BUILT_IN[name][0] if expected is None else str(expected))
        assert is_default is (name not in own)
        if expected is not None:
            assert config.number(name) == expected


def test_each_built_in_value_may_be_given() -> None:
    assert TopicConfig({name: value for name, (value, _) in BUILT_IN.items()}, {})
    assert all(is_default for _, is_default in BUILT_IN.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup.policy", "compress"),
        ("cleanup.policy", "delete,compress"),
        ("retention.ms", "-2"),
        ("retention.ms", "a week"),
        ("retention.ms", ""),
        ("segment.bytes", "13"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.cleanable.dirty.ratio", "nan"),
        ("message.timestamp.type", "Now"),
        ("compression.type", "rar"),
        ("preallocate", "True"),
    ],
)
@pytest.mark.parametrize("where", ["topic", "broker"])
def test_an_impossible_value_is_refused_by_its_name(name: str, value: str, where: str) -> None:
    given_value = {name: value}
    with pytest.raises(RefusedError, match=name) as refused:
        TopicConfig(given_value, {}) if where == "topic" else TopicConfig({}, given_value)
    assert refused.value.code is Code.INVALID_CONFIG


def test_a_name_that_kafka_does_not_know_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"unknown topic config retention\.hours"):
        TopicConfig({"retention.hours": "1"}, {})


@pytest.mark.parametrize(
    ("policy", "told"), [("delete", (False, True)), ("compact", (True, False)), ("compact,delete", (True, True))]
)
def test_what_the_policy_says(policy: str, told: tuple[bool, bool]) -> None:
    config = TopicConfig({"cleanup.policy": policy}, {})
    assert (config.compacted, config.deletes) == told


def test_who_stamps_the_time() -> None:
    assert not TopicConfig({}, {}).log_append_time
    assert TopicConfig({"message.timestamp.type": "LogAppendTime"}, {}).log_append_time
