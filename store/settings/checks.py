"""Checks: what is wrong with a tree of settings, every mistake with its key, its value and what to write instead.

Invariant: a tree without problems converts to `Settings`.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from store.events import KINDS
from store.settings.ranges import Table
from store.settings.tables import Envelopes, Registry, Security, Serving, Settings
from store.tables.mapping import Columns, MappingError
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS, EventTopic

RENAMED: Mapping[str, str] = {"training.rehearsal_engagements": "training.backfill_engagements"}
"""Keys of earlier versions → what they are called now."""

LEAST_CANARY_S = 0.5
ENDLESS = ("store.vector_horizon_s", "training.every_s", "training.max_seconds", "events.max_future_s")
"""Keys that may be infinite: no limit, or never."""

Origin = Callable[[str], str]
"""Where the value of a dotted key comes from: a file, an environment variable, or `default`."""


class SettingsError(ValueError):
    """The settings file or an environment variable is wrong: the message names the key; correct it and start again."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems: Sequence[str] = problems


def keys(table: type[Table] = Settings, above: str = "") -> dict[str, Any]:
    """Dotted key → its type, of all settings that are no tables."""
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(table, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, Table):
            found |= keys(kind, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = kind
    return found


KEYS: Mapping[str, Any] = keys()
TABLES = {key.rpartition(".")[0] for key in KEYS} - {""}


def problems_of(tree: Mapping[str, Any], origin: Origin) -> list[str]:
    """Every mistake in a tree."""
    found = [f"{origin(key)}: {problem}" for key, problem in _problems(tree, "")]
    return found or [f"{origin(key)}: {problem}" for key, problem in _contradictions(msgspec.convert(tree, Settings))]


def _problems(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        key = f"{above}{name}"
        if key in KEYS:
            if problem := _value_problem(key, value):
                yield key, problem
        elif isinstance(value, Mapping) and (value or key in TABLES):
            yield from _problems(value, f"{key}.")
        elif key not in TABLES:
            yield key, unknown(key)
        else:
            yield key, f"{key} is a table, not a value: write [{key}] and its keys below"


def _value_problem(key: str, value: Any) -> str:
    try:
        converted = msgspec.convert(value, KEYS[key])
    except msgspec.ValidationError as error:
        allowed = allowed_by(KEYS[key])
        return f"{key} = {_shown(value)}: expected {allowed}" if allowed else f"{key} = {_shown(value)}: {error}"
    numbers = list(converted.values()) if isinstance(converted, dict) else [converted]
    if any(isinstance(number, float) and math.isnan(number) for number in numbers):
        return f"{key} = {_shown(value)}: NaN is no value"
    if key not in ENDLESS and any(isinstance(number, float) and math.isinf(number) for number in numbers):
        return f"{key} = {_shown(value)}: it cannot be infinite"
    if key in ("events.weights", "events.completed"):
        unknown = sorted(set(converted) - set(KINDS))
        if unknown:
            return f"{key} names unknown kinds {unknown}: use {', '.join(KINDS)}"
    return ""


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    """Values that are right alone and wrong together."""
    model, kafka, store = settings.model, settings.kafka, settings.store
    if model.width % model.heads:
        yield "model.heads", f"model.heads = {model.heads} does not divide model.width = {model.width}"
    if kafka.heartbeat_s >= kafka.session_timeout_s:
        yield (
            "kafka.heartbeat_s",
            f"kafka.heartbeat_s = {kafka.heartbeat_s} is not below kafka.session_timeout_s = {kafka.session_timeout_s}",
        )
    if 0.0 < settings.freshness.canary_s < LEAST_CANARY_S:
        yield (
            "freshness.canary_s",
            f"freshness.canary_s = {settings.freshness.canary_s}: expected 0 (none) or a number from "
            f"{LEAST_CANARY_S} on",
        )
    yield from _unusable(settings)
    yield from _insecure(kafka.security)
    yield from _unmapped(kafka.envelopes)
    yield from _unusable_registry(kafka.registry)
    yield from _half_guarded(settings.serving)
    if store.context_length > store.history_length:
        yield (
            "store.context_length",
            f"store.context_length = {store.context_length} is more than store.history_length = {store.history_length}",
        )


def _unusable(settings: Settings) -> Iterator[tuple[str, str]]:
    """Texts and numbers of the right type that no broker, client or socket could take."""
    kafka, serving = settings.kafka, settings.serving
    for server in kafka.bootstrap_servers.split(","):
        if not _is_address(server.strip()):
            yield (
                "kafka.bootstrap_servers",
                f"kafka.bootstrap_servers = {_shown(kafka.bootstrap_servers)}: expected host:port[,host:port…], and "
                f"{_shown(server)} is none",
            )
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,200}", kafka.topic_prefix):
        allowed = "up to 200 letters of ASCII, digits, dots, hyphens and underscores"
        yield "kafka.topic_prefix", f"kafka.topic_prefix = {_shown(kafka.topic_prefix)}: expected {allowed}"
    if kafka.replication == 0:
        yield (
            "kafka.replication",
            "kafka.replication = 0: expected a whole number from 1 on, or -1 (the broker's)",
        )
    if serving.advertise and not re.match(r"https?://[^/\s]", serving.advertise):
        yield (
            "serving.advertise",
            f"serving.advertise = {_shown(serving.advertise)}: expected http://host:port or https://host:port",
        )
    tracing = settings.tracing
    if fault := _no_collector(tracing.endpoint):
        yield "tracing.endpoint", f"tracing.endpoint: {fault}"
    named = {"kafka.group": kafka.group, "serving.host": serving.host, "tracing.service_name": tracing.service_name}
    for key, text in named.items():
        if not text.strip():
            yield key, f"{key} = {_shown(text)}: expected a text that is not empty"


def _no_collector(endpoint: str) -> str:
    """Why no collector can be there; an address that holds a password is not repeated."""
    if "@" in endpoint:
        return "a password in an address is seen by many: write the credentials into tracing.headers_file"
    if endpoint and not re.fullmatch(r"https?://[^/\s?#]+[^\s?#]*", endpoint):
        return f"{_shown(endpoint)}: expected http://host:port or https://host:port"
    return ""


def _is_address(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and not re.search(r"[\s/]", host) and port.isascii() and port.isdigit() and 0 < int(port) < 65_536


def _insecure(security: Security) -> Iterator[tuple[str, str]]:
    """A `[kafka.security]` that no broker could accept, or whose words would be ignored."""
    sasl, tls = security.protocol.startswith("SASL"), security.protocol.endswith("SSL")
    bearer = security.mechanism == "OAUTHBEARER"
    here = "kafka.security"
    if sasl and bearer and not security.token:
        yield f"{here}.token", f'{here}.mechanism is OAUTHBEARER: name a hook, {here}.token = "module:function"'
    if sasl and not bearer and not security.username:
        yield f"{here}.username", f"{here}.protocol = {security.protocol} needs {here}.username"
    if sasl and not bearer and not (security.password or security.password_file):
        yield f"{here}.password", f"{here}.protocol = {security.protocol} needs {here}.password or password_file"
    for name in ("username", "password", "password_file", "token"):
        if getattr(security, name) and not sasl:
            yield f"{here}.{name}", f"{here}.{name} is ignored with protocol = {security.protocol}: use SASL_SSL"
    for name in ("ca_file", "certificate_file", "key_file"):
        if getattr(security, name) and not tls:
            yield f"{here}.{name}", f"{here}.{name} is ignored with protocol = {security.protocol}: use SSL or SASL_SSL"
    if security.key_file and not security.certificate_file:
        yield f"{here}.certificate_file", f"{here}.key_file needs {here}.certificate_file"
    for name in ("password", "key_password"):
        if getattr(security, name) and getattr(security, f"{name}_file"):
            yield f"{here}.{name}", f"{here}.{name} and {here}.{name}_file are both given: remove one"


def _unmapped(envelopes: Envelopes) -> Iterator[tuple[str, str]]:
    """Columns for fields that no event has, and kinds that do not exist."""
    topics: tuple[EventTopic, ...] = (UPLOADS, ENGAGEMENTS, PROFILES)
    for topic in topics:
        try:
            Columns(topic=topic, columns=getattr(envelopes, topic))
        except MappingError as error:
            yield f"kafka.envelopes.{topic}", f"kafka.envelopes.{topic}: {error}"
    for name, kind in envelopes.kinds.items():
        if kind not in KINDS:
            yield "kafka.envelopes.kinds", f"kafka.envelopes.kinds.{name} = {kind}: use {', '.join(KINDS)}"


def _unusable_registry(registry: Registry) -> Iterator[tuple[str, str]]:
    here = "kafka.registry"
    if registry.url and not re.match(r"https?://[^/\s]", registry.url):
        yield f"{here}.url", f"{here}.url = {_shown(registry.url)}: expected http://host:port or https://host:port"
    elif "@" in registry.url.partition("//")[2].partition("/")[0]:
        yield f"{here}.url", f"{here}.url holds a password, which would be shown: use username and password_file"
    for name in ("username", "password", "password_file", "ca_file"):
        if getattr(registry, name) and not registry.url:
            yield f"{here}.{name}", f"{here}.{name} is ignored without {here}.url"
    if bool(registry.username) != bool(registry.password or registry.password_file):
        given = "username" if registry.username else "password" if registry.password else "password_file"
        yield f"{here}.{given}", f"{here} needs username and password (or password_file): both or none"
    if registry.password and registry.password_file:
        yield f"{here}.password", f"{here}.password and {here}.password_file are both given: remove one"
    if registry.ca_file and registry.url.startswith("http:"):
        yield f"{here}.ca_file", f"{here}.ca_file is ignored with http: use https"


LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""What this machine is called by itself."""


def _half_guarded(serving: Serving) -> Iterator[tuple[str, str]]:
    missing = [role for role in ("read", "write", "operate") if not getattr(serving.tokens, role)]
    if 0 < len(missing) < 3:
        yield f"serving.tokens.{missing[0]}", f"serving.tokens needs {' and '.join(missing)}, too: all three or none"
    if serving.tls.key_file and not serving.tls.certificate_file:
        yield "serving.tls.key_file", "serving.tls.key_file needs serving.tls.certificate_file"
    if serving.tls.certificate_file and serving.advertise.startswith("http:"):
        yield (
            "serving.advertise",
            f"serving.advertise = {_shown(serving.advertise)}: with serving.tls.certificate_file it begins with https://",
        )


def unguarded(serving: Serving) -> str:
    """What to say of a worker's face that strangers could reach; empty where they cannot."""
    if serving.host in LOOPBACK or serving.open or serving.tokens.read:
        return ""
    return (
        f"serving.host = {serving.host} is reached from other machines: set serving.tokens (read, write, operate), or "
        "serving.open = true where a private network keeps strangers out"
    )


def unknown(key: str) -> str:
    """What to say of a key that does not exist."""
    if key in RENAMED:
        return f"{key} is called {RENAMED[key]} now"
    near = nearest(key)
    return f"there is no setting {key}{f': did you mean {near}?' if near else ''}"


def nearest(key: str) -> str:
    """The dotted key, or table, that is most like one that does not exist; empty when none is."""
    table, _, name = key.rpartition(".")
    beside = {known.rpartition(".")[2]: known for known in KEYS if known.rpartition(".")[0] == table}
    everywhere = {known.rpartition(".")[2]: known for known in KEYS} | ({} if table else {one: one for one in TABLES})
    for names, likeness in ((beside, 0.6), (everywhere, 0.8)):
        if near := difflib.get_close_matches(name, names, 1, likeness):
            return names[near[0]]
    return ""


def allowed_by(kind: Any) -> str:
    """The range of a type in words; empty for one that is more than a number, a text or a truth value."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    base, *metas = get_args(kind) if hasattr(kind, "__metadata__") else (kind,)
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if base not in names:
        return ""
    bounds = metas[0] if metas else msgspec.Meta()
    least = bounds.ge if bounds.ge is not None else bounds.gt
    if least is None:
        return names[base]
    if bounds.le is not None:
        return f"{names[base]} from {least:g} to {bounds.le:g}"
    return f"{names[base]} {'above' if bounds.ge is None else 'from'} {least:g}{'' if bounds.ge is None else ' on'}"


def _shown(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
