"""Which system a command is about."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stream.cli.arguments.system import NotRunningError, find_system
from stream.up.addresses import write_addresses
from stream.up.process_identity import started


def test_a_system_is_found_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIDESTREAM_")]:
        monkeypatch.delenv(name)
    with pytest.raises(NotRunningError, match="sidestream up --data-dir"):
        find_system(tmp_path)
    (tmp_path / "settings.toml").write_text('[kafka]\ntopic_prefix = "p."\n')
    addresses = {"bootstrap_servers": "127.0.0.1:7", "url": "http://127.0.0.1:8/"}
    addresses["settings"] = str(tmp_path / "settings.toml")
    (tmp_path / "addresses.json").write_text(json.dumps({**addresses, "pid": os.getpid()}))
    found = find_system(tmp_path)
    assert (found.url, found.settings.kafka.bootstrap_servers) == ("http://127.0.0.1:8", "127.0.0.1:7")
    assert found.settings.topic("uploads") == "p.uploads"
    named = find_system(tmp_path, "other:1", "http://other:2")
    assert (named.url, named.settings.kafka.bootstrap_servers) == ("http://other:2", "other:1")
    (tmp_path / "addresses.json").write_text(json.dumps({**addresses, "pid": os.getpid(), "stopped": True}))
    with pytest.raises(NotRunningError, match="has ended"):
        find_system(tmp_path)
    (tmp_path / "addresses.json").write_text("[]")
    with pytest.raises(NotRunningError, match="damaged"):
        find_system(tmp_path)


def test_a_system_that_is_starting_or_whose_process_id_is_another_s_is_not_running(tmp_path: Path) -> None:
    mine = {"url": "http://127.0.0.1:8", "pid": os.getpid(), "started": started(os.getpid())}
    write_addresses(tmp_path, {**mine, "ready": False})
    with pytest.raises(NotRunningError, match="still starting: wait until it has printed `ready`"):
        find_system(tmp_path)
    write_addresses(tmp_path, {**mine, "started": "another boot/1"})
    with pytest.raises(NotRunningError, match="has ended"):
        find_system(tmp_path)


def test_settings_that_name_no_address_leave_the_folder_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIDESTREAM_")]:
        monkeypatch.delenv(name)
    write_addresses(tmp_path, {"url": "http://127.0.0.1:8", "pid": os.getpid(), "started": started(os.getpid())})
    (tmp_path / "mine.toml").write_text("[serving]\nexplore_share = 0.2\n")
    assert find_system(tmp_path, settings_file=tmp_path / "mine.toml").url == "http://127.0.0.1:8"
    (tmp_path / "mine.toml").write_text("[serving]\nport = 9\n")
    assert find_system(tmp_path, settings_file=tmp_path / "mine.toml").url == "http://127.0.0.1:9"
