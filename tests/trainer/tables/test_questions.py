"""Questions: only what every newcomer would get alike is one."""

from __future__ import annotations

import msgspec
import pytest

from store.histories import UserRow
from store.requests import Request
from tests.small_world import START, World, card
from trainer.tables.questions import Question, is_newcomer, question_of

PLAIN = Request(user_id="u", task="similar", item_id="i1", country="de", device="tv", k=7, within_ms=50)


def test_a_plain_request_is_a_question_whoever_asks_and_however_long_it_is() -> None:
    asked = question_of(PLAIN, None, reads_profile=True)
    assert asked == Question("similar", "i1", "de", "tv")
    assert question_of(msgspec.structs.replace(PLAIN, page=""), None, reads_profile=True) == asked
    assert asked.request(3) == Request(task="similar", item_id="i1", country="de", device="tv", k=3)


@pytest.mark.parametrize(
    "own",
    [
        {"query": "q"}, {"query": ""}, {"exclude": ("a",)}, {"explain": True}, {"categories": ("c",)},
        {"languages": ("l",)}, {"creator_ids": ("c",)}, {"tags": ("t",)}, {"max_age_s": 1.0}, {"candidates": ("a",)},
        {"task": "search"}, {"task": "notification"}, {"page": "AAAAAAAAAAA"},
    ],
)  # fmt: skip
def test_whatever_else_a_request_has_makes_it_one_of_its_own(own: dict[str, object]) -> None:
    fields = {name: getattr(PLAIN, name) for name in Request.__struct_fields__}
    assert question_of(Request(**{**fields, **own}), None, reads_profile=False) is None


@pytest.mark.parametrize(("kind", "newcomer"), [("click", False), ("hide", False), ("impression", True)])
def test_who_decided_something_has_a_history(kind: str, newcomer: bool) -> None:
    world = World()
    world.recommender.insert(card(0))
    world.engage("u", "i0", START, kind)
    assert is_newcomer(world.users["u"], reads_profile=False) is newcomer
    assert (question_of(PLAIN, world.users["u"], reads_profile=False) is not None) is newcomer


def test_a_profile_counts_where_something_reads_it() -> None:
    row = UserRow(attributes={"country": "de"})
    assert is_newcomer(row, reads_profile=False)
    assert not is_newcomer(row, reads_profile=True)
    assert is_newcomer(UserRow(), reads_profile=True)
