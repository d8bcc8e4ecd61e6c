"""The page of a replay: its report with plots, one HTML file that needs nothing else."""

from __future__ import annotations

import json
from html import escape
from typing import Any


def page(report: dict[str, Any]) -> str:
    """The report as HTML."""
    return f"<!doctype html><title>{escape(report['stream'])}</title><pre>{escape(json.dumps(report, indent=1))}</pre>"
