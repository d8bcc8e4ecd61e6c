"""The tests mirror the code: every module with logic has a test of its name."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOGIC = (
    *(ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.Match, ast.BoolOp),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


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
        f"{module}: write {own_test(module)}"
        for module in modules()
        if has_logic(module) and not (ROOT / own_test(module)).is_file()
    ]
    assert not missing, "\n".join(missing)
