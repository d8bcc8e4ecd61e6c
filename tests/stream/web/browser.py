"""A headless Chromium spoken to by its DevTools protocol: open a page, evaluate, see what went wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)


class Page:
    """One page; `faults` holds exceptions, and what the browser refused or could not load."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self.faults: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        call = self._calls
        await self._socket.send_json({"id": call, "method": method, "params": parameters})
        while True:
            said = await self._socket.receive_json(timeout=30)
            if said.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.faults.append(json.dumps(said["params"])[:500])
            if said.get("id") == call:
                return said["result"]

    async def value(self, expression: str) -> Any:
        """What the expression gives, once it is no promise."""
        said = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return said["result"].get("value")

    async def until(self, expression: str, within_s: float = 15.0) -> Any:
        """The value of the expression as soon as it is truthy."""
        end = time.monotonic() + within_s
        while not (value := await self.value(expression)):
            assert time.monotonic() < end, f"never true: {expression}; {self.faults}"
            await asyncio.sleep(0.05)
        return value


@asynccontextmanager
async def browsing(url: str, folder: Path, *, width: int = 1280, dark: bool = False) -> AsyncIterator[Page]:
    """The page at `url`; skips the test where there is no Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    started = subprocess.Popen(
        [found, *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(await _address(session, folder), max_msg_size=0)
            page = Page(socket)
            for domain in ("Page", "Runtime", "Log"):
                await page.call(f"{domain}.enable")
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            await page.call("Emulation.setEmulatedMedia", features=[scheme])
            await page.call("Page.navigate", url=url)
            yield page
            await socket.close()
    finally:
        started.terminate()
        started.wait(20)


async def _address(session: aiohttp.ClientSession, folder: Path) -> str:
    """The DevTools address of the first page, once the browser has written its port down."""
    for _ in range(300):
        try:
            port = (folder / "DevToolsActivePort").read_text().splitlines()[0]
            async with session.get(f"http://127.0.0.1:{port}/json") as response:
                targets = await response.json()
            return next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        except (OSError, IndexError, StopIteration, aiohttp.ClientError):
            await asyncio.sleep(0.1)
    raise AssertionError("chromium did not start within 30 s")
