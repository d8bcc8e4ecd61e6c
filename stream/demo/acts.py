"""The acts of the demonstration: each does one thing to a running system by public ways, and measures what it sees.

Invariant: an act never claims what it has not seen in an answer of the system; what was not seen in time says so.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from store.checkpoints import RunRecord
from store.requests import Answer
from store.settings import Settings
from stream.client.client import Client, ClientError, NotFoundError
from stream.client.publisher import Publisher
from stream.client.training_runs import follow, request_training
from stream.demo.stream import DemoStream, Feed

LATEST_ANSWER_S = 30.0
"""An answer later than that counts as failed; how long the longest took is told, so patience hides nothing."""


class Tell(Protocol):
    """Prints a line put together of texts and (text, style)."""

    def __call__(self, *parts: str | tuple[str, str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that was to be seen. `seconds` from its cause, None when it was not seen."""

    what: str
    seen: bool
    seconds: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the acts play."""

    settings: Settings
    client: Client
    publisher: Publisher
    stream: DemoStream
    feed: Feed
    tell: Tell


# ---- first act: an item is published, and recommended before anybody has touched it ----


def publish_and_find(stage: Stage, within_s: float = 90.0) -> list[Seen]:
    """Publishes an item like a popular one, and looks for it in people's home lists."""
    item_id = f"demo-{uuid.uuid4().hex[:8]}"
    model = next(iter(stage.stream.popular()), {})
    upload = _like(model, item_id, stage.stream.now)
    people = [*stage.stream.fans(str(model.get("item_id")))[:40], *stage.stream.people(160)] or ["demo-visitor"]
    stage.tell("publishing ", (item_id, "bold"), f" “{upload.get('title', 'without a title')}”")
    published_at = time.time()
    stage.publisher.upload(upload).result()
    live_at = _until(lambda: _live(stage.client, item_id), within_s)
    live = Seen("upload → live, with a semantic ID", live_at is not None, _since(live_at, published_at))
    if live_at is None:
        return [live, Seen("upload → recommended to somebody, before any engagement", False)]
    item = stage.client.item(item_id)
    live = Seen(live.what, True, live.seconds, f"semantic ID {_dotted(item['semantic_id'])}, {item['codebook']}")
    found = _find_in_home_lists(stage.client, people, item_id, published_at + within_s)
    if found is None:
        return [live, Seen("upload → recommended to somebody, before any engagement", False)]
    user, rank, source, at = found
    untouched = not stage.client.item(item_id)["counters"]
    detail = f"to {user} at rank {rank}, source {source}" + ("" if untouched else ", but it has engagements")
    return [live, Seen("upload → recommended to somebody, before any engagement", untouched, at - published_at, detail)]


def _like(model: dict[str, Any], item_id: str, uploaded_at: float) -> dict[str, Any]:
    """An upload with the words of another one; its own id and time."""
    words = ("tags", "category", "language", "features", "description")
    upload: dict[str, Any] = {key: model[key] for key in words if key in model}
    if model.get("title"):
        upload["title"] = f"{model['title']}: the sequel"
    return {**upload, "item_id": item_id, "uploaded_at": uploaded_at}


def _find_in_home_lists(
    client: Client, people: Sequence[str], item_id: str, until: float
) -> tuple[str, int, str, float] | None:
    """(user, rank, source, time) of the first list that has the item; `people` are asked in turn, again and again."""
    while time.time() < until:
        for start in range(0, len(people), 10):
            some = people[start : start + 10]
            answers = client.recommend_many([{"user_id": user, "task": "home", "k": 10} for user in some])
            for user, answer in zip(some, answers, strict=True):
                for rank, item in enumerate(answer.items, start=1):
                    if item.item_id == item_id:
                        return user, rank, item.source, time.time()
    return None


# ---- second act: a click changes the order ----


@dataclass(frozen=True, slots=True)
class Click:
    """What a click did: the orders before and after, and the item clicked."""

    user: str
    item_id: str
    before: list[str]
    after: list[str]
    seen: Seen


def click_and_compare(stage: Stage, within_s: float = 30.0) -> Click:
    """A visitor who is new clicks on one recommended item; the order of the others changes.

    The stream is held meanwhile, and the order before is asked for several times: only an order that none of those
    answers had, leaving out exploration and the clicked item itself, counts as changed by the click.
    """
    stage.feed.hold()
    try:
        return _click(stage, within_s)
    finally:
        stage.feed.go_on()


def _click(stage: Stage, within_s: float) -> Click:
    user = f"demo-visitor-{uuid.uuid4().hex[:6]}"
    earlier = [stage.client.recommend(user, k=10) for _ in range(5)]
    before = [item.item_id for item in earlier[-1].items]
    if not before:
        return Click(user, "", [], [], Seen("click → changed order", False, detail="nothing was recommended"))
    item_id = before[min(4, len(before) - 1)]
    stage.tell(f"{user} clicks on ", (_title(stage.client, item_id), "bold"))
    clicked_at = time.time()
    act = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": item_id, "kind": "click"}
    stage.publisher.engagement({**act, "occurred_at": stage.stream.now}).result()
    known = {_order(answer, item_id) for answer in earlier}
    after = stage.client.recommend(user, k=10)
    while _order(after, item_id) in known and time.time() < clicked_at + within_s:
        time.sleep(0.01)
        after = stage.client.recommend(user, k=10)
    changed = _order(after, item_id) not in known
    seconds = time.time() - clicked_at if changed else None
    new = [item.item_id for item in after.items]
    moved = len(set(new) - set().union(*({item.item_id for item in answer.items} for answer in earlier)))
    detail = f"{moved} items that were not there before" if changed else ""
    return Click(user, item_id, before, new, Seen("click → changed order", changed, seconds, detail))


def _order(answer: Answer, without: str) -> tuple[str, ...]:
    """The order that is owed to what is known of the user: exploration and the clicked item left out."""
    return tuple(x.item_id for x in answer.items if x.item_id != without and x.source not in ("explore", "fresh"))


# ---- third act: a model is trained, gated and exchanged while requests go on ----


@dataclass(slots=True)
class Traffic:
    """Requests that never stop: how many, how many failed, how long they took, and which checkpoint answered when."""

    client: Client
    people: Sequence[str]
    pause_s: float = 0.01
    latencies_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    first_answer_of: dict[str, float] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Traffic:
        self._thread = threading.Thread(target=self._ask, name="demo-traffic", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def quantile_ms(self, share: float) -> float:
        """A quantile of the latencies so far."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0

    def _ask(self) -> None:
        number = 0
        while not self._stopped.wait(self.pause_s):
            number += 1
            began = time.time()
            try:
                answer = self.client.recommend(self.people[number % len(self.people)], k=10)
            except ClientError as error:
                self.failures.append(str(error))
                continue
            self.latencies_s.append(time.time() - began)
            self.first_answer_of.setdefault(answer.checkpoint, time.time())


def patient_client(url: str, settings: Settings) -> Client:
    """A client that waits as long as a person does while a model is trained on the same cores."""
    serving = settings.serving
    return Client(url, timeout_s=LATEST_ANSWER_S, token=serving.tokens.read, ca_file=serving.tls.ca_file)


def train_and_swap(stage: Stage, timeout_s: float = 300.0) -> list[Seen]:
    """Asks for a training run and follows it to the first answer of the new checkpoint, under traffic all the time."""
    with (
        patient_client(stage.client.url, stage.settings) as own,
        Traffic(own, stage.stream.people(100) or ["demo-visitor"]) as traffic,
    ):
        request, offset = request_training(stage.settings)
        steps: dict[str, RunRecord] = {}
        for step in follow(stage.settings, request.run, offset, answer_s=90.0, timeout_s=timeout_s):
            steps[step.state] = step
            told = f" {step.checkpoint}" if step.checkpoint else ""
            stage.tell(f"{step.at - request.requested_at:5.1f} s  ", (step.state, "bold"), f"{told}  {step.detail}")
        published = steps.get("published")
        swapped_at = None
        if published is not None:
            swapped_at = _until(lambda: traffic.first_answer_of.get(published.checkpoint or "") is not None, 30.0)
            swapped_at = swapped_at and traffic.first_answer_of[published.checkpoint or ""]
            time.sleep(1.0)  # some traffic on the new one
    return [*_run_seen(steps, request.requested_at, swapped_at), _traffic_seen(traffic)]


def _run_seen(steps: dict[str, RunRecord], asked_at: float, swapped_at: float | None) -> list[Seen]:
    seen = []
    for state, what in (("trained", "trigger → trained"), ("gated", "trigger → gated")):
        step = steps.get(state)
        seen.append(Seen(what, step is not None, step.at - asked_at if step else None, step.detail if step else ""))
    end = next((steps[state] for state in ("published", "refused", "failed") if state in steps), None)
    detail = f"{end.checkpoint}" if end and end.state == "published" else (f"{end.state}: {end.detail}" if end else "")
    swapped = swapped_at is not None
    seen.append(Seen("trigger → answering from the new checkpoint", swapped, _since(swapped_at, asked_at), detail))
    published = steps.get("published")
    pause = swapped_at - published.at if published and swapped_at else None
    seen.append(Seen("published → answering from it", pause is not None, pause))
    return seen


def _traffic_seen(traffic: Traffic) -> Seen:
    count = len(traffic.latencies_s)
    detail = (
        f"{count:,} requests meanwhile, {len(traffic.failures)} failed; p50 {traffic.quantile_ms(0.5):.1f} ms, "
        f"p99 {traffic.quantile_ms(0.99):.1f} ms, longest {traffic.quantile_ms(1.0):.0f} ms"
    )
    if traffic.failures:
        detail += f"; the first failure: {traffic.failures[0]}"
    return Seen("requests answered while training and swapping", count > 0 and not traffic.failures, None, detail)


# ---- small things ----


def _until(holds: Callable[[], bool], within_s: float) -> float | None:
    """The time at which it held, or None."""
    end = time.time() + within_s
    while time.time() < end:
        if holds():
            return time.time()
        time.sleep(0.01)
    return None


def _live(client: Client, item_id: str) -> bool:
    try:
        return bool(client.item(item_id)["live"])
    except NotFoundError:
        return False


def _title(client: Client, item_id: str) -> str:
    try:
        return str(client.item(item_id).get("title") or item_id)
    except ClientError:
        return item_id


def _since(at: float | None, start: float) -> float | None:
    return None if at is None else at - start


def _dotted(codes: Sequence[int]) -> str:
    return "·".join(map(str, codes))
