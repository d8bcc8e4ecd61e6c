"""Absorbing without answering, over HTTP: what is told, and what is refused. With a broker: `test_roles.py`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from aiohttp.test_utils import TestClient, TestServer

from store.records.peer_messages import Heard, RowRequest, Told
from stream.worker import Worker
from tests.stream.log import settings_on


async def asked(folder: Path) -> None:
    settings = msgspec.structs.replace(settings_on("127.0.0.1:1", "x."), role="ingest", data_dir=str(folder))
    worker: Any = Worker(settings)
    async with TestClient(TestServer(worker._web._app)) as client:
        for path in ("/v1/recommend?user_id=u", "/v1/items/i", "/v1/users/u", "/v1/checkpoints", "/v1/codebook"):
            refused = await client.get(path)
            assert refused.status == 501, path
            assert "role = ingest" in (await refused.json())["error"]["remedy"]
        assert (await client.post("/v1/rank", json={})).status == 501
        assert (await client.post("/internal/recommend", data=b"{}")).status == 501
        assert (await client.get("/")).status == 404
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/metrics")).status == 200
        assert (await client.get("/readyz")).status == 503
        assert (await (await client.get("/v1/status")).json())["role"] == "ingest"
        told = await client.post("/internal/told", data=msgspec.msgpack.encode(Told("http://s")))
        assert msgspec.msgpack.decode(await told.read(), type=Heard).answerers == ["http://s"]
        rows = await client.post("/internal/rows", data=msgspec.msgpack.encode(RowRequest("u", "home")))
        assert rows.status == 409
        assert (await client.post("/internal/rows", data=b"\xc1")).status == 400
    worker._absorbing.close()
    worker._known.close()


def test_everything_that_others_answer_is_refused(tmp_path: Path) -> None:
    asyncio.run(asked(tmp_path))


def test_owners_share_the_rows_that_scorers_read(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings_on("127.0.0.1:1", "x."), role="ingest", data_dir=str(tmp_path))
    worker: Any = Worker(settings)
    absorbing, urls = worker._absorbing, worker._known.owner_urls
    alone = [absorbing._rows_per_s(agent) for agent in ("item-signals", "engagements")]
    urls |= {0: "http://a", 1: "http://b", 2: "http://a", 3: "http://c"}
    assert absorbing._rows_per_s("item-signals") == alone[0] / 3
    assert absorbing._rows_per_s("engagements") == alone[1], "a user's row is read by nobody who answers"
    absorbing.close()
    worker._known.close()
