"""Writes components/monitoring/rules.yaml, the PrometheusRule with the rules of deploy/alerts.yml: `make manifests`.

Indented, the file is what stands under `spec`, so its comments and line breaks come along.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
RULES = HERE / "components/monitoring/rules.yaml"
HEAD = """\
# Made of deploy/alerts.yml by `make manifests`: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sidestream
  labels: { app.kubernetes.io/name: sidestream }
spec:
"""


def prometheus_rule() -> str:
    """The manifest as it should be."""
    lines = (HERE.parent / "alerts.yml").read_text(encoding="utf-8").splitlines()
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    RULES.write_text(prometheus_rule(), encoding="utf-8")
