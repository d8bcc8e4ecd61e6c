"""What the broker refuses, in Kafka's own error codes.

`RefusedError` travels from the place that finds the fault to the handler that answers the client; the client turns the
code back into its own exception. `DataDirInUseError` is the one error a person sees when starting a broker.
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The Kafka protocol error codes that this broker answers with."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    INVALID_TOPIC = 17
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    INVALID_REQUEST = 42
    OUT_OF_ORDER_SEQUENCE = 45
    INVALID_PRODUCER_EPOCH = 47
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    STORAGE_ERROR = 56
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    MEMBER_ID_REQUIRED = 79
    FENCED_INSTANCE_ID = 82
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNKNOWN_TOPIC_ID = 100


NO_TRANSACTIONS = "the embedded broker has no transactions: use real Kafka, or leave transactional.id unset"


MOST_MESSAGE = 1000


class RefusedError(Exception):
    """A request, or one part of it, was refused with a Kafka error code; the client decides what to do."""

    def __init__(self, code: Code, message: str | None = None) -> None:
        """`message` may quote what was sent: it is cut to what an answer has room for."""
        super().__init__(message or code.name)
        self.code = code
        self.message = message and message[:MOST_MESSAGE]


class DataDirInUseError(RuntimeError):
    """Another broker runs on this folder: stop it, or give this one a folder of its own."""
