"""Frequency: no more answers of a bounded task in any 24 hours, and bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.events import DAY_S
from store.requests import Request
from stream.serving.frequency import Frequency


def asked(user: str = "u", task: str = "notification") -> Request:
    return Request(user_id=user, task=task)  # type: ignore[arg-type]


@given(most=st.integers(1, 3), waits_s=st.lists(st.floats(0, 2 * DAY_S), max_size=20))
def test_no_day_brings_more(most: int, waits_s: list[float]) -> None:
    now = [0.0]
    frequency = Frequency({"notification": most}, clock=lambda: now[0])
    given_at: list[float] = []
    for wait_s in waits_s:
        now[0] += wait_s
        recent = [at for at in given_at if at > now[0] - DAY_S]
        assert (frequency.spent(asked()) is None) == (len(recent) < most)
        if frequency.spent(asked()) is None:
            frequency.count(asked(), lines=1)
            given_at.append(now[0])


def test_others_and_what_brought_nothing_do_not_count() -> None:
    frequency = Frequency({"notification": 1, "home": 0})
    frequency.count(asked(), lines=0)
    frequency.count(asked(task="home"), lines=5)
    frequency.count(asked(user="v"), lines=1)
    frequency.count(asked(user=""), lines=1)
    assert [frequency.spent(asked(user)) is None for user in ("u", "v", "")] == [True, False, True]
    assert frequency.spent(asked(task="home")) is None
    frequency.forget("v")
    assert frequency.spent(asked("v")) is None


def test_the_users_remembered_are_bounded() -> None:
    frequency = Frequency({"notification": 1}, most_users=2)
    for user in ("a", "b", "c"):
        frequency.count(asked(user), lines=1)
    assert [frequency.spent(asked(user)) is None for user in ("a", "b", "c")] == [True, False, False]
