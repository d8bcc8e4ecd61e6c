"""The tests mirror the code: every module with logic has a test of its name, or a reason why another holds it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOGIC = (
    *(ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.Match, ast.BoolOp),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)

HELD_BY: dict[str, tuple[str, str]] = {
    "stream/kafka/access.py": ("stream/test_secured.py", "asked of real Kafka with access control lists"),
    "trainer/runs/ranker_job.py": ("stream/serving/test_impressions.py", "joins what a running worker publishes"),
    "stream/ingest/agents.py": ("stream/test_worker.py", "a few lines around Faust: nothing without a running worker"),
    "stream/ingest/item_partition.py": ("stream/ingest/test_protocol.py", "the protocol under crashes"),
    "stream/kafka/broker_time.py": ("stream/kafka/test_topics.py", "topics are made and checked by it"),
    "stream/kafka/connections.py": ("stream/kafka/test_topics.py", "needs a broker"),
}
"""Module → (the test that holds it, why it is not one of the module's own name). The list is to become shorter."""


def modules() -> list[Path]:
    found = [file for layer in ("store", "trainer", "stream") for file in sorted((ROOT / layer).rglob("*.py"))]
    return [file.relative_to(ROOT) for file in found if not file.name.startswith("__")]


def has_logic(module: Path) -> bool:
    """Whether any function branches or loops: structs, constants and protocols have nothing to test."""
    functions = [
        node
        for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return any(isinstance(node, LOGIC) for function in functions for node in ast.walk(function))


def own_test(module: Path) -> Path:
    return Path("tests") / module.parent / f"test_{module.name}"


def test_every_module_with_logic_has_a_test_of_its_name() -> None:
    missing = [
        f"{module}: write {own_test(module)}, or say in HELD_BY which test holds it and why"
        for module in modules()
        if has_logic(module) and module.as_posix() not in HELD_BY and not (ROOT / own_test(module)).is_file()
    ]
    assert not missing, "\n".join(missing)


def test_no_exemption_is_stale() -> None:
    stale = [
        module
        for module in HELD_BY
        if not (ROOT / module).is_file() or not has_logic(Path(module)) or (ROOT / own_test(Path(module))).is_file()
    ]
    assert not stale, f"take these out of HELD_BY: {stale}"


def test_exempted_modules_are_held_by_tests_that_exist() -> None:
    gone = [f"{module} by {test}" for module, (test, _) in HELD_BY.items() if not (ROOT / "tests" / test).is_file()]
    assert not gone, "\n".join(gone)
