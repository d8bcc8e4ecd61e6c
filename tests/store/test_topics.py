"""Topic names and keys of records are said once: every other module takes them from the store."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

from store import topics
from store.checkpoints import CHECKPOINT_KEY, RANKER_KEY, RUN_KEY, TRAIN_KEY

ROOT = Path(__file__).parents[2]
TAKES_A_TOPIC = {"topic", "send", "send_rows", "queue_rows", "publish"}
UNMISTAKABLE = {name for name in topics.TOPIC_NAMES if "-" in name} - {topics.DEAD_LETTERS}
"""Names that mean nothing else; `dead-letters` is a command, too."""
KEYS = {CHECKPOINT_KEY, RANKER_KEY, RUN_KEY, TRAIN_KEY}


def test_every_topic_has_one_constant() -> None:
    named = [value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)]
    assert sorted(named) == sorted(topics.TOPIC_NAMES)
    assert set(get_args(topics.EventTopic)) == {topics.UPLOADS, topics.ENGAGEMENTS, topics.PROFILES}


def test_no_module_writes_a_topic_or_a_key_as_a_string() -> None:
    wrong = []
    for layer in ("store", "trainer", "stream", "bench"):
        for file in sorted((ROOT / layer).rglob("*.py")):
            if file.relative_to(ROOT).as_posix() in ("store/topics.py", "store/checkpoints.py"):
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                where = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.Constant) and (node.value in UNMISTAKABLE or _is_key(node.value)):
                    wrong.append(f"{where} {node.value!r}")
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    first = node.args[0] if node.args else None
                    if node.func.attr in TAKES_A_TOPIC and isinstance(first, ast.Constant):
                        wrong.append(f"{where} {node.func.attr}({first.value!r})")
    assert not wrong, "take these from store.topics and store.checkpoints:\n" + "\n".join(wrong)


def _is_key(value: object) -> bool:
    return isinstance(value, bytes) and value in KEYS
