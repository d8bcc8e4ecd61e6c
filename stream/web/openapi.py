"""The OpenAPI document: every path of the contract, with schemas made from the structs that the handlers use.

Invariant: what it says is what is answered; `tests/stream/web/test_openapi.py` checks real responses against it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from store.requests import MARK_CHARS, MOST_PAGED, Answer, Request
from stream.metrics.metrics import TASKS
from stream.web import parameters
from stream.web.access import PUBLIC

Schema = dict[str, Any]

NOT_BLANK = r"\S"


@cache
def document(console: bool = True) -> Schema:
    """The document, OpenAPI 3.1; without the page where the console is off."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sidestream",
            "version": _version(),
            "description": "Recommendations that are seconds behind the log. Ids in paths are URL-encoded.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(console),
        "components": {"schemas": _schemas(), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],  # a worker on its own machine asks for none
    }


def _version() -> str:
    try:
        return version("sidestream")
    except PackageNotFoundError:
        return "0"


# ---- paths ----


def _paths(console: bool) -> Schema:
    recommend = {
        "get": _operation("recommend", "Recommend items to a user", "Answer", _query_parameters()),
        "post": {
            **_operation("recommendPosted", "The same in a body, or a batch", "AnswerOrAnswers", []),
            "requestBody": _json({"oneOf": [_ref("SingleRequest"), _ref("Batch")]}, required=True),
        },
    }
    rank = {
        **_operation("rank", "Rank an application's own candidates for a user", "Answer", []),
        "requestBody": _json(_ref("RankRequest"), required=True),
    }
    for posted in (recommend["post"], rank):
        posted["responses"]["408"] = _error("The body did not come in time")
        posted["responses"]["413"] = _error("The body is larger than 1 MiB")
        posted["responses"]["415"] = _error("The body is not application/json")
    item_id, user_id = _path_parameter("item_id"), _path_parameter("user_id")
    k = _query_parameter("k", {"type": "integer", "minimum": 1, "maximum": parameters.MAX_K, "default": 10})
    excluded = _query_parameter("exclude", _request_schema()["properties"]["exclude"])
    since = _query_parameter("since", {"type": "string", "description": "`process:next` of the answer before"})
    similar = _lookup("similar", "Items most like this one", "Answer", [item_id, k, excluded])
    for one in (*recommend.values(), rank):
        one["responses"]["404"] = _error("Like which item is not known: `similar` to one that is not in the catalogue")
    for answering in (*recommend.values(), rank, similar):
        answering["responses"]["503"] = _overloaded()
    paths = {
        "/v1/recommend": recommend,
        "/v1/rank": {"post": rank},
        "/v1/items/{item_id}": {"get": _lookup("item", "What is known of an item", "Item", [item_id])},
        "/v1/items/{item_id}/similar": {"get": similar},
        "/v1/users/{user_id}": {"get": _lookup("user", "What is known of a user", "User", [user_id])},
        "/v1/checkpoints": {"get": _plain("checkpoints", "The model's lineage", "Checkpoints")},
        "/v1/codebook": {"get": _plain("codebook", "Health of the serving codebook version", "Codebook")},
        "/v1/status": {"get": _plain("status", "Freshness of every stage against its objective", "Status")},
        "/v1/history": {"get": _operation("history", "The last hour of this worker", "History", [since])},
        "/v1/trace/{item_id}": {"get": _lookup("trace", "Every stage of one item with its time", "Trace", [item_id])},
        "/healthz": {"get": _plain("healthz", "Alive", "Health")},
        "/readyz": {"get": _readyz()},
        "/metrics": {"get": _other("metrics", "Prometheus metrics", "text/plain", "application/openmetrics-text")},
        "/openapi.json": {"get": _plain("openapi", "This document", "Document")},
    }
    if console:
        paths["/"] = {"get": _other("page", "The console page", "text/html")}
    for path, methods in paths.items():
        for operation in methods.values():
            _guarded(operation, public=path in PUBLIC)
    return paths


def _guarded(operation: Schema, *, public: bool) -> None:
    """What `stream.web.access` answers. Nobody else's `Host` is answered, not even by what is for all."""
    operation["responses"]["403"] = _error("The token is of another role, or Host names another machine")
    if public:
        operation["security"] = [{}]
    else:
        operation["responses"]["400"] = _error("A parameter is wrong, or does not exist: the field and the remedy")
        plain = {"schema": {"type": "string", "description": "What was sent is no HTTP, or its line is too long"}}
        operation["responses"]["400"]["content"]["text/plain"] = plain
        operation["responses"]["401"] = {
            **_error("A token of [serving.tokens] is missing"),
            "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
        }


def _overloaded() -> Schema:
    wait = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 0}}}
    return {**_error("So many requests wait that this one does not: see Retry-After"), "headers": wait}


def _operation(name: str, summary: str, schema: str, given: list[Schema]) -> Schema:
    operation: Schema = {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "Answered", **_json(_ref(schema))}},
    }
    return {**operation, "parameters": given} if given else operation


def _lookup(name: str, summary: str, schema: str, given: list[Schema]) -> Schema:
    operation = _operation(name, summary, schema, given)
    operation["responses"]["404"] = _error("Unknown")
    return operation


def _plain(name: str, summary: str, schema: str) -> Schema:
    return _operation(name, summary, schema, [])


def _readyz() -> Schema:
    operation = _plain("readyz", "Recovered, assigned, can serve", "Readiness")
    operation["responses"]["503"] = {"description": "Not yet: the reason", **_json(_ref("Readiness"))}
    return operation


def _other(name: str, summary: str, *content_types: str) -> Schema:
    content = {"content": {each: {"schema": {"type": "string"}} for each in content_types}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, **content}}}


def _json(schema: Schema, **more: Any) -> Schema:
    return {"content": {"application/json": {"schema": schema}}, **more}


def _error(description: str) -> Schema:
    return {"description": description, **_json(_ref("Error"))}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _path_parameter(name: str) -> Schema:
    example = name.replace("_id", "-1")
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": example,
    }


def _query_parameter(name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _query_parameters() -> list[Schema]:
    fields = _request_schema()["properties"]
    plain = {name: _without_null(schema) for name, schema in fields.items()}
    return [_query_parameter(name, schema, required=name == "user_id") for name, schema in plain.items()]


def _without_null(schema: Schema) -> Schema:
    """A query parameter is absent or text, never null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    if not kinds:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name not in ("anyOf", "default")}}


# ---- schemas ----


def _schemas() -> Schema:
    _, made = msgspec.json.schema_components([Answer], ref_template="#/components/schemas/{name}")
    text, number, flag = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
    text_or_null, number_or_null = {"type": ["string", "null"]}, {"type": ["number", "null"]}
    return {
        **made,
        "Request": _request_schema(),
        "SingleRequest": _single_request_schema(),
        "RankRequest": _rank_request_schema(),
        "Batch": _object({"requests": _array(_ref("Request"), maxItems=parameters.MAX_BATCH)}),
        "Answers": _object({"answers": _array(_ref("Answer"))}),
        "AnswerOrAnswers": {"oneOf": [_ref("Answer"), _ref("Answers")]},
        "Error": _object({"error": _object({"field": text, "remedy": text})}),
        "Item": _object(
            {
                "item_id": text,
                "title": text_or_null,
                "live": flag,
                "uploaded_at": number_or_null,
                "semantic_id": _array({"type": "integer"}),
                "codebook": text_or_null,
                "prefix_words": _array(),
                "counters": {"type": "object", "additionalProperties": {"type": "integer"}},
            }
        ),
        "User": _object({"user_id": text}),
        "Codebook": {
            "type": "object",
            "description": "Empty before it was first measured",
            "properties": {name: {"type": "object"} for name in ("health", "topics", "about")},
        },
        "Checkpoints": _object(
            {
                "serving": text_or_null,
                "checkpoints": _array(
                    _object({"checkpoint": text, "parent": text_or_null, "published_at": number_or_null})
                ),
            }
        ),
        "Status": _object(
            {
                "ready": flag,
                "reason": text,
                "now": number,
                "verdict": {"enum": ["met", "close", "missed", "unknown"]},
                "stages": _array(_object({"stage": text, "title": text, "value_s": number_or_null, "verdict": text})),
                "lag": {"type": "object"},
                "events_per_s": {"type": "object", "additionalProperties": number},
            }
        ),
        "History": _object(
            {
                "process": text,
                "next": {"type": "integer"},
                "interval_s": number,
                "keeps_s": number,
                "objectives": {"type": "object", "additionalProperties": number},
                "at": _array(number),
                "series": {"type": "object", "additionalProperties": _array(number_or_null)},
            }
        ),
        "Trace": _object({"item_id": text, "stages": _array(_object({"stage": text, "at": number_or_null}))}),
        "Health": _object({"alive": flag}),
        "Readiness": _object({"ready": flag, "reason": text}),
        "Document": {"type": "object", "required": ["openapi", "paths"]},
    }


def _request_schema() -> Schema:
    """The schema of `Request` with the bounds that `stream.web.parameters` keeps."""
    _, made = msgspec.json.schema_components([Request], ref_template="#/components/schemas/{name}")
    schema: Schema = made["Request"]
    fields = schema["properties"]
    fields["user_id"] = {"type": "string", "pattern": NOT_BLANK, "maxLength": parameters.MAX_ID_CHARS}
    fields["task"] = {"type": "string", "enum": list(TASKS), "default": "home"}
    fields["k"] = {"type": "integer", "minimum": 1, "maximum": parameters.MAX_K, "default": 10}
    fields["k"]["description"] = f"Up to {parameters.MAX_CANDIDATES} where there are candidates"
    longest = {"item_id": parameters.MAX_ID_CHARS, "query": parameters.MAX_QUERY_CHARS}
    for name in ("query", "item_id", "country", "device"):
        most = longest.get(name, parameters.MAX_LABEL_CHARS)
        text = {"type": "string", "maxLength": most, **({"pattern": NOT_BLANK} if name == "item_id" else {})}
        fields[name] = {"anyOf": [text, {"type": "null"}], "default": None}
    longest_id = {"type": "string", "maxLength": parameters.MAX_ID_CHARS}
    for name, most in parameters.REPEATED.items():
        fields[name] = {"type": "array", "items": longest_id, "maxItems": most, "default": []}
        fields[name]["description"] = f"Only items that have one of these {name}"
    fields["exclude"]["description"] = "Ids that are not to be in the answer: what earlier pages showed"
    fields["candidates"]["description"] = "Only these are ranked, also what the user has had"
    oldest = {"type": "number", "exclusiveMinimum": 0, "maximum": parameters.MAX_AGE_S}
    fields["max_age_s"] = {"anyOf": [oldest, {"type": "null"}], "default": None}
    fields["max_age_s"]["description"] = "Only items that were uploaded within so many seconds"
    within = {"type": "integer", "minimum": 1, "maximum": parameters.MAX_WITHIN_MS}
    fields["within_ms"] = {"anyOf": [within, {"type": "null"}], "default": None}
    fields["within_ms"]["description"] = "An answer that is not begun by then is made without its late parts"
    marks = rf"^([A-Za-z0-9_-]{{{MARK_CHARS}}})*$"
    page = {"type": "string", "pattern": marks, "maxLength": MARK_CHARS * MOST_PAGED}
    fields["page"] = {"anyOf": [page, {"type": "null"}], "default": None}
    fields["page"]["description"] = "Empty for the first page, then next_page of the answer before: no item comes twice"
    fields["query"]["description"] = "What is searched for; required for `search` without item_id"
    fields["item_id"]["description"] = "The item on show; required for `similar`"
    return {**schema, "required": ["user_id"]}


def _single_request_schema() -> Schema:
    """A request that is a whole body: what has `requests` is a batch."""
    schema = _request_schema()
    return {**schema, "properties": {**schema["properties"], "requests": False}}


def _rank_request_schema() -> Schema:
    """A request with candidates: as many lines as there are, where `k` does not say."""
    schema = _request_schema()
    fields = schema["properties"]
    fields["k"] = {"type": "integer", "minimum": 1, "maximum": parameters.MAX_CANDIDATES}
    fields["candidates"] = {**fields["candidates"], "minItems": 1}
    del fields["candidates"]["default"]
    return {**schema, "required": ["user_id", "candidates"]}


def _object(properties: Schema) -> Schema:
    """An object that has all of these, and may have more."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: Schema | None = None, **more: Any) -> Schema:
    return {"type": "array", **({"items": items} if items else {}), **more}
