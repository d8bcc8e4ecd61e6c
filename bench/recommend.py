"""Time of one answer with many live items, without the model: p50, p90, p99; and memory per live item.

    python -m bench.recommend [--items 100000] [--events 200000] [--requests 300] [--json]

The catalogue is filled by simulated users of 1,000 tastes; the ranker is one fitted to examples of theirs. Each request
takes the whole way of a request in the scorer's process: taste, all sources, features, ranker, filters, reasons.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from store.events import Engagement
from store.histories import UserRow
from store.histories import absorb as absorb_engagement
from store.items import ItemCard, ItemRow, pack_parts
from store.requests import Request
from store.settings import Settings
from trainer.items.item_learning import absorb as absorb_signal
from trainer.model_bundle import ModelBundle
from trainer.ranking.learner import RankerLearner
from trainer.recommender import Recommender
from trainer.rules import history_rules, ranker_rules, recommender_rules
from trainer.semantic_ids.codebook import zero_codebook

TASTES = 1000
START_S = 1.7e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("items", 100_000), ("events", 200_000), ("requests", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.items, chosen.events, chosen.requests)
    print(json.dumps(found) if chosen.json else "\n".join(f"{name:24} {value:,.2f}" for name, value in found.items()))


def measure(items: int, events: int, requests: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    recommender = Recommender(recommender_rules(Settings()), serving=ModelBundle(zero_codebook(Settings())))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    fill(recommender, items, rng)
    insert_us = (time.perf_counter() - began) / items * 1e6
    users, update_us, fit_s = engage(recommender, items, events, rng)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) * 1024 / items
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    for user_id in rng.choice(list(users), requests):
        began, cpu_began = time.perf_counter(), time.process_time()
        answer = recommender.answer(Request(user_id=user_id), users[user_id]).answer
        took_ms.append((time.perf_counter() - began) * 1000)
        cpu_ms.append((time.process_time() - cpu_began) * 1000)
        assert len(answer.items) == 10
    p50, p90, p99 = np.percentile(took_ms[5:], [50, 90, 99])
    return {
        "live_items": float(recommender.catalog.live_count),
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "cpu_p50_ms": float(np.percentile(cpu_ms[5:], 50)),
        "cpu_p99_ms": float(np.percentile(cpu_ms[5:], 99)),
        "insert_us": insert_us,
        "update_us": update_us,
        "space_fit_s": fit_s,
        "peak_bytes_per_item": memory,
    }


def fill(recommender: Recommender, items: int, rng: np.random.Generator) -> None:
    tastes = rng.standard_normal((TASTES, 256)).astype(np.float32)
    for number in range(items):
        vector = tastes[number % TASTES] + rng.standard_normal(256).astype(np.float32)
        at = START_S + number
        recommender.insert(
            ItemCard(
                item_id=f"item-{number}",
                codebook="c",
                codes=[],
                suffix=0,
                assigned_at=at,
                uploaded_at=at,
                published_at_ms=0,
                title=f"Title {number} of {number % TASTES}",
                content=pack_parts({"text": vector / np.linalg.norm(vector)}),
            )
        )


def engage(
    recommender: Recommender, items: int, events: int, rng: np.random.Generator
) -> tuple[dict[str, UserRow], float, float]:
    """Users by their number's taste, items by a power law within it; every fiftieth engagement teaches the ranker."""
    rules = history_rules(Settings())
    users: dict[str, UserRow] = {}
    rows: dict[str, ItemRow] = {}
    learner = RankerLearner(ranker_rules(Settings()))
    who_E = rng.integers(0, max(1, events // 10), events)
    which_E = (rng.pareto(1.0, events) * 3).astype(int) % max(1, items // TASTES)
    spent_s = fit_s = 0.0
    for number in range(events):
        user_id, taste = f"user-{who_E[number]}", int(who_E[number]) % TASTES
        item_id = f"item-{(which_E[number] * TASTES + taste) % items}"
        at = START_S + items + number
        event = Engagement(event_id=str(number), user_id=user_id, item_id=item_id, kind="click", occurred_at=at)
        user = users.setdefault(user_id, UserRow())
        if number % 50 == 0 and number > events // 2:
            ranked = recommender.example(user, event)
            if ranked is not None:
                learner.absorb(ranked.example)
        signal = absorb_engagement(user, event, number, 0, rules)
        assert signal is not None
        row = rows.setdefault(item_id, ItemRow())
        absorb_signal(row, signal, recommender.rules.item)
        began = time.perf_counter()
        recommender.update(item_id, row)
        spent_s += time.perf_counter() - began
        if number in (events // 2, events - 1):
            began = time.perf_counter()
            recommender.spectral.refit()
            fit_s = time.perf_counter() - began
    if learner.examples:
        recommender.exchange_ranker(learner.refit())
    return users, spent_s / events * 1e6, fit_s


if __name__ == "__main__":
    main()
