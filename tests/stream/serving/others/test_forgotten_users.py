"""Forgotten users: with a scorer, in `tests/stream/ingest/test_forgetting.py`; here what goes, and when it was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from store.log import Forgotten
from store.records.foreign import ForeignRecordError
from store.records.peer_messages import ShownAnswer
from store.requests import Request
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.others.forgotten_users import ForgottenUsers


def test_nothing_is_left_of_a_user_and_the_later_time_counts() -> None:
    attribution, frequency = Attribution(1.0, 60.0), Frequency({"notification": 1})
    attribution.shown_by("http://s", ShownAnswer("u", "home", "r", 1.0, ["i"]))
    frequency.count(asked := Request(user_id="u", task="notification"), 1)
    assert frequency.spent(asked)
    users = ForgottenUsers(attribution, frequency)
    assert users.at_ms("u") == -1
    for at_ms in (5000, 4000):
        one = Forgotten(user_id="u", offset=0, forgotten_at_ms=at_ms)
        users.on_record(SimpleNamespace(key=one.key(), value=one.encode(), partition=0, offset=0, headers=[]))
    assert users.at_ms("u") == 5000
    assert frequency.spent(asked) is None
    with pytest.raises(ForeignRecordError):
        users.on_record(SimpleNamespace(key=b"x", value=b"[", partition=0, offset=0, headers=[]))
