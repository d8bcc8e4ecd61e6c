"""`sidestream codebook show`: the health of the serving version, or that it is not measured yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.stream.client.test_client import serving
from tests.stream.conftest import Run

REPORT: dict[str, Any] = {}


@pytest.fixture
def url() -> Iterator[str]:
    """A worker's report on its codebook, as `REPORT` has it."""

    async def codebook(_: web.Request) -> web.Response:
        return web.json_response(REPORT)

    app = web.Application()
    app.add_routes([web.get("/v1/codebook", codebook)])
    yield from serving(app)


def test_what_is_not_measured_yet_says_so(run: Run, url: str) -> None:
    ran = run("codebook", "show", "--url", url)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "sidestream: the worker has not measured its codebook yet: ask again in a moment\n"
    assert "not measured" in run("codebook", "show", "--url", url, "--json").document["error"]


def test_refresh_without_a_broker_is_one_line(run: Run, tmp_path: Path) -> None:
    for how in ("refresh", "train"):
        ran = run("codebook", how, "--bootstrap-servers", "127.0.0.1:1", "--url", "http://127.0.0.1:1")
        assert (ran.status, ran.err.count("\n"), "sidestream up" in ran.err) == (1, 1, True)
