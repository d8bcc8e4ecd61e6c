"""The documents say what is there: links lead somewhere, and files, modules and settings that are named exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from store.events import KINDS, REASONS, Engagement, Profile, Upload
from store.items import ItemCard
from store.requests import Answer, RecommendedItem, Request
from store.settings import Settings, Store
from stream.cli import app
from stream.kafka.topics import TOPICS

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`((?:store|trainer|stream|tests|bench|docs|deploy)/[\w./-]*)`")
MODULE = re.compile(r"`((?:store|trainer|stream)(?:\.\w+)+)`")
SETTING = re.compile(r"`(\w+)\.(\w+)(?: = [^`]*)?`")


def documents() -> list[Path]:
    """Every page for people. Pages of the log tell of their day: only their links are held."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "deploy/README.md"])


def references() -> list[Path]:
    """The pages that tell of the present."""
    return [page for page in documents() if page.parent.name != "log" and page.name != "CHANGELOG.md"]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What headings can be linked by, as GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def docstrings() -> Iterator[tuple[str, str]]:
    """(file, docstring) of every module, class and function of the packages."""
    for layer in ("store", "trainer", "stream"):
        for file in sorted((ROOT / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield file.relative_to(ROOT).as_posix(), ast.get_docstring(node) or ""


@cache
def names_of(file: Path) -> frozenset[str]:
    """What a module defines or imports at its top."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return frozenset(names)


def exists(dotted: str) -> bool:
    """Whether `store.keys`, `store.keys.partition_of` or `store.rows.RowStore.write` (unchecked below a class) is."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.is_dir():
            return length == len(parts) or parts[length] in names_of(path / "__init__.py")
        if path.with_suffix(".py").is_file():
            return length == len(parts) or parts[length] in names_of(path.with_suffix(".py"))
    return False


def test_every_relative_link_leads_somewhere() -> None:
    dead = []
    for page in documents():
        for target in LINK.findall(prose(page)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            if not found.exists() or (anchor and anchor not in anchors(found)):
                dead.append(f"{page.relative_to(ROOT)} links to {target}")
    assert not dead, "\n".join(dead)


def test_files_that_pages_and_docstrings_name_exist() -> None:
    told = [(page.relative_to(ROOT).as_posix(), prose(page)) for page in references()]
    missing = {
        f"{where} names {path}"
        for where, text in (*told, *docstrings())
        for path in PATH.findall(text)
        if not (ROOT / path).exists()
    }
    assert not missing, "\n".join(sorted(missing))


def test_modules_that_pages_and_docstrings_name_exist() -> None:
    told = [(page.relative_to(ROOT).as_posix(), prose(page)) for page in references()]
    settings = {f"store.{field.name}" for field in msgspec.structs.fields(Store)}  # a table and a layer have one name
    missing = {
        f"{where} names {dotted}"
        for where, text in (*told, *docstrings())
        for dotted in MODULE.findall(text)
        if dotted not in settings and not exists(dotted)
    }
    assert not missing, "\n".join(sorted(missing))


def test_settings_that_pages_name_exist() -> None:
    tables = {field.name: getattr(Settings(), field.name) for field in msgspec.structs.fields(Settings)}
    missing = {
        f"{page.relative_to(ROOT)} names {table}.{key}"
        for page in references()
        for table, key in SETTING.findall(prose(page))
        if table != "store" and isinstance(tables.get(table), msgspec.Struct) and not hasattr(tables[table], key)
    }  # fmt: skip
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.parametrize("dotted", ["store.keys", "store.keys.partition_of", "stream.cli.app"])
def test_a_name_that_exists_is_found(dotted: str) -> None:
    assert exists(dotted)


@pytest.mark.parametrize("dotted", ["store.kees", "store.keys.partition_off", "trainer.nothing.here"])
def test_a_name_that_does_not_exist_is_not_found(dotted: str) -> None:
    assert not exists(dotted)


# ---- contracts.md names everything that the code has ----


@cache
def contracts() -> str:
    return (ROOT / "docs/contracts.md").read_text(encoding="utf-8")


def commands(group: Any, path: str = "sidestream") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def metrics() -> Iterator[str]:
    """Names of all that a worker exposes, and of what the trainer names in its code."""
    from stream.metrics.metrics import Metrics

    for family in Metrics().registry.collect():
        yield f"{family.name}_total" if family.type == "counter" else family.name
    for file in (ROOT / "trainer").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"sidestream_\w+", str(node.value)):
                yield str(node.value)


def routes() -> Iterator[str]:
    """`GET /v1/items/{item_id}`: every route that is declared anywhere in `stream`."""
    for file in (ROOT / "stream").rglob("*.py"):
        declared = re.findall(r'\bweb\.(get|post|put|delete)\(\s*"([^"]+)"', file.read_text(encoding="utf-8"))
        yield from (f"{method.upper()} {re.sub(r':[^}]*', '', path)}" for method, path in declared)


def test_every_command_is_in_the_contracts() -> None:
    missing = [name for name in commands(typer.main.get_command(app)) if f"`{name}`" not in contracts()]
    assert not missing, f"docs/contracts.md does not name {missing}"


def test_every_metric_is_in_the_contracts() -> None:
    missing = {name for name in metrics() if not re.search(rf"`{name}(_total)?(\{{[\w,]+\}})?`", contracts())}
    assert not missing, f"docs/contracts.md does not name {sorted(missing)}"


def test_every_route_is_in_the_contracts() -> None:
    found = set(routes())
    assert len(found) > 15
    missing = {route for route in found if f"`{route}`" not in contracts()}
    assert not missing, f"docs/contracts.md does not name {sorted(missing)}"


def test_every_topic_is_in_the_contracts() -> None:
    missing = [topic.name for topic in TOPICS if f"| `{topic.name}` | " not in contracts()]
    assert not missing, f"docs/contracts.md does not name {missing}"


@pytest.mark.parametrize("struct", [Upload, Engagement, Profile, Request, Answer, RecommendedItem, ItemCard])
def test_every_field_is_in_the_contracts(struct: type) -> None:
    missing = [field.name for field in msgspec.structs.fields(struct) if f"`{field.name}`" not in contracts()]
    assert not missing, f"docs/contracts.md does not name {missing} of {struct.__name__}"


def test_every_kind_and_reason_is_in_the_contracts() -> None:
    missing = [name for name in (*KINDS, *REASONS) if f"`{name}`" not in contracts()]
    assert not missing, f"docs/contracts.md does not name {missing}"


def test_the_contracts_name_nothing_that_is_not_there() -> None:
    """Commands and metrics that were renamed or removed must go from the page, too."""
    known = set(commands(typer.main.get_command(app)))
    told = set(re.findall(r"^\| `(sidestream [a-z -]+)` \|", contracts(), re.MULTILINE))
    assert told == known
    exposed = {name.removesuffix("_total") for name in metrics()}
    assert {
        name.removesuffix("_total") for name in re.findall(r"^\| `(sidestream_\w+)", contracts(), re.MULTILINE)
    } == (exposed)
    assert set(re.findall(r"`((?:GET|POST) [^`]+)`", contracts())) == set(routes())
