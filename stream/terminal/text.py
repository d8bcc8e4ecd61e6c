"""Text of others made safe to print: what a terminal would obey is shown as an escape, the way Python writes it.

Letters of every script pass as they are; control characters, escape codes, direction overrides and halves of characters
(lone surrogates) do not. Invariant: `plain` gives one line that can be encoded in UTF-8.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

_COMMANDS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_OBEYED = re.compile(f"[{_COMMANDS}]")
_OBEYED_BUT_LINES = re.compile(f"(?!\n)[{_COMMANDS}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def plain(text: object) -> str:
    """`text` in one line of characters that only show."""
    return _OBEYED.sub(_escape, str(text))


def plain_lines(text: str) -> str:
    """The same for text of ours that has several lines: their ends stay."""
    return _OBEYED_BUT_LINES.sub(_escape, text)


def styled(*parts: str | tuple[str, str]) -> Text:
    """A line put together of texts and (text, style); each is plain, whatever it holds."""
    from rich.text import Text

    return Text.assemble(*(plain(part) if isinstance(part, str) else (plain(part[0]), part[1]) for part in parts))


def json_line(document: Any) -> str:
    """The document as one line of JSON that a terminal only shows; a reader gets back every character as it was."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(document, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
