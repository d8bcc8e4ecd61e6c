"""`sidestream doctor`: each line ok or what to do, one document with --json, and a status for scripts."""

from __future__ import annotations

from stream.cli.doctor.checks import CHECKS
from tests.clusters import free_ports
from tests.stream.conftest import Run


def test_each_check_is_a_line_and_the_status_says_whether_all_is_well(on_broker: Run, run: Run) -> None:
    found = on_broker("doctor", "--json")
    assert [each["check"] for each in found.document["checks"]] == list(CHECKS)
    assert found.document["ok"] is (found.status == 0)
    (port,) = free_ports(1)
    ill = run("doctor", "--bootstrap-servers", f"127.0.0.1:{port}")
    assert ill.status == 1
    assert "not well: brokers" in ill.out
    assert all(name in ill.out for name in CHECKS)
