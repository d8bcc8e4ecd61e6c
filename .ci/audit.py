"""Asks whether a vulnerability is known of anything that constraints.txt names: `make audit`, by pip-audit.

Says one of three things, and never the first where it is the last:

    AUDITED: …      nothing is known                                     status 0
    VULNERABLE: …   what, and which version mends it                     status 1
    NOT AUDITED: …  no service that knows vulnerabilities was reachable  status 2, and 0 in CI, which has no way out
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("osv", "pypi")
WITHIN_S = 60.0
"""For a service that answers; one that cannot be reached says so within `CONNECT_S`."""
CONNECT_S = 3


def findings(service: str) -> list[dict[str, Any]] | None:
    """What the service knows of every pinned package; None when it was not asked, or not of all: pip-audit itself says
    "no known vulnerabilities" of packages that a service, or a mirror in its place, has never heard of."""
    options = ("--no-deps", "--disable-pip", "--strict", "--progress-spinner", "off", "--format", "json")
    command = [sys.executable, "-m", "pip_audit", "--requirement", "constraints.txt", *options]
    command += ["--vulnerability-service", service, "--timeout", str(CONNECT_S)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
    return found if len(found) >= len(pinned()) and all("vulns" in each for each in found) else None


def pinned() -> list[str]:
    """The lines of constraints.txt that pin a package."""
    return [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]


def vulnerable(found: list[dict[str, Any]]) -> list[str]:
    """A line for each known vulnerability."""
    return [
        f"{each['name']} {each['version']}: {vuln['id']}, mended in {', '.join(vuln['fix_versions']) or 'none yet'}"
        for each in found
        for vuln in each["vulns"]
    ]


def told(answers: dict[str, list[dict[str, Any]] | None], in_ci: bool) -> tuple[str, int]:
    """What to say, and the status."""
    asked = {service: found for service, found in answers.items() if found is not None}
    if not asked:
        return "NOT AUDITED: no vulnerability service reachable", 0 if in_ci else 2
    lines = sorted({line for found in asked.values() for line in vulnerable(found)})
    if lines:
        return "\n".join(f"VULNERABLE: {line}" for line in lines), 1
    count = max(len(found) for found in asked.values())
    return f"AUDITED: {count} packages, nothing known to {', '.join(asked)}", 0


def main() -> int:
    with ThreadPoolExecutor() as asking:
        answers = dict(zip(SERVICES, asking.map(findings, SERVICES), strict=True))
    said, status = told(answers, "CI" in os.environ)
    print(said)
    return status


if __name__ == "__main__":
    sys.exit(main())
