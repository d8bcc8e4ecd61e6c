"""What a worker tells of its users, and hears of them. With a partition at work: `tests/stream/test_roles.py`."""

from __future__ import annotations

from store.histories import UserRow, note_answer
from store.records.peer_messages import RowRequest, ShownAnswer, Told
from store.requests import Request
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


def test_an_answer_that_two_workers_count_is_one() -> None:
    """Who gave it remembers it, and the owner writes it into the row that comes with the next request."""
    asked, row = Request(user_id="u", task="notification"), UserRow()
    answering, owner = (
        Frequency({"notification": 2}, clock=lambda: 10.0),
        Frequency({"notification": 2}, clock=lambda: 10.1),
    )
    owner.told = lambda _, task, at_s, most: note_answer(row, task, at_s, most)
    owner.count(asked, 3, answering.count(asked, 3))
    assert row.answered == {"notification": [10.0]}
    assert answering.spent(asked, row) is None, "one of two"
    owner.count(asked, 3, answering.count(asked, 3))
    assert answering.spent(asked, row) is not None


def test_a_row_is_told_as_people_read_it() -> None:
    assert described("u", None) is None
    assert described("u", UserRow()) == {"user_id": "u", "attributes": {}, "history": []}
