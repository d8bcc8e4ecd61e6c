"""Opening the way to a collector: what is missing is said, and what is secret is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from store.settings import SettingsError, Tracing
from stream.tracing.opening import headers_in, open_export


def test_without_an_endpoint_there_is_none() -> None:
    assert open_export(Tracing()) is None


def test_headers_are_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("# of the collector\nAuthorization: Bearer a b:c \n\nx-tenant:7\n")
    assert headers_in(str(file)) == {"Authorization": "Bearer a b:c", "x-tenant": "7"}
    assert headers_in("") == {}


@pytest.mark.parametrize("line", ["hush-hush", "no name: hush-hush", ": hush-hush", "a: hush\x00hush"])
def test_what_is_no_header_is_named_by_its_line_and_not_repeated(tmp_path: Path, line: str) -> None:
    file = tmp_path / "headers"
    file.write_text(f"a: b\n{line}\n")
    with pytest.raises(SettingsError, match="line 2 is no header: write `name: value`") as said:
        open_export(Tracing(endpoint="http://c:4318", headers_file=str(file)))
    assert "hush" not in str(said.value)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"tracing\.headers_file = .*nowhere cannot be read"):
        open_export(Tracing(endpoint="http://c:4318", headers_file=str(tmp_path / "nowhere")))
    with pytest.raises(SettingsError, match=r"tracing\.ca_file = .*nowhere: no such file"):
        open_export(Tracing(endpoint="http://c:4318", ca_file=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter"])
def test_without_the_extra_it_is_said_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "stream.tracing.export"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SettingsError, match=r"pip install 'sidestream\[otel\]'"):
        open_export(Tracing(endpoint="http://c:4318"))
