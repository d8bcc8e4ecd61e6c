"""A written file reads back equal, whatever the settings."""

from __future__ import annotations

import math
import tomllib
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from store.events import KINDS
from store.settings import settings_from, to_toml
from store.settings.checks import KEYS

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values: dict[type, st.SearchStrategy[Any]] = {
    str: text,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
}


def valid(kind: Any) -> st.SearchStrategy[Any] | None:
    """Values that a setting of this type may have; None for one that is more than a scalar."""
    base, *metas = get_args(kind) if hasattr(kind, "__metadata__") else (kind,)
    if not metas:
        return values.get(base)
    least = metas[0].ge if metas[0].ge is not None else metas[0].gt
    if base is int:
        return st.integers(least, metas[0].le if metas[0].le is not None else 2**63 - 1)
    return st.floats(least, metas[0].le, exclude_min=metas[0].gt is not None, allow_nan=False, allow_infinity=False)


TOGETHER = {"kafka.heartbeat_s", "kafka.session_timeout_s", "model.width", "model.heads", "store.context_length"}
TOGETHER |= {key for key in KEYS if key.startswith(("kafka.security.", "kafka.registry.", "serving.tokens."))}
TOGETHER |= {"kafka.bootstrap_servers", "kafka.topic_prefix", "kafka.group", "kafka.replication"}
TOGETHER |= {"serving.host", "serving.advertise", "serving.tls.key_file", "serving.tls.certificate_file"}
TOGETHER |= {"tracing.endpoint", "tracing.service_name", "freshness.canary_s"}
"""Right alone, but they may contradict each other; or texts that must have a form, or a number with a gap below it."""
fields = {
    key: strategy
    for key, kind in KEYS.items()
    if key not in TOGETHER | {"store.history_length"} and (strategy := valid(kind)) is not None
}


@given(st.data())
def test_a_written_file_reads_back_equal(data: st.DataObject) -> None:
    tree: dict[str, Any] = {"data_dir": data.draw(text)}
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=6)):
        *tables, field = name.split(".")
        place = tree
        for table in tables:
            place = place.setdefault(table, {})
        place[field] = data.draw(fields[name])
    client = data.draw(st.dictionaries(text, text | values[int] | values[bool], max_size=3))
    tree.setdefault("kafka", {})["client"] = client
    weights = st.dictionaries(st.sampled_from(KINDS), values[float], max_size=3)
    tree.setdefault("events", {})["weights"] = data.draw(weights)
    settings = settings_from(tree)
    assert settings_from(tomllib.loads(to_toml(settings))) == settings


def test_infinity_is_written_as_toml_has_it() -> None:
    settings = settings_from({"training": {"every_s": math.inf}, "kafka": {"group": "\x7f😀"}})
    assert settings_from(tomllib.loads(to_toml(settings))) == settings
