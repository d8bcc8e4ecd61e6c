"""Assembled: the page as the browser gets it: one document, its styles and scripts inside, and what it may do.

Invariant: the policy lets exactly this script run, and lets the page ask nobody but the worker that served it.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

STYLES = ("style.css", "console.css", "desk.css")
SCRIPTS = (
    *("basics.js", "acts.js", "charts.js", "freshness.js", "history.js", "checkpoints.js", "letters.js", "owners.js"),
    *("topics.js", "playground.js", "live.js"),
)
"""In the order in which they run: each may use the ones before."""


@cache
def assembled() -> tuple[str, str]:
    """The document and its content security policy."""
    script = '"use strict";\n' + "".join(map(_read, SCRIPTS))
    page = _read("page.html").replace("/* styles */", "".join(map(_read, STYLES))).replace("/* scripts */", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def _read(name: str) -> str:
    return files("stream.web.page").joinpath(name).read_text(encoding="utf-8")
