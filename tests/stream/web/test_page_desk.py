"""The page of a person on call in a real browser: levers are asked twice, what is not known is drawn so.

One browser serves several checks: each begins from a page that is opened anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from store.requests import DeskError
from store.settings import Serving, Tokens
from stream.metrics.metrics import Metrics
from stream.web.console.desk_routes import desk_routes
from stream.web.server import WebServer
from tests.stream.web.browser import Page, browsing
from tests.stream.web.fake_desk import FakeDesk
from tests.stream.web.fake_service import FakeService

Look = Callable[[Page, FakeDesk], Awaitable[None]]
TEXT = "document.getElementById('{}').innerText"
REFUSED = "20261128T030000-0003"


def looking(folder: Path, *looks: Look, serving: Serving = Serving(port=0), empty: bool = False) -> None:
    async def main() -> None:
        metrics = Metrics()
        desk = FakeDesk(empty=empty)
        server = WebServer(FakeService(metrics, {} if empty else {"i1": "Bread"}), metrics, serving, desk_routes(desk))
        await server.start()
        try:
            async with browsing(server.url, folder) as page:
                for look in looks:
                    await page.until("typeof lookAtLetters === 'function' && document.readyState === 'complete'")
                    await look(page, desk)
                    assert [fault for fault in page.faults if "40" not in fault and "503" not in fault] == []
                    assert await page.value("window.hacked === undefined"), "a title was run"
                    await page.call("Page.navigate", url=server.url)
        finally:
            await server.stop()

    asyncio.run(main())


async def typed(page: Page, name: str, text: str) -> None:
    await page.value(f"document.getElementById('{name}').value = {text!r}")


async def open_lever(page: Page, checkpoint: str, text: str) -> None:
    row = f"document.querySelector('#lineage [data-id=\"{checkpoint}\"]')"
    await page.until(f"!!{row}")
    await page.value(f"{row}.querySelector('.title').click()")
    lever = f"[...{row}.querySelectorAll('.acts button')].find(each => each.textContent.startsWith('{text}'))"
    await page.until(f"!!{lever}")
    await page.value(f"{lever}.click()")
    assert await page.value("document.getElementById('second').open")


async def promote(page: Page, desk: FakeDesk) -> None:
    await open_lever(page, REFUSED, "Promote")
    asked = await page.value(TEXT.format("second-text"))
    assert "The gate refused it" in asked
    assert "instead of 20261128T040000-0004" in asked
    await page.value("document.getElementById('second-go').click()")
    assert "type it as it stands" in await page.until(TEXT.format("second-told"))
    assert desk.pulled == []
    await typed(page, "second-typed", REFUSED)
    await page.value("document.getElementById('second-go').click()")
    assert "serves" in await page.until(f"(t => t.includes('serves,') && t)({TEXT.format('lineage-said')})")
    assert desk.pulled == [("promote", REFUSED)]
    row = await page.value(f"document.querySelector('#lineage .serving').dataset.id")  # noqa: F541
    assert row == REFUSED


async def conflict(page: Page, desk: FakeDesk) -> None:
    await open_lever(page, "20261128T010000-0001", "Return")
    desk.serving = "20261128T060000-0006"  # somebody else was quicker
    await typed(page, "second-typed", "20261128T010000-0001")
    await page.value("document.getElementById('second-go').click()")
    assert "look again" in await page.until(TEXT.format("second-told"))
    assert len(desk.pulled) == 1


async def gate_tables(page: Page, desk: FakeDesk) -> None:
    row = "document.querySelector('#lineage [data-id=\"20261128T060000-0006\"]')"
    await page.until(f"!!{row}")
    await page.value(f"{row}.querySelector('.title').click()")
    text = await page.until(f"(t => t.includes('held-out') && t.includes('nats') && t)({row}.innerText)")
    assert "0.212 · 0.118" in text
    assert "better without it" in text
    runs = await page.value(TEXT.format("runs"))
    assert "in progress: trained" in runs
    assert "asked for, not taken up" in runs


def test_levers_letters_owners_and_topics(tmp_path: Path) -> None:
    looking(tmp_path, gate_tables, promote, conflict, letters, owners, topics)


async def with_token(page: Page, desk: FakeDesk) -> None:
    await page.until("document.getElementById('token-asked').open")
    await typed(page, "token", "r")
    await page.value("document.querySelector('#token-asked button').click()")
    await open_lever(page, REFUSED, "Promote")
    await typed(page, "second-typed", REFUSED)
    await page.value("document.getElementById('second-go').click()")
    assert "Not allowed" in await page.until(TEXT.format("second-told"))
    assert desk.pulled == []
    await typed(page, "act-token", "o")
    await page.value("document.getElementById('second-go').click()")
    await page.until(f"{TEXT.format('lineage-said')}.includes('serves,')")
    assert desk.pulled == [("promote", REFUSED)]
    assert await page.value("JSON.stringify(sessionStorage)") == '{"token":"r"}', "the operator's is kept nowhere"


def test_a_lever_needs_the_operators_token(tmp_path: Path) -> None:
    looking(tmp_path, with_token, serving=Serving(port=0, tokens=Tokens(read="r", write="w", operate="o")))


async def letters(page: Page, desk: FakeDesk) -> None:
    assert desk.replayed == []
    await page.value("document.getElementById('letters-look').click()")
    await page.until("document.querySelectorAll('#letters li').length === 6")
    boxes = "[...document.querySelectorAll('#letters input')]"
    assert await page.value(f"{boxes}.map(box => box.disabled)") == [False] * 4 + [True] * 2
    text = await page.value(TEXT.format("letters"))
    assert "not of an event topic" in text
    assert "when is not known" in text
    await page.value(f"{boxes}[1].click()")
    await page.value("document.getElementById('letters-replay').click()")
    assert "sidestream.engagements" in await page.value(TEXT.format("second-text"))
    await page.value("document.getElementById('second-go').click()")
    assert "1 published again" in await page.until(
        f"(t => t.includes('published') && t)({TEXT.format('letters-said')})"
    )
    assert desk.replayed == [(0, 1)]


async def owners(page: Page, desk: FakeDesk) -> None:
    await page.until("document.querySelectorAll('#workers li').length === 3")
    text = await page.value(TEXT.format("owners"))
    assert "does not answer" in text
    assert "not known" in text, "the lag of a partition that nobody measured"
    assert "■ 47 s" in await page.value(TEXT.format("canaries"))


async def topics(page: Page, desk: FakeDesk) -> None:
    await page.until("document.querySelectorAll('#map button').length === 14")
    await page.value("document.querySelector('#map button').focus()")
    for code in ("0", "0.0", "0.0.0"):
        await page.value("document.activeElement.click()")
        await page.until(f"document.querySelector('#crumbs [aria-current]').textContent === '{code}'")
    assert "Sourdough, part 3" in await page.value(TEXT.format("members"))
    for kind in ("keyDown", "keyUp"):
        await page.call("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape", windowsVirtualKeyCode=27)
    await page.until("document.querySelector('#crumbs [aria-current]').textContent === '0.0'")
    assert await page.value("document.activeElement.closest('#map') !== null"), "the focus went up with it"


async def nothing_yet(page: Page, desk: FakeDesk) -> None:
    assert "No model yet" in await page.until(TEXT.format("lineage"))
    assert "No training run" in await page.value(TEXT.format("runs"))
    assert "Nothing is live yet" in await page.until(TEXT.format("members"))
    assert "nobody has announced itself" in await page.until(f"{TEXT.format('partitions')}")
    assert "No canaries" in await page.value(TEXT.format("canaries"))
    await page.value("document.getElementById('letters-look').click()")
    await page.until(f"{TEXT.format('letters-said')}.includes('Nothing was refused')")


async def broken(page: Page, desk: FakeDesk) -> None:
    await page.until("document.querySelectorAll('#workers li').length")
    desk.fault = DeskError("no Kafka broker answers")
    await page.value("lookAtOwners(); lookAtTopics([]); lookAtCheckpoints(); lookAtLetters()")
    for name in ("owners-said", "topics-said", "letters-said", "lineage-fault"):
        assert "no Kafka broker answers" in await page.until(f"(t => t.includes('broker') && t)({TEXT.format(name)})")
    assert await page.value("document.getElementById('owners').className") == "wide split unknown-now"
    desk.fault = None


def test_what_is_empty_or_broken_is_drawn_so(tmp_path: Path) -> None:
    looking(tmp_path, nothing_yet, broken, empty=True)
