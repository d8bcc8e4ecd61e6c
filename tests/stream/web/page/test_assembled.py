"""The page is one document that asks nobody else, and only its own script may run."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from stream.web.page.assembled import SCRIPTS, STYLES, assembled

MOST_LINES = 350


def test_everything_is_inside_and_the_policy_is_of_this_script() -> None:
    page, policy = assembled()
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "connect-src 'self'" in policy
    assert not re.search(r"""(src|href)=["'](https?:)?//|@import|url\(["']?(https?:)?//""", page)
    assert "/* styles */" not in page
    assert "/* scripts */" not in page


def test_every_file_is_joined_and_one_idea_long() -> None:
    there = {each.name: each for each in files("stream.web.page").iterdir() if each.name.endswith((".js", ".css"))}
    assert set(there) == {*SCRIPTS, *STYLES}
    for name, file in there.items():
        assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, name
