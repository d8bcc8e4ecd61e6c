"""Plain text: whatever others wrote is shown; nothing of it is obeyed, and programs get it back as it was."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stream.terminal.text import json_line, plain, plain_lines, styled

ANY_TEXT = st.text(st.characters(codec=None, categories=None))
"""Also lone surrogates, which JSON can carry and UTF-8 cannot."""


def obeyed(text: str) -> list[str]:
    """What a terminal may act on: controls, line and paragraph separators, direction overrides, half characters."""
    overrides = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in overrides]


@given(ANY_TEXT)
def test_nothing_is_obeyed_and_everything_can_be_written(text: str) -> None:
    shown = plain(text)
    assert not obeyed(shown)
    assert shown.encode().decode() == shown
    assert obeyed(plain_lines(text)) == ["\n"] * text.count("\n")


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zl", "Zp"))))
def test_letters_of_every_script_pass(text: str) -> None:
    assert plain(text) == text


@given(ANY_TEXT)
def test_markup_is_text(text: str) -> None:
    for hostile in (text, f"[/b]{text}[bold]", f"{text}\\", f"[link=file:///]{text}"):
        console = Console(file=io.StringIO(), width=10_000, force_terminal=False)
        console.print(styled("> ", (hostile, "bold"), " <"), soft_wrap=True)
        assert console.file.getvalue() == f"> {plain(hostile)} <\n"


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.lists(ANY_TEXT)))
def test_programs_get_every_character_back(document: dict[str, object]) -> None:
    line = json_line(document)
    assert not obeyed(line)
    assert json.loads(line) == document


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\udc80", r"\udc80"),
        ("שלום 🎾 e\u0301 👩‍🚀", "שלום 🎾 e\u0301 👩‍🚀"),
    ],
)
def test_how_it_looks(text: str, shown: str) -> None:
    assert plain(text) == shown
