"""The way to a collector: what gets there, and what becomes of it when the collector is away, hangs or refuses."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from store.settings import Tracing
from stream.tracing import export as module
from stream.tracing.export import Export, spans_url
from stream.tracing.spans import Stage, begun, parent_in
from tests.clusters import free_ports
from tests.stream.tracing.collector import Collector, collecting
from tests.waiting import eventually

SECRET = "Bearer hush-hush"


@pytest.fixture
def at_work() -> Iterator[tuple[Collector, str]]:
    with collecting() as found:
        yield found


def exporting(url: str, timeout_s: float = 5.0, share: float = 1.0, ca_file: str = "") -> tuple[Export, Counter[str]]:
    counted: Counter[str] = Counter()
    settings = Tracing(endpoint=url, sample_share=share, timeout_s=timeout_s, ca_file=ca_file)
    return Export(settings, {"Authorization": SECRET}, lambda result, n: counted.update({result: n})), counted


def tell(export: Export, count: int = 1) -> list[Stage]:
    stages = [stage for n in range(count) if (stage := begun(export.tracer, f"stage {n}", None, {})) is not None]
    for stage in stages:
        stage.end()
    return stages


def test_spans_get_there_with_their_headers_and_are_counted(at_work: tuple[Collector, str]) -> None:
    collector, url = at_work
    export, counted = exporting(url)
    assert len(tell(export, 3)) == 3
    export.stop(30.0)
    assert sorted(one.name for one in collector.seen) == ["stage 0", "stage 1", "stage 2"]
    assert collector.seen[0].resource["service.name"] == "sidestream"
    assert collector.headers[0]["authorization"] == SECRET
    assert counted == {"exported": 3}


def test_only_the_share_of_traces_is_told(at_work: tuple[Collector, str]) -> None:
    export, _ = exporting(at_work[1], share=0.25)
    assert 10 < len(tell(export, 200)) < 100
    asked = [parent_in(f"00-{low:032x}-{1:016x}-01".encode()) for low in (1, 2**64 - 1)]
    found = [begun(export.tracer, "stage", parent, {}) is not None for parent in asked]
    assert found == [True, False], "by the trace's id, so that all workers tell of the same ones"
    export.stop(30.0)


def test_a_collector_that_is_away_costs_spans_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    [port] = free_ports(1)
    export, counted = exporting(f"http://127.0.0.1:{port}", timeout_s=0.3)
    tell(export, 2)
    eventually(lambda: counted["dropped"] == 2)
    tell(export, 1)
    eventually(lambda: counted["dropped"] == 3)
    with collecting(port) as (collector, _):
        tell(export, 1)
        export.stop(30.0)
        assert len(collector.seen) == 1
    ours = [record.getMessage() for record in caplog.records if record.name == "stream.tracing.export"]
    assert len(ours) == 2, "one when it begins, one when it is over"
    assert f"127.0.0.1:{port} takes no spans" in ours[0]
    assert "Failed to export" in ours[0], "what the library says of it"
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert SECRET not in caplog.text


def test_one_that_refuses_is_told_with_its_reason(
    at_work: tuple[Collector, str], caplog: pytest.LogCaptureFixture
) -> None:
    collector, url = at_work
    collector.status = 401
    export, counted = exporting(url)
    tell(export)
    export.stop(30.0)
    assert counted == {"dropped": 1}
    assert "Unauthorized" in caplog.text


def test_one_that_hangs_holds_neither_those_who_tell_nor_the_stop(
    at_work: tuple[Collector, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector, url = at_work
    collector.answers.clear()
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    monkeypatch.setattr(module, "BATCH", 5)
    export, counted = exporting(url, timeout_s=30.0)
    tell(export, 15)
    assert counted == {"dropped": 5}, "more than may wait"
    eventually(lambda: collector.headers)
    export.stop(0.1)
    assert not collector.answers.is_set()
    assert collector.seen == []


def test_the_address_may_be_that_of_the_collector_or_of_its_traces() -> None:
    whole = "http://c:4318/v1/traces"
    assert {spans_url(one) for one in ("http://c:4318", "http://c:4318/", whole, f"{whole}/")} == {whole}


def test_a_collector_that_speaks_tls_is_trusted_by_its_authority_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`requests` would take the authorities of this variable instead."""
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for ca, name in ((authority, "ours.pem"), (stranger, "theirs.pem")):
        ca.cert_pem.write_to_path(str(tmp_path / name))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "theirs.pem"))
    found = {}
    with collecting(context=context) as (collector, url):
        for name in ("ours.pem", "theirs.pem"):
            patience_s = 5.0 if name == "ours.pem" else 0.3
            export, counted = exporting(url, timeout_s=patience_s, ca_file=str(tmp_path / name))
            tell(export)
            export.stop(30.0)
            found[name] = dict(counted)
        assert len(collector.seen) == 1
    assert found == {"ours.pem": {"exported": 1}, "theirs.pem": {"dropped": 1}}
    assert SECRET not in caplog.text
