"""Parameters: what applications send over HTTP, checked before anything else sees it.

Invariant: anything a client can send ends in a `Request` that keeps all bounds, or in a `BadRequestError` that names
the field and the remedy. A parameter of a query string that does not exist is refused, with the nearest that does; in a
body unknown fields change nothing, as those of events do (an application may be of a later release), and the answer
notes them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from multidict import MultiMapping

from store.requests import Answer, BadRequestError, Note, Request, shown_before
from stream.metrics.metrics import TASKS

MAX_K = 100
MAX_BATCH = 100
MAX_ID_CHARS = 256
MAX_QUERY_CHARS = 2000
MAX_LABEL_CHARS = 64
MAX_EXCLUDED = 1000
MAX_CANDIDATES = 500
MAX_LABELS = 50
"""Values of one filter."""
MAX_AGE_S = 3.2e9
"""A century."""
MAX_WITHIN_MS = 60_000
MAX_NOTED = 10
"""Fields without a meaning that an answer tells of."""

REPEATED: Mapping[str, int] = {
    "exclude": MAX_EXCLUDED,
    "categories": MAX_LABELS,
    "languages": MAX_LABELS,
    "creator_ids": MAX_LABELS,
    "tags": MAX_LABELS,
    "candidates": MAX_CANDIDATES,
}
"""Fields of many values (repeated in a query string), and how many they may have."""

_WHERE = re.compile(r" - at `\$\.?(?:\[\.\.\.\]\.?)?([^`]*)`$")
_TYPES = {
    "str": "a string",
    "int": "a whole number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def from_query(query: MultiMapping[str]) -> Request:
    """The request in a query string."""
    only(query, Request.__struct_fields__)
    fields: dict[str, Any] = {name: every(query, name) for name in REPEATED if name in query}
    for name in Request.__struct_fields__:
        text = once(query, name) if name not in REPEATED else None
        if text is not None:
            fields[name] = text
    for name in ("k", "within_ms"):
        if name in fields:
            fields[name] = whole_number(name, fields[name])
    if "max_age_s" in fields:
        fields["max_age_s"] = seconds("max_age_s", fields["max_age_s"])
    if "explain" in fields:
        fields["explain"] = truth("explain", fields["explain"])
    return from_fields(fields)


def every(query: MultiMapping[str], name: str) -> tuple[str, ...]:
    """All values of a parameter that may be repeated."""
    return bounded_list(name, tuple(_text(name, value) for value in query.getall(name, [])))


def only(query: Iterable[str], known: Sequence[str] = ()) -> None:
    """Refuses a parameter that does not exist."""
    for name in query:
        if name not in known:
            raise BadRequestError(name[:MAX_LABEL_CHARS], f"there is no such parameter: {_instead(name, known)}")


def noted(answer: Answer, fields: Mapping[str, Any], known: Sequence[str] = Request.__struct_fields__) -> Answer:
    """The answer, with a note on each field of a body that means nothing: it was not refused, and had no effect."""
    unknown = [name for name in fields if name not in known][:MAX_NOTED]
    if not unknown:
        return answer
    texts = {name[:MAX_LABEL_CHARS]: _instead(name, known) for name in unknown}
    notes = [Note(reason="unknown_field", text=f"there is no field {name}: {text}") for name, text in texts.items()]
    return msgspec.structs.replace(answer, notes=[*answer.notes, *notes])


def _instead(name: str, known: Sequence[str]) -> str:
    """What to write instead of a name that does not exist."""
    near = difflib.get_close_matches(name.casefold()[:MAX_LABEL_CHARS], known, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(known)}" if known else "leave it out"


def from_fields(fields: Any, where: str = "") -> Request:
    """The request in a JSON object; `where` names its place in a batch, for the error."""
    try:
        request = msgspec.convert(fields, Request)
    except msgspec.ValidationError as error:
        raise _bad(error, where) from None
    try:
        return checked(request)
    except BadRequestError as error:
        raise BadRequestError(f"{where}{error.field}", error.remedy) from None


def to_rank(fields: Mapping[str, Any]) -> Request:
    """The request of a body that names the `candidates` to be ranked: all of them, where `k` does not say."""
    request = from_fields({"k": min(MAX_CANDIDATES, _length(fields.get("candidates"))), **fields})
    if not request.candidates:
        raise BadRequestError("candidates", f"name 1 to {MAX_CANDIDATES} items to be ranked")
    return request


def _length(values: Any) -> int:
    return max(1, len(values)) if isinstance(values, list) else 1


def from_batch(requests: Any) -> list[Request]:
    """The requests of a batch."""
    if not isinstance(requests, list):
        raise BadRequestError("requests", "send an array of request objects")
    if len(requests) > MAX_BATCH:
        raise BadRequestError("requests", f"send at most {MAX_BATCH} requests at a time, not {len(requests)}")
    return [from_fields(fields, f"requests[{place}].") for place, fields in enumerate(requests)]


def json_object(body: bytes) -> dict[str, Any]:
    """A body that is one JSON object."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError("body", f"send one JSON object in UTF-8 ({error})") from None
    if not isinstance(value, dict):
        raise BadRequestError("body", "send a JSON object: {…}")
    return value


def checked(request: Request) -> Request:
    """The request itself, when it keeps every bound."""
    _within("user_id", request.user_id, MAX_ID_CHARS)
    _within("item_id", request.item_id, MAX_ID_CHARS)
    _within("query", request.query, MAX_QUERY_CHARS)
    _within("country", request.country, MAX_LABEL_CHARS)
    _within("device", request.device, MAX_LABEL_CHARS)
    bounded_k(request.k, MAX_CANDIDATES if request.candidates else MAX_K)
    if request.within_ms is not None and not 1 <= request.within_ms <= MAX_WITHIN_MS:
        raise BadRequestError("within_ms", f"allow 1 to {MAX_WITHIN_MS} milliseconds")
    for name in REPEATED:
        bounded_list(name, getattr(request, name))
    shown_before(request.page or "")
    if request.max_age_s is not None and not 0 < request.max_age_s <= MAX_AGE_S:
        raise BadRequestError("max_age_s", f"allow more than 0 and at most {MAX_AGE_S:.0f} seconds")
    if not request.user_id.strip():
        raise BadRequestError("user_id", "name the user; one never seen before is answered too")
    if request.item_id is not None and not request.item_id.strip():
        raise BadRequestError("item_id", "name an item, or leave it out")
    if request.task == "similar" and request.item_id is None:
        raise BadRequestError("item_id", "a `similar` request needs the item to be like")
    if request.task == "search" and request.item_id is None and not (request.query or "").strip():
        raise BadRequestError("query", "a `search` needs a query, or an item_id whose title is taken")
    return request


def bounded_list(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """The ids or labels of a field themselves, when there are not too many and each can be one."""
    if len(values) > REPEATED[name]:
        raise BadRequestError(name, f"send at most {REPEATED[name]} values, not {len(values)}")
    for value in values:
        _within(name, value, MAX_ID_CHARS)
    return values


def bounded_k(k: int, most: int = MAX_K) -> int:
    """`k` itself, when it is from 1 to `most`."""
    if not 1 <= k <= most:
        raise BadRequestError("k", f"ask for 1 to {most} items")
    return k


def seconds(field: str, text: str) -> float:
    """The number of seconds that `text` spells in ASCII digits."""
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", text, re.ASCII):
        raise BadRequestError(field, "send seconds in digits, such as 3600")
    return float(text)


def whole_number(field: str, text: str) -> int:
    """The whole number that `text` spells in ASCII digits."""
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text, re.ASCII):
        raise BadRequestError(field, "send a whole number in digits, such as 10")
    return int(text)


def truth(field: str, text: str) -> bool:
    """What `true`, `false`, `1` or `0` says."""
    if text not in ("true", "false", "1", "0"):
        raise BadRequestError(field, "send true or false")
    return text in ("true", "1")


def once(query: MultiMapping[str], name: str) -> str | None:
    """The only value of a parameter, or None when it is not there."""
    values = query.getall(name, [])
    if len(values) > 1:
        raise BadRequestError(name, f"give it once, not {len(values)} times")
    return _text(name, values[0]) if values else None


def _text(name: str, value: str) -> str:
    if not _is_text(value):
        raise BadRequestError(name, "send UTF-8 text")
    return value


def engagement_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the playground may say of an engagement: strings under known names; the rest of the event is ours."""
    allowed = ("user_id", "item_id", "kind", "task", "query", "context_item_id", "request_id")
    chosen = {name: fields[name] for name in allowed if fields.get(name) is not None}
    for name, value in chosen.items():
        if not isinstance(value, str):
            raise BadRequestError(name, "send a string")
        _within(name, value, MAX_QUERY_CHARS if name == "query" else MAX_ID_CHARS)
    for name in ("user_id", "item_id", "kind"):
        if not chosen.get(name, "").strip():
            raise BadRequestError(name, "required")
    return chosen


def _within(field: str, text: str | None, most: int) -> None:
    if text is not None and len(text) > most:
        raise BadRequestError(field, f"send at most {most} characters, not {len(text)}")


def _is_text(text: str) -> bool:
    """Python strings can hold lone surrogates, which are not text and cannot be answered in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad(error: msgspec.ValidationError, where: str) -> BadRequestError:
    message = str(error)
    place = _WHERE.search(message)
    field = place.group(1) if place else ""
    if field == "task":
        return BadRequestError(f"{where}task", f"use one of {', '.join(TASKS)}")
    wanted = re.match(r"Expected `([^`]+)`", message)
    kinds = [_TYPES.get(kind.strip(), kind.strip()) for kind in wanted.group(1).split("|")] if wanted else []
    remedy = f"send {' or '.join(kinds)}" if kinds else message
    return BadRequestError(f"{where}{field}".rstrip(".") or "body", remedy)
