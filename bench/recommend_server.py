"""The process that `bench.recommend` asks: a worker's scorer, service and web server over a catalogue made in memory.

    python -m bench.recommend_server BOOTSTRAP_SERVERS TOPIC_PREFIX FOLDER ITEMS EVENTS

Everything that a request meets in a worker is the real thing, but that users' rows are kept decoded, and that nothing
else goes on in the process. It prints a line of JSON when it answers, and again after each line on its standard input:
`model` has a checkpoint serve, `alone` measures answers without HTTP.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

import numpy as np

from bench.recommend_world import World, bundle_with_model, fill
from store.histories import UserRow
from store.requests import Request
from store.settings import Settings, settings_from
from stream.ingest.assignment import Assignment
from stream.ingest.item_owners import ItemOwners
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.serving.others.owned_users import OwnedUsers
from stream.serving.others.readiness import Readiness
from stream.serving.peers import Peers
from stream.serving.scorer import Scorer
from stream.serving.service import WorkerService
from stream.web.server import WebServer
from stream.worker_process import GARBAGE, SWITCH_S
from trainer.content.encoders import text_encoder

ALONE = 200


class AllUsers(OwnedUsers):
    """The users of a worker at which all partitions are at work."""

    rows: dict[str, UserRow]

    def row(self, user_id: str) -> tuple[bool, UserRow | None]:
        return True, self.rows.get(user_id)


class Server:
    """Scorer, service and web server of one worker."""

    def __init__(self, settings: Settings, items: int, events: int) -> None:
        metrics, self.emitter = Metrics(), Emitter(settings)
        assignment = Assignment({}, lambda _: None)
        owners = ItemOwners(assignment, settings.kafka.partitions)
        encoder = text_encoder(settings.content.encoder)
        self.scorer = Scorer(settings, metrics=metrics, encoder=encoder, emitter=self.emitter, owners=owners)
        known = self.scorer.attribution, self.scorer.frequency
        users = AllUsers(assignment, settings.kafka.partitions, *known, owners.wanted)
        caught_up = asyncio.Event()
        caught_up.set()
        service = WorkerService(
            settings,
            scorer=self.scorer,
            assignment=assignment,
            metrics=metrics,
            emitter=self.emitter,
            peers=Peers(owner_of=self.scorer.owner_of, own_url=lambda: "http://me", metrics=metrics, timeout_s=1.0),
            own_url=lambda: "http://me",
            readiness=Readiness(caught_up, lambda: ""),
            users=users,
        )
        self.world = World(self.scorer.recommender)
        fill(self.world, items, events)
        users.rows = self.world.users
        self.web = WebServer(service, metrics, settings.serving)

    def alone(self) -> list[float]:
        """Processor milliseconds of answers, in this thread."""
        users = np.random.default_rng(1).choice(sorted(self.world.users), ALONE).tolist()
        spent_ms = []
        for user_id in users:
            began = time.thread_time()
            self.scorer.recommender.answer(Request(user_id=user_id), self.world.users[user_id])
            spent_ms.append((time.thread_time() - began) * 1000)
        return sorted(spent_ms[ALONE // 10 :])

    def obey(self, order: str) -> object:
        """What an order gives."""
        if order == "model":
            import torch

            torch.set_num_threads(1)
            self.scorer.recommender.exchange(bundle_with_model(self.scorer.recommender))
        return self.alone() if order == "alone" else order


async def run(servers: str, prefix: str, folder: str, items: int, events: int) -> None:
    kafka = {"bootstrap_servers": servers, "topic_prefix": prefix, "partitions": 4}
    server = Server(settings_from({"kafka": kafka, "serving": {"port": 0}, "data_dir": folder}), items, events)
    gc.freeze()
    await server.emitter.start()
    await server.web.start()
    world = server.world
    tell({"url": server.web.url, "users": len(world.users), "live": world.recommender.catalog.live_count}, world)
    while order := (await asyncio.to_thread(sys.stdin.readline)).strip():
        print(json.dumps(await asyncio.to_thread(server.obey, order)), flush=True)
    await server.web.stop()
    await server.emitter.stop()
    server.scorer.close()


def tell(known: dict[str, object], world: World) -> None:
    made = {"insert_us": world.insert_us, "update_us": world.update_us, "space_fit_s": world.space_fit_s}
    print(json.dumps({**known, **made, "ranker": world.recommender.ranker.name}), flush=True)


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*GARBAGE)
    asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
