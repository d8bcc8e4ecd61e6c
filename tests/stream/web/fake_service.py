"""A service in memory with a handful of items: what the web application and the client are tested against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from store.requests import UNKNOWN_ITEM, Answer, Note, RecommendedItem, Request
from store.settings import Freshness
from stream.metrics.metrics import Metrics
from stream.metrics.status import report

TITLES = {
    "i1": "Sourdough for beginners",
    "i2": "Ёлки — зимний лес",
    "a/b?c#d e%2F": "An id that needs encoding",
    "{braces}": "An id with braces",
    "i3": "Köln bei Nacht",
}


class FakeService:
    """Recommends its items in the order of their clicks."""

    def __init__(self, metrics: Metrics, titles: Mapping[str, str] = TITLES) -> None:
        self.titles = titles
        self.metrics = metrics
        self.engagements: list[dict[str, Any]] = []
        self.asked: list[Request] = []
        self.is_ready = True
        self.fault: Exception | None = None
        self.padding = ""
        metrics.lag({("engagements", 0): 0})

    def _answer(self, k: int, degraded: bool = False, exclude: Sequence[str] = ()) -> Answer:
        clicks = [engagement["item_id"] for engagement in self.engagements]
        wanted = [item_id for item_id in self.titles if item_id not in exclude]
        ranked = sorted(wanted, key=lambda item_id: -clicks.count(item_id))[:k]
        few = Note(reason="few_live", text=f"only {len(ranked)} items are live", items=len(ranked))
        items = [
            RecommendedItem(
                item_id=item_id, score=0.9 - 0.1 * place, semantic_id=[1, 2, place], source="popular", reason="popular"
            )
            for place, item_id in enumerate(ranked)
        ]
        made = {"checkpoint": "c1", "codebook": "v0", "request_id": "r1", "took_ms": 1.5}
        return Answer(items=items, **made, degraded=degraded, notes=[few] if len(items) < k else [])  # type: ignore[arg-type]

    async def recommend(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.fault is not None:
            raise self.fault
        if request.task == "similar" and request.item_id not in self.titles:
            return msgspec.structs.replace(self._answer(0), notes=[Note(reason=UNKNOWN_ITEM, text="not there")])
        return self._answer(request.k, degraded=request.user_id == "far")

    async def recommend_many(self, requests: Sequence[Request]) -> list[Answer]:
        return [await self.recommend(request) for request in requests]

    def item(self, item_id: str) -> dict[str, Any] | None:
        if item_id not in self.titles:
            return None
        return {
            "item_id": item_id,
            "title": self.titles[item_id],
            "live": True,
            "uploaded_at": 1.0,
            "semantic_id": [1, 2, 3],
            "codebook": "v0",
            "prefix_words": ["bread", "oven"],
            "counters": {"click": 3},
        }

    async def similar(self, item_id: str, k: int, exclude: tuple[str, ...] = ()) -> Answer | None:
        return self._answer(k, exclude=exclude) if item_id in self.titles else None

    async def user(self, user_id: str) -> dict[str, Any] | None:
        history = [engagement for engagement in self.engagements if engagement["user_id"] == user_id]
        return {"user_id": user_id, "history": history} if history or user_id == "u1" else None

    def checkpoints(self) -> dict[str, Any]:
        first = {"checkpoint": "c1", "parent": None, "location": "c1", "verdict": "passed", "published_at": 1.0}
        first["reasons"] = ["it helps", "scores on 40 held-out engagements"]
        return {"serving": "c1", "checkpoints": [first]}

    def ready(self) -> tuple[bool, str]:
        return (True, "") if self.is_ready else (False, "recovering: 12 of 40 records")

    def status(self) -> dict[str, Any]:
        head = {"error": 0.01, "predicted": 0.12, "observed": 0.125, "outcomes": 400}
        shown = {"lines": 200, "explored": 10, "share": 0.05, "hits": 30, "explored_hits": 2}
        return {
            **report(self.metrics.snapshot(), Freshness()),
            "checkpoint": "c1",
            "codebook": "v0",
            "padding": self.padding,
            "ranker_heads": {"click": head},
            "exploration": {**shown, "little_known": 40, "covered": 9},
        }

    def trace(self, item_id: str) -> dict[str, Any] | None:
        if item_id not in self.titles:
            return None
        return {"item_id": item_id, "stages": [{"stage": "published", "at": 1.0}, {"stage": "live", "at": None}]}

    async def engage(self, engagement: dict[str, Any]) -> None:
        self.engagements.append(engagement)

    def search_items(self, text: str, limit: int) -> list[dict[str, Any]]:
        found = [item_id for item_id, title in self.titles.items() if text.casefold() in title.casefold()]
        return [{"item_id": item_id, "title": self.titles[item_id]} for item_id in found[:limit]]

    def sample_users(self, limit: int) -> list[str]:
        return ["u1", "u2"][:limit]
