"""`config show` tells every value with its origin and no secret; `config check` tells every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from store.settings.checks import KEYS
from stream.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["config", *arguments])
    printed = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), printed.out + printed.err


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    status, text = run(capsys, "show", *arguments, "--json")
    assert status == 0
    return {row["key"]: row for row in json.loads(text)["settings"]}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[serving]\nbeams = 7\n[kafka.client]\nsasl_plain_password = "opensesame"\nsasl_mechanism = "PLAIN"\n'
    )
    monkeypatch.setenv("SIDESTREAM_TRAINING__EPOCHS", "2.5")
    return file


def test_every_setting_is_shown_with_its_origin(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown(capsys, "--settings", str(file))
    assert list(rows) == list(KEYS)
    assert rows["serving.beams"] == {"key": "serving.beams", "value": 7, "origin": str(file)}
    assert rows["training.epochs"] == {"key": "training.epochs", "value": 2.5, "origin": "SIDESTREAM_TRAINING__EPOCHS"}
    assert rows["serving.port"]["origin"] == "default"


def test_secrets_are_masked_in_every_form(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ([], ["--json"]):
        status, text = run(capsys, "show", "kafka", "--settings", str(file), *form)
        assert status == 0
        assert "opensesame" not in text
        assert "***" in text
        assert "PLAIN" in text


def test_a_table_one_setting_or_only_what_is_given(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(shown(capsys, "candidates.quotas")) == {key for key in KEYS if key.startswith("candidates.quotas.")}
    assert set(shown(capsys, "serving.beams")) == {"serving.beams"}
    assert set(shown(capsys, "--changed", "--settings", str(file))) == {
        *("serving.beams", "kafka.client", "training.epochs"),
    }


def test_an_unknown_key_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = run(capsys, "show", "serving.beam")
    assert status == 1
    assert "did you mean serving.beams?" in text


def test_check_tells_every_mistake_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[serving]\nexplore_share = 7\nbeam = 3\n")
    status, text = run(capsys, "check", str(file), "--json")
    said = json.loads(text)
    assert (status, said["ok"]) == (1, False)
    assert said["problems"] == [
        f"{file}: serving.explore_share = 7: expected a number from 0 to 1",
        f"{file}: there is no setting serving.beam: did you mean serving.beams?",
    ]
    status, text = run(capsys, "check", str(file))
    assert status == 1
    assert text.splitlines() == said["problems"]


def test_check_accepts_what_is_right(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", str(file), "--json") == (0, '{"ok": true, "problems": []}\n')
    assert run(capsys, "check", str(file))[0] == 0


def test_secrets_of_the_security_section_are_masked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "secured.toml"
    file.write_text('[kafka.security]\nprotocol = "SASL_PLAINTEXT"\nusername = "ada"\npassword = "opensesame"\n')
    found = shown(capsys, "--settings", str(file))
    assert found["kafka.security.password"]["value"] == "***"
    assert found["kafka.security.username"]["value"] == "ada"
    assert found["kafka.security.password_file"]["value"] == ""
    assert "opensesame" not in run(capsys, "show", "--settings", str(file))[1]
