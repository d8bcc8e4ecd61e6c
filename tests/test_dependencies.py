"""What is installed is what is named: exact versions of everything, under licences that ask for nothing in return; and
an audit that nobody could make is never shown as passed."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|PSF|Python Software Foundation|ISC|Zlib|CC0|BSL|CNRI|Unlicense|Public Domain|Repoze", re.I
)
BY_FILE = re.compile(r"MPL|Mozilla", re.I)
"""Asks that changed files of its own stay open, which nobody here changes."""
KNOWN = {"crc32c": "LGPL", "podman-compose": "GPL"}
"""Used as they are, as libraries of their own that anybody may exchange: all that their licence asks. podman-compose
is a program that tests start, and no part of what is installed to run."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


def named() -> set[str]:
    """What pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    return {canonical(re.split(r"[\[<>=!~; ]", each)[0]) for each in wanted}


def needed(roots: set[str]) -> set[str]:
    """These and what they need here, as far as it is installed."""
    found: set[str] = set()
    waiting = set(roots)
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            lines = [line for line in requires(name) or [] if "extra ==" not in line]
        except PackageNotFoundError:
            continue
        waiting |= {canonical(re.split(r"[\[<>=!~;( ]", line)[0]) for line in lines} - found
    return {name for name in found if _installed(name)}


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def licence(name: str) -> str:
    about = distribution(name).metadata
    classified = [each for each in about.get_all("Classifier") or [] if each.startswith("License ::")]
    return " ".join([about.get("License-Expression") or "", *classified]).strip() or (about.get("License") or "")[:200]


def test_every_dependency_and_what_it_needs_has_an_exact_version() -> None:
    assert named() - set(pinned()) == set()
    assert needed(named()) - set(pinned()) - {"setuptools", "pip", "wheel"} == set()


def test_every_licence_asks_for_nothing_or_is_known_to() -> None:
    odd = {
        name: said
        for name in needed(named())
        if not (PERMISSIVE.search(said := licence(name)) or BY_FILE.search(said)) or "GPL" in said
    }
    assert set(odd) == set(KNOWN), odd
    assert all(part in odd[name] for name, part in KNOWN.items())


def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLEAN = [{"name": "a", "version": "1", "vulns": []}]
BAD = [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]


@pytest.mark.parametrize(
    ("answers", "in_ci", "said", "status"),
    [
        ({"osv": None, "pypi": None}, False, "NOT AUDITED: no vulnerability service reachable", 2),
        ({"osv": None, "pypi": None}, True, "NOT AUDITED: no vulnerability service reachable", 0),
        ({"osv": CLEAN, "pypi": None}, True, "AUDITED: 1 packages, nothing known to osv", 0),
        ({"osv": CLEAN, "pypi": BAD}, True, "VULNERABLE: a 1: CVE-1, mended in 2", 1),
        ({"osv": BAD, "pypi": None}, False, "VULNERABLE: a 1: CVE-1, mended in 2", 1),
    ],
)
def test_what_was_not_audited_is_never_shown_as_passed(answers: Any, in_ci: bool, said: str, status: int) -> None:
    assert audit().told(answers, in_ci) == (said, status)
