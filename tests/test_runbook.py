"""Every alert has an entry in the runbook, and every entry an alert; whoever is woken is led to it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.test_deploy import alert_rules

RUNBOOK = Path(__file__).parent.parent / "docs/runbook.md"
PARTS = ("Means", "Look at", "Do", "Tried")


@cache
def entries() -> dict[str, str]:
    """Alert → the text of its entry."""
    found = re.split(r"^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_every_alert_has_an_entry_and_every_entry_an_alert() -> None:
    assert list(entries()) == [rule["alert"] for rule in alert_rules()]


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_entry(rule: dict[str, dict[str, str]]) -> None:
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{str(rule['alert']).lower()}"


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_an_entry_says_what_it_means_what_to_look_at_what_to_do_and_how_it_was_tried(
    rule: dict[str, dict[str, str]],
) -> None:
    text = entries()[str(rule["alert"])]
    assert re.findall(r"^\*\*([\w ]+)\.\*\* \S", text, re.MULTILINE) == list(PARTS)
    assert text.strip().startswith(f"**Means.** ({rule['labels']['severity']}) ")
