"""The page for everybody: no serious finding of axe, at every width, in light and dark, in every state.

One browser serves a whole test: it changes the width and the colours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from store.requests import DeskError
from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.console.desk_routes import desk_routes
from stream.web.server import WebServer
from tests.stream.web.accessibility import findings
from tests.stream.web.browser import Page, browsing
from tests.stream.web.fake_desk import LONG, FakeDesk
from tests.stream.web.fake_service import TITLES, FakeService

WIDTHS = (390, 768, 1280, 1920, 2560)
WIDE = """[...document.querySelectorAll('main *')].filter(element => element.offsetParent
  && element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('.scrolled, .tables, pre, .map'))
  .map(element => element.outerHTML.slice(0, 120))"""


@asynccontextmanager
async def opened(folder: Path, desk: FakeDesk, titles: dict[str, str]) -> AsyncIterator[Page]:
    metrics = Metrics()
    metrics.became_recommendable(0.08, 50)
    metrics.embedded(0.9, 1000)
    metrics.lag({("engagements", 0): 12})
    server = WebServer(FakeService(metrics, titles), metrics, Serving(port=0), desk_routes(desk))
    await server.start()
    try:
        async with browsing(server.url, folder) as page:
            await page.until(
                "typeof hour === 'object' && hour.at.length && family && document.readyState === 'complete'"
            )
            await page.until(
                "document.querySelectorAll('#workers li').length && document.querySelector('#topic-about').textContent"
            )
            yield page
    finally:
        await server.stop()


async def sized(page: Page, width: int, *, dark: bool = False) -> None:
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    await page.call("Emulation.setEmulatedMedia", features=[scheme])
    await page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def everything_open(page: Page) -> None:
    await page.until("document.querySelectorAll('#lineage .title').length > 2")
    await page.value("[...document.querySelectorAll('#lineage .title')][1].click()")
    await page.value("document.getElementById('letters-look').click()")
    await page.until(
        "document.querySelectorAll('#letters li').length && document.querySelectorAll('.details table').length"
    )
    await page.value("document.querySelector('#letters summary').click()")


async def reached_by_keys(page: Page) -> None:
    wanted = {"#lineage .title", "#map button", "#hour .plot", "#letters-look", "#rows .title", "#user"}
    reached: set[str] = set()
    for _ in range(150):
        for kind in ("rawKeyDown", "keyUp"):
            await page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        each = f"{json.dumps(sorted(wanted))}.filter(one => document.activeElement.matches(one))"
        reached.update(await page.value(each))
        if reached == wanted:
            return
    raise AssertionError(f"no key leads to {wanted - reached}")


def test_no_serious_finding_and_nothing_sticks_out_at_any_width(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, FakeDesk(), {**TITLES, "long": LONG * 3, "word": "W" * 300}) as page:
            await everything_open(page)
            for width in WIDTHS:
                await sized(page, width)
                assert await page.value("document.documentElement.scrollWidth") <= width, width
                assert await page.value(WIDE) == [], width
                high = "Math.max(...[...document.querySelectorAll('#rows .title')].map(e => e.offsetHeight))"
                assert await page.value(high) <= 4 * 26, "a long title is clamped"
            await reached_by_keys(page)
            for width, dark in ((390, True), (1280, False)):
                await sized(page, width, dark=dark)
                assert await findings(page) == [], (width, dark)

    asyncio.run(main())


@pytest.mark.long
def test_no_serious_finding_where_it_is_empty_broken_or_asking(tmp_path: Path) -> None:
    async def main() -> None:
        desk = FakeDesk(empty=True)
        async with opened(tmp_path, desk, {}) as page:
            assert await findings(page) == []
            desk.fault = DeskError("no Kafka broker answers")
            await page.value(
                "Promise.all([lookAtOwners(), lookAtTopics([]), lookAtCheckpoints(), lookAtLetters()]).then(lost)"
            )
            assert await findings(page) == []
            await page.value(
                "confirmAct({ title: 'Serve it?', text: 'Every worker will.', word: 'c1', verb: 'Promote' })"
            )
            assert await findings(page) == []
            await page.value("document.getElementById('second').close(); askForToken(); 1")
            assert await findings(page) == []

    asyncio.run(main())
