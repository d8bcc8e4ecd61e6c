"""The house rules that a machine can hold: layers, public face, size of files, names that must not be committed."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("store", "trainer", "stream")
"""From the bottom up: a layer may import itself and what is below it."""

FOREIGN: dict[str, set[str]] = {
    "store": {"faust", "torch", "lightgbm", "transformers", "wordllama", "aiohttp", "prometheus_client", "typer"},
    "trainer": {"faust", "aiohttp", "typer"},
    "stream": set(),
}
"""Libraries that a layer must not know: the store has no Faust, no torch and no models."""

MOST_LINES, MOST_TEST_LINES = 350, 600
LONGER: dict[str, int] = {"store/prefix_tree.py": 360, "trainer/model/batches.py": 400}
"""Files that may be longer, and by how much; the list is to become shorter."""

FORBIDDEN = ("/work/", "/root/", "/tmp/", "/home/", "pypi.org", "pypi.python.org", "files.pythonhosted.org")


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Modules that a file imports anywhere, absolute, with the line."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            yield ".".join([*base, node.module or ""]), node.lineno


def committed() -> list[Path]:
    """Files that git tracks or would track; all files where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("no git checkout here, so what is committed is not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_imports_go_down_only() -> None:
    wrong = []
    for height, layer in enumerate(LAYERS):
        above = {*LAYERS[height + 1 :], "tests", "bench", "sidestream"}
        for file in sources(layer):
            for module, line in imports(file):
                if module.partition(".")[0] in above | FOREIGN[layer]:
                    wrong.append(f"{file.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_packages_form_no_circle() -> None:
    """A package, or a module at the root of a layer, imports what lies below it, wherever in its files it does so."""
    below: dict[str, set[str]] = {}
    for layer in LAYERS:
        for file in sources(layer):
            own = room(".".join(file.relative_to(ROOT).with_suffix("").parts))
            below.setdefault(own, set()).update({room(module) for module, _ in imports(file)} - {own})
    graphlib.TopologicalSorter({name: found & set(below) for name, found in below.items()}).prepare()


def test_files_form_no_circle() -> None:
    below: dict[str, set[str]] = {}
    for layer in LAYERS:
        for file in sources(layer):
            own = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            below[own] = {module for module, _ in imports(file)} - {own}
    graphlib.TopologicalSorter({name: found & set(below) for name, found in below.items()}).prepare()


def room(module: str) -> str:
    """The package of a layer that a module lies in, or the module itself at the layer's root."""
    return ".".join(module.split(".")[:2])


def test_only_commands_know_the_process_loop_of_training() -> None:
    """Serving and ingest need what training leaves behind, never what runs it."""
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for file in sources("stream")
        if file.parent.name != "cli"
        for module, line in imports(file)
        if module.startswith("trainer.runs")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_public_face_is_frozen() -> None:
    import sidestream

    assert sidestream.__all__ == ["Client", "Publisher"]
    assert sidestream.Client.__module__ == "stream.client.client"
    assert sidestream.Publisher.__module__ == "stream.client.publisher"
    assert dir(sidestream) == sidestream.__all__
    with pytest.raises(AttributeError, match="it offers Client, Publisher"):
        sidestream.Broker  # noqa: B018


def test_the_public_methods_are_frozen() -> None:
    from sidestream import Client, Publisher

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == {
        *("recommend", "recommend_many", "similar", "item", "user", "trace", "checkpoints", "codebook", "status"),
        *("ready", "wait_until_ready", "close"),
    }
    assert public(Publisher) >= {"upload", "engagement", "profile", "publish", "flush", "close"}


def test_an_application_that_only_asks_loads_neither_kafka_nor_torch() -> None:
    script = (
        "import sys, sidestream; sidestream.Client; print(*(m for m in ('kafka','faust','torch') if m in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_files_are_one_idea_long() -> None:
    for folder in (*LAYERS, "bench", "tests"):
        for file in sources(folder):
            name = file.relative_to(ROOT).as_posix()
            lines = len(file.read_text(encoding="utf-8").splitlines())
            most = MOST_TEST_LINES if folder == "tests" else LONGER.get(name, MOST_LINES)
            assert lines <= most, f"{name} has {lines} lines: give each idea a file of its own"


def test_every_module_says_what_it_is() -> None:
    for layer in LAYERS:
        for file in sources(layer):
            assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), f"{file} has no docstring"


def test_no_module_keeps_mutable_state() -> None:
    """A module-level list, dict or set that a function writes to is a hidden global; capitals are constants."""
    for layer in LAYERS:
        for file in sources(layer):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                assert not isinstance(node, ast.Global), f"{file}:{node.lineno} uses `global`"


def test_no_naive_time() -> None:
    for layer in LAYERS:
        for file in sources(layer):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in ("utcnow", "utcfromtimestamp"):
                    pytest.fail(f"{file}:{node.lineno} makes a naive datetime: use UTC epoch seconds")


def test_nothing_committed_names_a_machine_or_a_registry() -> None:
    wrong = []
    for file in committed():
        if file == Path(__file__):
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{file.relative_to(ROOT)} names {name}" for name in FORBIDDEN if name in text]
    assert not wrong, "\n".join(wrong)
