"""Settings: defaults, file, environment in that order; every mistake is named; a written file reads back equal."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import KINDS
from store.settings import Settings, SettingsError, Table, load_settings, settings_from, to_toml


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
fields = {
    f"{table.name}.{field.name}": values[field.type]
    for table in msgspec.structs.fields(Settings)
    if isinstance(table.type, type) and issubclass(table.type, Table)
    for field in msgspec.structs.fields(table.type)
    if field.type in values
}


@given(st.data())
def test_a_written_file_reads_back_equal(data: st.DataObject) -> None:
    tree: dict[str, Any] = {"data_dir": data.draw(text)}
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=6)):
        table, _, field = name.partition(".")
        tree.setdefault(table, {})[field] = data.draw(fields[name])
    client = data.draw(st.dictionaries(text, text | values[int] | values[bool], max_size=3))
    tree.setdefault("kafka", {})["client"] = client
    weights = st.dictionaries(st.sampled_from(KINDS), values[float], max_size=3)
    tree.setdefault("events", {})["weights"] = data.draw(weights)
    settings = settings_from(tree)
    assert settings_from(tomllib.loads(to_toml(settings))) == settings


def test_infinity_is_written_as_toml_has_it() -> None:
    settings = settings_from({"training": {"every_s": math.inf}, "kafka": {"group": "\x7f😀"}})
    assert settings_from(tomllib.loads(to_toml(settings))) == settings
