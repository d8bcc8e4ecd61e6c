"""The house rules that a machine can hold: layers, public face, size of files, names that must not be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
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
MOST_MODULES = 12

PACKAGES: dict[str, set[str]] = {
    "store": set(),
    "trainer.content": {"store"},
    "trainer.items": {"store", "trainer.content"},
    "trainer.retrieval": {"store", "trainer.content", "trainer.items"},
    "trainer.ranking": {"store", "trainer.items", "trainer.retrieval"},
    "trainer.semantic_ids": {"store", "trainer.content"},
    "trainer.model": {"store", "trainer.content"},
    "trainer": {
        *("store", "trainer.content", "trainer.items", "trainer.retrieval", "trainer.ranking", "trainer.semantic_ids"),
        "trainer.model",
    },
    "trainer.tables": {"store", "trainer", "trainer.items", "trainer.retrieval"},
    "trainer.evaluation": {
        *("store", "trainer", "trainer.content", "trainer.items", "trainer.ranking", "trainer.semantic_ids"),
    },
    "trainer.gate": {"store", "trainer", "trainer.model", "trainer.ranking"},
    "trainer.runs": {
        *("store", "trainer", "trainer.content", "trainer.evaluation", "trainer.gate", "trainer.model"),
        "trainer.ranking",
        "trainer.semantic_ids",
    },
    "stream.broker": {"store"},
    "stream.terminal": set(),
    "stream.metrics": {"store"},
    "stream.kafka": {"store"},
    "stream.tracing": {"store"},
    "stream.client": {"store", "stream.kafka", "stream.tracing"},
    "stream.up": {"store", "stream.kafka"},
    "stream.ingest": {
        *("store", "trainer", "trainer.content", "trainer.items", "trainer.semantic_ids"),
        *("stream.kafka", "stream.metrics", "stream.tracing"),
    },
    "stream.serving": {
        *("store", "trainer", "trainer.content", "trainer.items", "trainer.ranking", "trainer.semantic_ids"),
        "trainer.tables",
        *("stream.kafka", "stream.metrics", "stream.ingest", "stream.tracing"),
    },
    "stream.web": {"store", "stream.kafka", "stream.metrics", "stream.ingest", "stream.tracing"},
    "stream": {
        *("store", "trainer", "trainer.content", "trainer.items", "trainer.semantic_ids"),
        *("stream.kafka", "stream.metrics", "stream.ingest", "stream.serving", "stream.tracing", "stream.web"),
    },
    "stream.demo": {"store", "stream.client", "stream.terminal"},
    "stream.cli": {
        *("store", "trainer.evaluation", "trainer.runs", "trainer.semantic_ids", "stream", "stream.kafka"),
        *("stream.client", "stream.up", "stream.terminal", "stream.demo"),
    },
}
"""Package → what it may import beside itself, as its docstring says too. A root stands for the modules that lie in it
directly; what lies deeper than a package of a layer is a part of that package, and the store is one."""

FORBIDDEN = ("/work/", "/root/", "/tmp/", "/home/", "pypi.org", "pypi.python.org", "files.pythonhosted.org")


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@dataclass(frozen=True, slots=True)
class Module:
    """What a file says of itself, and its nodes of the kinds that are looked at."""

    said: str
    imports: tuple[ast.Import | ast.ImportFrom, ...]
    others: tuple[ast.Global | ast.Attribute, ...]


@cache
def parsed(file: Path) -> Module:
    """Each file is parsed once for all tests."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports, others = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif isinstance(node, ast.Global | ast.Attribute):
            others.append(node)
    return Module(ast.get_docstring(tree) or "", tuple(imports), tuple(others))


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Modules that a file imports anywhere, absolute, with the line."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in parsed(file).imports:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        else:
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


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def package_of(module: str) -> str:
    """The package of `PACKAGES` that a module lies in."""
    layer, _, rest = module.partition(".")
    inner = f"{layer}.{rest.partition('.')[0]}"
    return inner if layer != "store" and (ROOT / inner.replace(".", "/")).is_dir() else layer


def imported_modules() -> dict[str, set[str]]:
    """Each module of the layers with those that it imports anywhere, in functions too. (That Python runs the
    `__init__` of a package before a module of it does not count.)"""
    files = {module_of(file): file for layer in LAYERS for file in sources(layer)}
    found: dict[str, set[str]] = {}
    for module, file in files.items():
        named: set[str] = set()
        for node in parsed(file).imports:
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            else:
                assert not node.level, f"{file}:{node.lineno}: name the module from the root"
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                named |= {name if name in files else str(node.module) for name in whole}
        found[module] = (named & files.keys()) - {module}
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle of a graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_packages_import_what_the_table_allows() -> None:
    wrong = []
    for module, imported in imported_modules().items():
        package = package_of(module)
        for name in imported:
            if package_of(name) not in PACKAGES[package] | {package}:
                wrong.append(f"{module} imports {name}, which {package} may not")
    assert not wrong, "\n".join(sorted(wrong))


def test_no_circle_between_files_nor_packages() -> None:
    imported = imported_modules()
    assert not circle(imported)
    between: dict[str, set[str]] = {}
    for module, names in imported.items():
        package = package_of(module)
        between.setdefault(package, set()).update({package_of(name) for name in names} - {package})
    assert not circle(between)
    assert not circle(PACKAGES), "what the table allows must have no circle either"


def test_a_package_says_what_lives_in_it_what_it_may_import_and_its_invariant() -> None:
    for layer in LAYERS:
        for file in sources(layer):
            if file.name != "__init__.py":
                continue
            said, package = parsed(file).said, module_of(file)
            before, _, after = said.partition("May import")
            allowed, _, invariant = after.partition("Invariant")
            assert all((before, allowed, invariant)), f"{file} does not say what it may import, and its invariant"
            if package in PACKAGES:
                names = set(re.findall(r"`((?:store|trainer|stream)(?:\.\w+)*)`", allowed))
                assert names == PACKAGES[package], f"{file} says that it may import other packages than the table"


def test_packages_are_small() -> None:
    for layer in LAYERS:
        for folder in {file.parent for file in sources(layer)}:
            package = ".".join(folder.relative_to(ROOT).parts)
            modules = [file for file in folder.glob("*.py") if not file.name.startswith("__")]
            assert len(modules) <= MOST_MODULES, f"{package} has {len(modules)} modules: give some a package"


def test_imports_go_down_only() -> None:
    wrong = []
    for height, layer in enumerate(LAYERS):
        above = {*LAYERS[height + 1 :], "tests", "bench", "sidestream"}
        for file in sources(layer):
            for module, line in imports(file):
                if module.partition(".")[0] in above | FOREIGN[layer]:
                    wrong.append(f"{file.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


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


def test_an_application_that_only_asks_loads_neither_kafka_nor_torch_and_none_loads_opentelemetry() -> None:
    script = (
        "import sys, sidestream; sidestream.Client\n"
        "print('heavy:', *(m for m in ('kafka', 'faust', 'torch', 'opentelemetry') if m in sys.modules))\n"
        "import stream.tracing.stages; sidestream.Publisher\n"
        "print('heavy:', *(m for m in ('torch', 'opentelemetry') if m in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "heavy:\nheavy:\n"


def test_files_are_one_idea_long() -> None:
    for folder in (*LAYERS, "bench", "tests"):
        for file in sources(folder):
            name = file.relative_to(ROOT).as_posix()
            lines = len(file.read_text(encoding="utf-8").splitlines())
            most = MOST_TEST_LINES if folder == "tests" else MOST_LINES
            assert lines <= most, f"{name} has {lines} lines: give each idea a file of its own"


def test_every_module_says_what_it_is() -> None:
    for layer in LAYERS:
        for file in sources(layer):
            assert parsed(file).said, f"{file} has no docstring"


def test_no_module_keeps_mutable_state() -> None:
    """A module-level list, dict or set that a function writes to is a hidden global; capitals are constants."""
    for layer in LAYERS:
        for file in sources(layer):
            for node in parsed(file).others:
                assert not isinstance(node, ast.Global), f"{file}:{node.lineno} uses `global`"


def test_no_naive_time() -> None:
    for layer in LAYERS:
        for file in sources(layer):
            for node in parsed(file).others:
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
