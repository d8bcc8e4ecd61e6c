"""The site's hooks: links out of docs/ lead into the site, and a page that asks somebody elsewhere is found. That the
whole site is built without a warning is what `make docs` sees."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent


@cache
def hooks() -> Any:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / ".ci" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_site"] = module
    spec.loader.exec_module(module)
    return module


def turned(markdown: str, page: str = "decisions/own-store.md") -> str:
    """As a page of the site has it, where the API pages of `store` and `store.rows` have been made."""
    config = MkDocsConfig()
    config.load_dict({"site_name": "a", "plugins": [], "docs_dir": str(ROOT / "docs")})
    assert config.validate() == ([], [])
    config.plugins._current_plugin = "docs_site"  # as while a hook runs
    made = ("api/store.html", "api/store/rows.html")
    files = Files([File.generated(config, uri, content="made") for uri in made])
    return hooks().on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri=page)), config, files)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](../broker.md#bounds)", "[a](../broker.md#bounds)"),
        ("[a](../../README.md)", "[a](../overview.md)"),
        ("![a](../images/console.webp)", "![a](../images/console.webp)"),
        ("[a](../../deploy/README.md#kubernetes)", "[a](../deploying.md#kubernetes)"),
        ("[a](../../store/rows.py)", "[a](../api/store/rows.html)"),
        ("[a](../../store/)", "[a](../api/store.html)"),
        ("[a](../../tests/test_docs.py)", "[a](../source/tests/test_docs.py.txt)"),
        ("[a](../log/)", "[a](../index.md#the-log)"),
        ("[a](#here)", "[a](#here)"),
        ("[a](https://kafka.apache.org)", "[a](https://kafka.apache.org)"),
        ("```\n[a](../../README.md)\n```", "```\n[a](../../README.md)\n```"),
    ],
)
def test_a_link_leads_into_the_site(link: str, expected: str) -> None:
    assert turned(link) == expected


def test_links_of_a_page_from_outside_are_relative_to_where_it_lies() -> None:
    assert turned("[a](../docs/security.md) [b](sidestream.toml)", "deploying.md") == (
        "[a](security.md) [b](source/deploy/sidestream.toml.txt)"
    )


def test_a_link_to_nothing_ends_the_build() -> None:
    with pytest.raises(PluginError, match=r"store/nothing\.py, which is not there"):
        turned("[a](../../store/nothing.py)")


@pytest.mark.parametrize(
    "asks",
    [
        '<script src="https://cdn.example/x.js"></script>',
        "<link rel=stylesheet href=//fonts.example/css>",
        '<p><img alt="a" src="http://example/a.png"></p>',
        "<style>@import 'https://example/a.css'</style>",
        "<style>a { background: url(https://example/a.png) }</style>",
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(asks: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(asks)
    with pytest.raises(PluginError, match=r"page\.html: (http:|https:)?//"):
        hooks().on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_a_link_that_a_person_may_follow_is_no_request(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://kafka.apache.org">Kafka</a> <script src="assets/x.js"></script>'
    )
    hooks().on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
