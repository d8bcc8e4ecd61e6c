"""The console page in a real browser: what it shows, that a click changes the order, that titles are text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.console.desk_routes import desk_routes
from stream.web.server import WebServer
from tests.stream.web.browser import Page, browsing
from tests.stream.web.fake_desk import FakeDesk
from tests.stream.web.fake_service import TITLES, FakeService

Look = Callable[[Page, FakeService], Awaitable[None]]
TITLES_SHOWN = "[...document.querySelectorAll('#rows .title')].map(e => e.textContent)"
LEAST_CONTRAST = """(() => {  // of text on its ground, by the formula of WCAG 2
  const channel = value => value / 255 <= .03928 ? value / 255 / 12.92 : ((value / 255 + .055) / 1.055) ** 2.4;
  const light = colour => {
    const [red, green, blue] = colour.match(/[\\d.]+/g).map(channel);
    return .2126 * red + .7152 * green + .0722 * blue;
  };
  const ground = element => {
    const colour = getComputedStyle(element).backgroundColor;
    return /, 0\\)$/.test(colour) && element.parentElement ? ground(element.parentElement) : colour;
  };
  const contrast = element => {
    const [dark, bright] = [getComputedStyle(element).color, ground(element)].map(light).sort((a, b) => a - b);
    return (bright + .05) / (dark + .05);
  };
  const texts = [...document.querySelectorAll('.badge, .soft, .title, .tell, h2, h3, label, .big, .said')];
  return Math.min(...texts.filter(element => element.offsetParent && element.textContent).map(contrast));
})()"""


def looking(
    look: Look, folder: Path, *, width: int = 1280, dark: bool = False, titles: Mapping[str, str] = TITLES
) -> None:
    async def main() -> None:
        metrics = Metrics()
        service = FakeService(metrics, titles)
        metrics.became_recommendable(0.08, 50)
        metrics.embedded(0.9, 1000)
        metrics.lag({("engagements", 0): 12})
        metrics.absorbed("engagements", 1000)
        metrics.codebook_measured(perplexities=[200.0, 100.0], error=0.2, collision_ratio=0.01)
        server = WebServer(service, metrics, Serving(port=0), desk_routes(FakeDesk()))
        await server.start()
        try:
            async with browsing(server.url, folder, width=width, dark=dark) as page:
                await page.until(f"{TITLES_SHOWN}.length && document.querySelectorAll('.stage').length")
                await look(page, service)
                assert page.faults == []
        finally:
            await server.stop()

    asyncio.run(main())


def test_a_click_changes_the_order(tmp_path: Path) -> None:
    async def look(page: Page, service: FakeService) -> None:
        assert await page.value("document.getElementById('user').value") == "u1"
        assert await page.value(TITLES_SHOWN) == list(TITLES.values())
        assert "only 5 items are live" in await page.value("document.getElementById('made').textContent")
        await page.value("(e => { e.focus(); e.click(); })(document.querySelectorAll('#rows .title')[4])")
        await page.until("document.getElementById('said').textContent.startsWith('The order changed')")
        assert (await page.value(TITLES_SHOWN))[0] == list(TITLES.values())[4]
        assert await page.value("document.querySelector('#rows li').className") == "moved-up"
        assert await page.value("document.querySelector('#rows li .badge.up').textContent") == "▲ 4"
        assert "click: Köln bei Nacht" in await page.value("document.getElementById('past').textContent")
        focused = "[...document.querySelectorAll('#rows .title')].indexOf(document.activeElement)"
        assert await page.value(focused) == 4
        published = service.engagements[0]
        assert (published["user_id"], published["item_id"], published["kind"]) == ("u1", list(TITLES)[4], "click")

    looking(look, tmp_path)


def test_stages_say_how_they_stand(tmp_path: Path) -> None:
    async def look(page: Page, service: FakeService) -> None:
        assert "objectives missed" in await page.value("document.getElementById('overall').textContent")
        shown = await page.value("[...document.querySelectorAll('.stage')].map(e => e.innerText.replace(/\\s+/g, ' '))")
        assert len(shown) == 6
        assert "no data" in shown[0]
        assert "80 ms" in shown[1]
        assert "met" in shown[1]
        assert "900 ms" in shown[2]
        assert "missed" in shown[2]
        canary = {"age_s": 3, "overdue_after_s": 21, "missing": 0, "came": 9, "p99_s": 2.5, "verdict": "missed"}
        judged = {"kind": "passage", "events": 5, "p50_s": 0.1, "window_s": 300, "canary": canary}
        assert "its canaries: p99 2.5 s" in await page.value(f"stageSays({json.dumps(judged)})")
        judged["canary"] = {**canary, "age_s": 60}
        assert "no canary for 60 s" in await page.value(f"stageSays({json.dumps(judged)})")
        assert "serving" in await page.until("document.getElementById('lineage').textContent")
        assert "scores on 1480" in await page.value("document.getElementById('lineage').textContent")
        assert "engagements" in await page.value("document.getElementById('flow').textContent")
        assert "level 1" in await page.value("document.getElementById('codebook').textContent")

    looking(look, tmp_path)


def test_an_item_shows_its_trace(tmp_path: Path) -> None:
    async def look(page: Page, service: FakeService) -> None:
        await page.value("document.querySelector('.tell').click()")
        text = await page.until("(t => t.includes('published') && t)(document.querySelector('.more').innerText)")
        assert "not yet" in text
        assert "bread, oven" in text

    looking(look, tmp_path)


def test_titles_are_text(tmp_path: Path) -> None:
    async def look(page: Page, service: FakeService) -> None:
        assert await page.value("document.querySelectorAll('#rows img').length") == 0
        assert await page.value("window.hacked === undefined")

    looking(look, tmp_path, titles={"i1": "<img src=x onerror=window.hacked=1>", "i2": "</script><script>hacked=1"})


def test_it_fits_a_phone_and_can_be_read(tmp_path: Path) -> None:
    async def look(page: Page, service: FakeService) -> None:
        assert await page.value("document.documentElement.scrollWidth") <= 400
        assert await page.value("document.querySelectorAll('input:not([id]), select:not([id])').length") == 0
        assert await page.value(LEAST_CONTRAST) >= 4.5

    looking(look, tmp_path / "light", width=400)
    looking(look, tmp_path / "dark", width=400, dark=True)


def test_a_worker_that_is_not_ready_says_why(tmp_path: Path) -> None:
    async def look(page: Page, service: FakeService) -> None:
        service.is_ready = False
        await page.until("document.getElementById('overall').textContent.includes('recovering')")

    looking(look, tmp_path)


SEEN = """[...document.querySelectorAll('#hour .chart')].map(chart => ({
  title: chart.querySelector('figcaption').textContent,
  now: chart.querySelector('[role=slider]').getAttribute('aria-valuetext'),
  goal: !!chart.querySelector('.goal'), unknown: !!chart.querySelector('.unknown'),
}))"""


def test_the_hour_is_drawn_with_its_objectives_and_what_is_not_known(tmp_path: Path) -> None:
    async def look(page: Page, service: FakeService) -> None:
        charts = {chart["title"]: chart for chart in await page.until(f"(c => c.length && c)({SEEN})")}
        assert charts["Events behind"]["now"] == "now: 12"
        assert charts["Found before learned"]["now"] == "not known in this time"
        assert charts["Found before learned"]["unknown"]
        assert charts["Requests"]["now"].startswith("now: all ")
        all_found = "[{ name: 'hits/', label: 'hits', values: [1] }]"
        await page.value(f"hourCharts.get('Found before learned').update([Date.now() / 1000], {all_found})")
        assert "100" in await page.value("hourCharts.get('Found before learned').scale.textContent")
        await page.value("document.querySelector('#hour [aria-label^=Events]').focus()")
        for kind in ("keyDown", "keyUp"):
            await page.call("Input.dispatchKeyEvent", type=kind, key="Home", code="Home", windowsVirtualKeyCode=36)
        assert "ago: 12" in await page.value("document.activeElement.getAttribute('aria-valuetext')")

    looking(look, tmp_path)


@pytest.mark.long
def test_a_worker_that_goes_away_is_told_and_followed_again(tmp_path: Path) -> None:
    async def main() -> None:
        metrics = Metrics()
        server = WebServer(FakeService(metrics), metrics, Serving(port=0))
        await server.start()
        async with browsing(server.url, tmp_path) as page:
            await page.until("hour.at.length && shownStatus")
            port = int(server.url.rpartition(":")[2])
            process = await page.value("hour.process")
            await server.stop()
            await page.until("document.getElementById('overall').textContent.includes('no connection')")
            assert await page.value("document.body.className") == "stale"
            assert await page.value("document.querySelectorAll('.badge.met, .stage.met').length") == 0, (
                "as it was, not is"
            )
            again = WebServer(FakeService(metrics), metrics, Serving(port=port))
            await again.start()
            await page.until("!document.body.classList.contains('stale')")
            assert await page.value("hour.process") != process
            assert await page.value("hour.at.length") >= 2, "what this tab saw of the one before is kept"
            await again.stop()

    asyncio.run(main())
