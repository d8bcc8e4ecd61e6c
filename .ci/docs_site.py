"""Hooks of mkdocs: pages from outside docs/, links that lead out of it, and a look that the site asks nobody elsewhere.

In the repository a link is a path (`../stream/web/`, `../deploy/README.md`), so that it works wherever the files are
read. In the site it leads to the page made of that file, to the API page of a module, or to the file's own text, which
the site then carries.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "deploy/README.md": "deploying.md",
}
"""Of the repository → of the site."""
FOLDERS = {"docs/log": "index.md#the-log", "docs/decisions": "index.md#decisions"}
LINK_OR_FENCE = re.compile(r"^```.*?^```|(?<!\\)(\]\()([^)\s]+)(\))", re.MULTILINE | re.DOTALL)
HOST = r"""(?:https?:)?//[^"'\s)>]+"""
ELSEWHERE = re.compile(
    r"<(?:script|link|img|iframe|source|video|object|embed)\b[^>]*?\b(?:src|href|srcset|data)=[\"']?"
    rf"({HOST})|@import\s+[\"'(]?({HOST})|url\([\"']?({HOST})",
    re.IGNORECASE,
)


def on_files(files: Files, config: Any) -> Files:
    """Takes the pages from outside docs/ in, and the API pages that pdoc has made."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    built = ROOT / "build"
    for file in sorted((built / "api").rglob("*")):
        if file.is_file():
            files.append(File.generated(config, file.relative_to(built).as_posix(), abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links out of docs/ into links within the site."""
    own = {uri: source for source, uri in PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def turned(found: re.Match[str]) -> str:
        if found[2] is None or re.match(r"[a-z]+:|#", found[2]):
            return found[0]
        path, _, anchor = found[2].partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(own), path))
        uri, _, usual = home(target, config, files).partition("#")
        anchor = anchor or usual
        return (
            f"{found[1]}{posixpath.relpath(uri, posixpath.dirname(page.file.src_uri))}{'#' if anchor else ''}{anchor})"
        )

    return LINK_OR_FENCE.sub(turned, markdown)


def home(path: str, config: Any, files: Files) -> str:
    """Where the site has a path of the repository; a file that is no page is added as it is, as text."""
    if path in PAGES or path in FOLDERS:
        return PAGES.get(path) or FOLDERS[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    module = f"api/{path.removesuffix('.py').removesuffix('/__init__')}.html"
    if path.endswith(".py") and files.get_file_from_path(module):
        return module
    if (ROOT / path).is_dir() and files.get_file_from_path(module):
        return module
    return as_text(path, config, files)


def as_text(path: str, config: Any, files: Files) -> str:
    """The file, or the list of what is in the folder, as a page of plain text."""
    uri, source = f"source/{path}.txt", ROOT / path
    if not source.exists():
        raise PluginError(f"a page links to {path}, which is not there")
    if not files.get_file_from_path(uri):
        names = (
            "\n".join(sorted(one.name for one in source.iterdir())) if source.is_dir() else source.read_text("utf-8")
        )
        files.append(File.generated(config, uri, content=names))
    return uri


def on_post_build(config: Any) -> None:
    """Fails when a page would load something from elsewhere."""
    if asked := list(elsewhere(Path(config.site_dir))):
        raise PluginError("the site must work offline, but it asks:\n" + "\n".join(asked))


def elsewhere(site: Path) -> Iterator[str]:
    """`PAGE: URL` of each script, style, font, picture or frame that a page or style names by a host."""
    for file in sorted(one for one in site.rglob("*") if one.suffix in (".html", ".css", ".svg")):
        for found in ELSEWHERE.finditer(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(site)}: {found[1] or found[2] or found[3]}"
