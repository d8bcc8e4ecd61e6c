"""Factories: what partitions of a worker keep in memory is what the catalogue has, not what is named to them."""

from __future__ import annotations

import gc
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from store.histories import UserRow
from store.settings import settings_from
from stream.ingest.factories import IngestFactories
from stream.ingest.growth.unknown_items import UnknownItems
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.upload_partition import Cataloguing
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.metrics.metrics import Metrics
from tests.stream.serving.uncatalogued.test_waiting_rows import card, scorer_that_tells
from trainer.content.encoders import text_encoder


def clicks(offset: int, user: str, *items: str) -> Record:
    events = [
        {"event_id": f"{offset}-{n}", "user_id": user, "item_id": item, "kind": "click", "occurred_at": offset}
        for n, item in enumerate(items)
    ]
    value = json.dumps({"events": events}).encode()
    return Record("engagements", 0, offset, 10_000_000, user.encode(), value, lambda: None)


def test_ids_that_were_never_uploaded_and_who_knows_no_others_take_no_memory(tmp_path: Path) -> None:
    settings = settings_from({"kafka": {"bootstrap_servers": "127.0.0.1:1", "partitions": 1}})
    scorer = scorer_that_tells([])
    for n in range(3):
        scorer.on_card(card(f"i{n}"))
    factories = IngestFactories(
        context=PartitionContext(settings=settings, emitter=Emitter(settings), metrics=Metrics()),
        folder=tmp_path,
        cataloguing=Cataloguing(
            encoder=text_encoder("static"),
            codebook=scorer.codebook,
            known_card=scorer.card,
            executor=ThreadPoolExecutor(1),
        ),
        scoring=scorer.examples,
        published=scorer.recommender.published,
        rows_per_s=lambda _: 100.0,
        own_url=lambda: "http://here",
        unknown_items=UnknownItems(lambda item_id: scorer.card(item_id) is None, Metrics()),
    )
    users, items = factories.users(0).side, factories.items(0).side
    read = [clicks(n, f"bot{n}", *(f"url-{n}-{each}" for each in range(20))) for n in range(50)]
    read += [clicks(50 + n, f"u{n}", "url-9-9", "i0", "i1", "i2", "url-8-8") for n in range(3)]
    signals = users.absorb(read).signals
    items.absorb([Record("s", 0, n, 10_000_000, key, value, lambda: None) for n, (_, key, value) in enumerate(signals)])
    users.flush()
    items.flush()
    read.clear()
    assert sorted(items.rows.recent(9999)) == ["i0", "i1", "i2"]
    assert sorted(users.rows.recent(9999)) == ["u0", "u1", "u2"]
    gc.collect()
    alive = [each for each in gc.get_objects() if type(each) is UserRow and each.entries[:1]]
    assert sum(each.entries[0].item_id.startswith("url-") for each in alive) == 3
    assert len((users.rows.get("bot7") or UserRow()).entries) == 20
    assert items.vectors.store.cached == 3
    users.rows.close()
    items.close()
    scorer.close()
