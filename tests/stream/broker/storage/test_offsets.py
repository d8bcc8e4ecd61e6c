"""Committed offsets and generations come back after any crash, and their journal stays small."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.broker.storage.offsets import Committed, Offsets


def test_offsets_and_generations_come_back(tmp_path: Path) -> None:
    offsets = Offsets(tmp_path / "journal")
    offsets.commit("g", {("t", 0): Committed(5, "note", 2), ("u", 1): Committed(7)})
    offsets.commit("g", {("t", 0): Committed(6)})
    offsets.begin("g", 3)
    offsets.commit("other", {("t", 0): Committed(1)})
    offsets.forget("other")
    offsets.drop_topic("u")
    again = Offsets(tmp_path / "journal")  # without a close: as after a kill
    assert again.of("g") == {("t", 0): Committed(6)}
    assert again.generation("g") == 3
    assert again.groups() == ["g"]


@given(kept=st.integers(0, 250))
def test_a_torn_line_costs_only_what_was_not_acknowledged(kept: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    offsets = Offsets(path)
    for number in range(10):
        offsets.commit("g", {("t", 0): Committed(number)})
    content = path.read_bytes()[:kept]
    path.write_bytes(content)
    whole_lines = content.count(b"\n")
    again = Offsets(path)
    assert again.of("g") == ({("t", 0): Committed(whole_lines - 1)} if whole_lines else {})
    again.commit("g", {("t", 0): Committed(99)})
    assert Offsets(path).of("g") == {("t", 0): Committed(99)}


def test_the_journal_is_rewritten_when_it_is_mostly_history(tmp_path: Path) -> None:
    offsets = Offsets(tmp_path / "journal")
    for number in range(25_000):
        offsets.commit("g", {("t", 0): Committed(number)})
    assert (tmp_path / "journal").stat().st_size < 600_000
    assert Offsets(tmp_path / "journal").of("g") == {("t", 0): Committed(24_999)}


def test_a_broken_line_in_the_middle_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    offsets = Offsets(tmp_path / "journal")
    for number in range(3):
        offsets.commit("g", {("t", number): Committed(number)})
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal").write_bytes(lines[0] + lines[1][:9] + b"\n" + b'["g", "\xff", 1]\n' + lines[2])
    assert set(Offsets(tmp_path / "journal").of("g")) == {("t", 0), ("t", 2)}
    assert "broken line" in caplog.text
