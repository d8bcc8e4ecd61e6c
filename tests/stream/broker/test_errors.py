"""The broker's refusals: Kafka's own numbers, which kafka-python turns back into Kafka's own names."""

from __future__ import annotations

import pytest
from kafka.errors import for_code

from stream.broker.errors import Code, RefusedError

OTHERWISE = {
    "NONE": "NO_ERROR",
    "MESSAGE_TOO_LARGE": "MESSAGE_SIZE_TOO_LARGE",
    "INVALID_REPLICA_ASSIGNMENT": "INVALID_REPLICATION_ASSIGNMENT",
    "OUT_OF_ORDER_SEQUENCE": "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "STORAGE_ERROR": "KAFKA_STORAGE_ERROR",
}
"""What kafka-python calls a code that has a shorter, or an older, name here."""


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_a_client_reads_each_code_as_what_was_meant(code: Code) -> None:
    known = for_code(int(code))
    assert known.errno == code
    assert known.message == OTHERWISE.get(code.name, code.name)


def test_a_refusal_without_words_of_its_own_says_its_codes_name() -> None:
    plain, told = RefusedError(Code.INVALID_TOPIC), RefusedError(Code.INVALID_TOPIC, "no spaces, please")
    assert (str(plain), plain.message, plain.code) == ("INVALID_TOPIC", None, Code.INVALID_TOPIC)
    assert (str(told), told.message) == ("no spaces, please", "no spaces, please")
