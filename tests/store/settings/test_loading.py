"""Loading: defaults, file, environment in that order; every value knows its origin, and so does every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.settings import SettingsError, load_settings, read_settings


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
