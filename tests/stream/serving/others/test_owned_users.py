"""What a worker tells of its users, and hears of them. With a partition at work: `tests/stream/test_roles.py`."""

from __future__ import annotations

from store.histories import UserRow
from store.records.peer_messages import RowRequest, ShownAnswer, Told
from stream.ingest.assignment import Assignment
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.others.owned_users import OwnedUsers, described


def users() -> tuple[OwnedUsers, Attribution, list[tuple[int, str]]]:
    wanted: list[tuple[int, str]] = []
    attribution = Attribution(1.0, 60.0)
    frequency = Frequency({"notification": 1})
    known = OwnedUsers(Assignment({}, lambda _: None), 4, attribution, frequency, lambda *row: wanted.append(row))
    return known, attribution, wanted


def test_of_a_user_who_is_at_home_elsewhere_nothing_is_told_and_nothing_noted() -> None:
    known, attribution, wanted = users()
    assert known.row("u") == (False, None)
    assert known.row("") == (True, None), "nobody in particular is everybody's"
    assert known.owned_row(RowRequest("u", "home")) is None
    assert known.described("u") is None
    assert known.recent(5) == []
    heard = known.hear(Told("http://s", [ShownAnswer("u", "home", "r", 1.0, ["i"])], {2: ["i"]}))
    assert heard.answerers == ["http://s"]
    assert wanted == [(2, "i")]
    assert attribution.take_hits("http://s") == []


def test_a_row_is_told_as_people_read_it() -> None:
    assert described("u", None) is None
    assert described("u", UserRow()) == {"user_id": "u", "attributes": {}, "history": []}
