"""Settings: defaults, file, environment in that order; every mistake is named; a written file reads back equal."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import KINDS
from store.settings import Settings, SettingsError, Table, load_settings, read_settings, settings_from, to_toml
from store.settings.checks import KEYS, nearest


def test_the_defaults_need_nothing() -> None:
    assert load_settings(environment={}) == Settings()
    assert set(Settings().events.weights) <= set(KINDS)
    assert Settings().topic("uploads") == "sidestream.uploads"


def test_every_table_says_what_it_is() -> None:
    assert all(kind.__doc__ for kind in Table.__subclasses__())


def test_a_file_then_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "sidestream.toml"
    file.write_text('data_dir = "d"\n[kafka]\ngroup = "from-file"\npartitions = 9\n[events.weights]\nclick = 5\n')
    environment = {"SIDESTREAM_KAFKA__GROUP": "from-environment", "SIDESTREAM_SERVING__LIVE_SAMPLE": "0.5"}
    settings = load_settings(file, environment)
    assert settings.kafka.group == "from-environment"
    assert settings.kafka.partitions == 9
    assert settings.events.weights == {"click": 5.0}
    assert settings.serving.live_sample == 0.5
    assert settings.data_dir == "d"
    assert load_settings(environment={"SIDESTREAM_SETTINGS": str(file)}).kafka.group == "from-file"


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("SIDESTREAM_DATA_DIR", "elsewhere", lambda settings: settings.data_dir),
        ("SIDESTREAM_CHECKPOINT_DIR", "c", lambda settings: settings.checkpoint_dir),
        ("SIDESTREAM_BOOTSTRAP_SERVERS", "a:1,b:2", lambda settings: settings.kafka.bootstrap_servers),
        ("SIDESTREAM_KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2", lambda settings: settings.kafka.bootstrap_servers),
        ("SIDESTREAM_KAFKA__GROUP", '"7"', lambda settings: settings.kafka.group.join('""')),
    ],
)
def test_names_in_the_environment(name: str, text: str, read: Any) -> None:
    assert read(load_settings(environment={name: text})) == text


def test_tables_in_the_environment() -> None:
    client = load_settings(environment={"SIDESTREAM_KAFKA__CLIENT__SASL_MECHANISM": "PLAIN"}).kafka.client
    assert client == {"sasl_mechanism": "PLAIN"}
    weights = load_settings(environment={"SIDESTREAM_EVENTS__WEIGHTS": "{like = 4}"}).events.weights
    assert weights == {"like": 4.0}
    assert load_settings(environment={"SIDESTREAM_CODEBOOK__HALVING": "true"}).codebook.halving is True


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SIDESTREAM_KAFKA__GRUOP": "x"}, "gruop"),
        ({"SIDESTREAM_KAFKER__GROUP": "x"}, "kafker"),
        ({"SIDESTREAM_KAFKA__PARTITIONS": "many"}, "kafka.partitions"),
        ({"SIDESTREAM_KAFKA__GROUP__NAME": "x"}, "kafka.group"),
        ({"SIDESTREAM_DATA_DIR__X": "1"}, "data_dir"),
        ({"SIDESTREAM_EVENTS__WEIGHTS": "{stare = 1}"}, "stare"),
        ({"SIDESTREAM_SETTINGS": "missing.toml"}, "missing.toml"),
    ],
)
def test_a_mistake_in_the_environment_is_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(environment=environment)


@pytest.mark.parametrize("content", [b"[kafka", b"\xff", b"[kafka]\npartitions = 1.5\n", b"[kafka]\nnew = 1\n"])
def test_a_mistake_in_the_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"bad\.toml|kafka|new"):
        load_settings(file, {})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, {})


def test_a_value_is_not_a_table() -> None:
    with pytest.raises(SettingsError, match="`group` is a value"):
        load_settings(environment={"SIDESTREAM_KAFKA__GROUP": "g", "SIDESTREAM_KAFKA__GROUP__X__Y": "1"})


def test_checkpoints_lie_in_the_data_folder_unless_named() -> None:
    assert settings_from({"data_dir": "d"}).checkpoint_folder() == Path("d/checkpoints")
    assert settings_from({"data_dir": "d", "checkpoint_dir": "c"}).checkpoint_folder() == Path("c")


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values: dict[type, st.SearchStrategy[Any]] = {
    str: text,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
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
    return st.floats(least, metas[0].le, exclude_min=metas[0].gt is not None, allow_nan=False)


TOGETHER = {"kafka.heartbeat_s", "kafka.session_timeout_s", "model.width", "model.heads", "store.context_length"}
TOGETHER |= {key for key in KEYS if key.startswith(("kafka.security.", "serving.tokens."))}
"""Right alone, but they may contradict each other."""
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serving]\nexplore_share = 7\n", "serving.explore_share = 7: expected a number from 0 to 1"),
        ("[store]\nhistory_length = 0\n", "store.history_length = 0: expected a whole number from 1 on"),
        ("[training]\nmax_seconds = 0\n", "training.max_seconds = 0: expected a number above 0"),
        ("[training]\nmax_seconds = nan\n", "training.max_seconds = NaN: "),
        ("[serving]\nrepeats = 1\n", "serving.repeats = 1: expected true or false"),
        ('[kafka]\nlog_lost = "ask"\n', "kafka.log_lost"),
        ("[serving]\nexplore_shar = 0.1\n", "no setting serving.explore_shar: did you mean serving.explore_share"),
        ("[worker]\nlive_sample = 0.1\n", "no setting worker.*did you mean"),
        ("[training]\nrehearsal_engagements = 5\n", "training.rehearsal_engagements is called training.backfill_eng"),
        ("serving = 5\n", "serving is a table, not a value"),
        ("[model]\nwidth = 100\nheads = 3\n", "model.heads = 3 does not divide model.width = 100"),
        ("[kafka]\nheartbeat_s = 60.0\n", "heartbeat_s = 60.0 is not below kafka.session_timeout_s"),
        ("[candidates.quotas]\npopularity = 5\n", "did you mean candidates.quotas.popular"),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=rf"mine\.toml: .*{said}"):
        load_settings(file, {})


def test_all_mistakes_are_named_at_once_each_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[serving]\nbeams = 0\nbeam = 3\n")
    with pytest.raises(SettingsError) as raised:
        load_settings(file, {"SIDESTREAM_STORE__SEEN_ITEMS": "-1"})
    assert [problem.partition(": ")[0] for problem in raised.value.problems] == [
        str(file),
        str(file),
        "SIDESTREAM_STORE__SEEN_ITEMS",
    ]


def test_every_value_knows_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('data_dir = "d"\n[kafka]\ngroup = "g"\npartitions = 9\n[events.weights]\nclick = 5\n')
    environment = {"SIDESTREAM_KAFKA__GROUP": "other", "SIDESTREAM_BOOTSTRAP_SERVERS": "a:1"}
    loaded = read_settings(file, environment)
    assert {loaded.origin(key) for key in ("data_dir", "kafka.partitions", "events.weights")} == {str(file)}
    assert loaded.origin("kafka.group") == "SIDESTREAM_KAFKA__GROUP"
    assert loaded.origin("kafka.bootstrap_servers") == "SIDESTREAM_BOOTSTRAP_SERVERS"
    assert loaded.origin("serving.beams") == loaded.origin("kafka.client") == "default"


def test_the_nearest_key() -> None:
    assert nearest("training.gate_minimum_events") == "training.gate_min_events"
    assert nearest("beams") == "serving.beams"
    assert nearest("kafka.zzz") == ""


def test_every_number_has_a_range() -> None:
    free = {"kafka.replication", "serving.utility.click", "serving.utility.completion", "serving.utility.negative"}
    assert {key for key, kind in KEYS.items() if kind in (int, float)} == free
