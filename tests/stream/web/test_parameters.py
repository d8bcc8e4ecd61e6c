"""Parameters: whatever is sent becomes a request within all bounds, or an error that names the field and the remedy."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import MultiDict

from store.requests import BadRequestError, Request
from stream.metrics.metrics import TASKS
from stream.web import parameters
from stream.web.parameters import (
    MAX_BATCH,
    MAX_CANDIDATES,
    MAX_ID_CHARS,
    MAX_K,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    MAX_QUERY_CHARS,
    MAX_WITHIN_MS,
    REPEATED,
)

text = st.text(st.characters(codec="utf-8"), max_size=20)
named = text.filter(str.strip)
requests = st.builds(
    Request,
    user_id=named,
    task=st.sampled_from(["home", "next", "notification"]),
    query=st.none() | text,
    item_id=st.none() | named,
    country=st.none() | text,
    device=st.none() | text,
    k=st.integers(1, MAX_K),
    explain=st.booleans(),
    exclude=st.lists(text, max_size=3).map(tuple),
    within_ms=st.none() | st.integers(1, MAX_WITHIN_MS),
    categories=st.lists(text, max_size=2).map(tuple),
    languages=st.lists(text, max_size=2).map(tuple),
    creator_ids=st.lists(text, max_size=2).map(tuple),
    tags=st.lists(text, max_size=2).map(tuple),
    max_age_s=st.none() | st.sampled_from([0.5, 60.0, 86_400.0]),
    candidates=st.lists(text, max_size=2).map(tuple),
    page=st.none() | st.sampled_from(["", "AAAAAAAAAAA", "_-_-_-_-_-_" * 1000]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def within_bounds(request: Request) -> bool:
    ids = [request.user_id, request.item_id or "x"]
    labels = [request.country or "", request.device or ""]
    return (
        all(one.strip() and len(one) <= MAX_ID_CHARS for one in ids)
        and all(len(one) <= MAX_LABEL_CHARS for one in labels)
        and len(request.query or "") <= MAX_QUERY_CHARS
        and 1 <= request.k <= MAX_K
        and request.task in TASKS
    )


@given(request=requests)
def test_a_request_means_the_same_in_a_query_and_in_a_body(request: Request) -> None:
    fields = msgspec.to_builtins(request)
    told = {name: value for name, value in fields.items() if value is not None}
    told["explain"] = json.dumps(told["explain"])
    single = [(name, str(value)) for name, value in told.items() if name not in REPEATED]
    query = MultiDict(single + [(name, value) for name in REPEATED for value in getattr(request, name)])
    assert parameters.from_query(query) == request
    assert parameters.from_fields(fields) == request
    assert parameters.from_batch([fields, {**fields, "of a later release": 1}]) == [request, request]


@given(fields=st.dictionaries(st.sampled_from(Request.__struct_fields__), st.text(st.characters(), max_size=8) | named))
def test_any_query_is_within_bounds_or_refused_by_field(fields: dict[str, str]) -> None:
    with suppress(BadRequestError):
        assert within_bounds(parameters.from_query(MultiDict(fields)))


@given(body=st.binary(max_size=20) | json_values.map(lambda value: json.dumps(value).encode()))
@example(body=b'{"\xff": 1}')
@example(body=b"[" * 100_000)
def test_any_body_is_an_object_or_refused(body: bytes) -> None:
    try:
        assert isinstance(parameters.json_object(body), dict)
    except BadRequestError as error:
        field = error.field
    else:
        field = "body"
    assert field == "body"


@given(fields=st.dictionaries(st.sampled_from(Request.__struct_fields__), json_values))
def test_any_object_is_within_bounds_or_refused_by_field(fields: dict[str, Any]) -> None:
    with suppress(BadRequestError):
        assert within_bounds(parameters.from_fields(fields))


@pytest.mark.parametrize(
    ("fields", "field", "remedy"),
    [
        ({}, "user_id", "name the user"),
        ({"user_id": " "}, "user_id", "name the user"),
        ({"user_id": "u", "k": 0}, "k", "1 to 100"),
        ({"user_id": "u", "query": "q" * (MAX_QUERY_CHARS + 1)}, "query", "at most 2000"),
        ({"user_id": "u", "k": "5"}, "k", "send a whole number"),
        ({"user_id": "u", "task": "dance"}, "task", "home, next"),
        ({"user_id": "u", "task": "similar"}, "item_id", "item to be like"),
        ({"user_id": "u", "task": "search", "query": " "}, "query", "needs a query"),
        ({"user_id": "u", "query": 5}, "query", "a string or null"),
        ({"user_id": "u" * (MAX_ID_CHARS + 1)}, "user_id", "at most 256 characters, not 257"),
        ({"user_id": "u", "device": "d" * (MAX_LABEL_CHARS + 1)}, "device", "at most 64"),
        (5, "body", "an object"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(fields: Any, field: str, remedy: str) -> None:
    with pytest.raises(BadRequestError, match=remedy) as refused:
        parameters.from_fields(fields)
    assert refused.value.field == field
    with pytest.raises(BadRequestError) as refused:
        parameters.from_batch([{"user_id": "u"}, fields])
    assert refused.value.field == ("requests[1]" if field == "body" else f"requests[1].{field}")


@pytest.mark.parametrize("page", ["A", "AAAAAAAAAA=", "AAAAAAAAAAÄ", "AAAAAAAAAAA\n", "A" * 11 * 1001, " " * 11])
def test_a_page_that_no_answer_named_is_refused(page: str) -> None:
    with pytest.raises(BadRequestError, match="page: send next_page of the answer before"):
        parameters.from_fields({"user_id": "u", "page": page})


def test_a_search_has_a_query_or_the_title_of_an_item() -> None:
    assert parameters.from_fields({"user_id": "u", "task": "search", "query": "cats"}).item_id is None
    assert parameters.from_fields({"user_id": "u", "task": "search", "item_id": "i"}).query is None


def test_a_batch_is_an_array_of_bounded_length() -> None:
    assert len(parameters.from_batch([{"user_id": "u"}] * MAX_BATCH)) == MAX_BATCH
    for wrong in ([{"user_id": "u"}] * (MAX_BATCH + 1), {"user_id": "u"}, None):
        with pytest.raises(BadRequestError) as refused:
            parameters.from_batch(wrong)
        assert refused.value.field == "requests"


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(BadRequestError, match="not 2 times"):
        parameters.from_query(MultiDict([("user_id", "u"), ("user_id", "v")]))


@given(written=text)
def test_only_ascii_digits_are_a_number_and_only_four_words_the_truth(written: str) -> None:
    with suppress(BadRequestError):
        assert parameters.whole_number("k", written) == int(written)
        assert written.isascii()
    with suppress(BadRequestError):
        assert parameters.truth("explain", written) is (written in ("true", "1"))
        assert written in ("true", "false", "1", "0")


def test_the_playground_says_what_it_may_and_no_more() -> None:
    given_fields = {"user_id": "u", "item_id": "i", "kind": "click", "query": None, "occurred_at": 1e18, "value": 9}
    assert parameters.engagement_fields(given_fields) == {"user_id": "u", "item_id": "i", "kind": "click"}
    for name, wrong in (("kind", ""), ("user_id", 5), ("item_id", "i" * (MAX_ID_CHARS + 1))):
        with pytest.raises(BadRequestError) as refused:
            parameters.engagement_fields({**given_fields, name: wrong})
        assert refused.value.field == name


@pytest.mark.parametrize(
    ("name", "near"), [("K", "k"), ("limit", "there are"), ("excluded", "exclude"), ("n", "there")]
)
def test_a_parameter_that_does_nothing_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(BadRequestError, match=near) as refused:
        parameters.from_query(MultiDict({"user_id": "u", name: "3"}))
    assert refused.value.field == name
    assert parameters.from_fields({"user_id": "u", name: 3}).user_id == "u"  # a body may be of a later release


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("tags", ["t"] * (MAX_LABELS + 1)),
        ("categories", ["c" * (MAX_ID_CHARS + 1)]),
        ("languages", "de"),
        ("max_age_s", 0),
        ("max_age_s", -1),
        ("max_age_s", 1e12),
        ("max_age_s", "60"),
        ("candidates", [f"i{number}" for number in range(MAX_CANDIDATES + 1)]),
    ],
)
def test_a_filter_that_is_none_is_refused_by_its_field(field: str, wrong: Any) -> None:
    with pytest.raises(BadRequestError) as refused:
        parameters.from_fields({"user_id": "u", field: wrong})
    assert refused.value.field.startswith(field)


@pytest.mark.parametrize("text", ["nan", "inf", "1e9", "-1", "", "٣", "1" * 40])
def test_seconds_in_a_query_string_are_digits(text: str) -> None:
    with pytest.raises(BadRequestError, match="max_age_s"):
        parameters.from_query(MultiDict({"user_id": "u", "max_age_s": text}))


def test_candidates_are_all_ranked_unless_k_says_how_many() -> None:
    many = [f"i{number}" for number in range(300)]
    assert parameters.to_rank({"user_id": "u", "candidates": many}).k == 300
    assert parameters.to_rank({"user_id": "u", "candidates": many, "k": 5}).k == 5
    for wrong in ({}, {"candidates": []}, {"candidates": "i1"}, {"candidates": None}, {"candidates": many, "k": 501}):
        with pytest.raises(BadRequestError):
            parameters.to_rank({"user_id": "u", **wrong})
    with pytest.raises(BadRequestError, match="ask for 1 to 100"):
        parameters.from_fields({"user_id": "u", "k": 101})


def test_excluded_ids_are_repeated_in_a_query_string_and_bounded() -> None:
    query = MultiDict([("user_id", "u"), ("exclude", "a,b"), ("exclude", "c")])
    assert parameters.from_query(query).exclude == ("a,b", "c")
    for wrong in (["x"] * 1001, ["x" * 300], "x", [1]):
        with pytest.raises(BadRequestError) as refused:
            parameters.from_fields({"user_id": "u", "exclude": wrong})
        assert refused.value.field.startswith("exclude")
