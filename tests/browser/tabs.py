"""Tabs with a chat window of lightspeed's kind, and a browser that really hides a tab when another is in front."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Playwright, Route, expect

from tests.cable import Cable

FRONT_END = Path(__file__).parent / "front_end"
TYPES = {".html": "text/html", ".js": "text/javascript"}


@contextmanager
def window(playwright: Playwright, *, command: list[str], profile: Path) -> Iterator[BrowserContext]:
    """A browser as a person has it. Those that Playwright launches make every tab believe that it is in front."""
    options = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen([*command, *options, "about:blank"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process, process.stderr as log:
        address = next(found[0] for line in log if (found := re.search(r"ws://\S+", line)))
        drain = threading.Thread(target=log.read, daemon=True)
        drain.start()
        browser = playwright.chromium.connect_over_cdp(address, no_defaults=True)
        try:
            yield browser.contexts[0]
        finally:
            browser.close()
            process.terminate()
            drain.join()


class Tab:
    """A guest of the site, who talks to it through a cable."""

    def __init__(self, context: BrowserContext, *, cable: Cable) -> None:
        """Sign in as the site's own page does; then the chat window, from the same origin."""
        self.cable = cable
        self.page = context.new_page()
        context.request.get(cable.url).dispose()
        address = f"{cable.url}/front-end/"
        context.route(f"{address}**", _from_folder)
        self.page.goto(address + "index.html")
        self.page.wait_for_function("window.ask !== undefined")
        context.unroute_all()  # what follows is between the browser and the server

    def ask(self, query: str, *, key: str | None = None) -> None:
        """Post it; with a key if the front end has one."""
        headers = {} if key is None else {"Idempotency-Key": key}
        self.page.evaluate("([body, headers]) => ask(body, headers)", [{"query": query}, headers])

    def reads(self, words: str) -> None:
        """Wait until the page shows these words."""
        expect(self.page.locator("#answer")).to_contain_text(words, timeout=60_000)

    def hide(self) -> None:
        """Another tab comes to the front."""
        self.page.context.new_page()
        self._is_hidden("true")

    def show(self) -> None:
        """Back to this one."""
        self.page.bring_to_front()
        self._is_hidden("false")

    def finish(self) -> str:
        """Wait for the end; the text that the page shows then."""
        expect(self.page.locator("#state")).to_have_text("done", timeout=60_000)
        return self.page.locator("#answer").text_content() or ""

    @property
    def seen(self) -> Any:
        """What the front end noted."""
        return self.page.evaluate("chat")

    @property
    def posts(self) -> int:
        """How often the library has posted."""
        return self.cable.requests.count(b"POST /api/v1/ai/streaming_chat/ ")

    def log(self) -> list[dict[str, Any]]:
        """The conversation's events: a fresh read."""
        address = f"/api/v1/conversations/{self.seen['conversation']}/events/?limit=500"
        page = self.page.evaluate("async (address) => (await fetch(address)).json()", address)
        return list(page["events"])

    def _is_hidden(self, hidden: str) -> None:
        self.page.wait_for_function(f"document.hidden === {hidden}", polling=50)


def _from_folder(route: Route) -> None:
    """The files of the front end; modules are imported without their suffix."""
    path = FRONT_END / route.request.url.partition("/front-end/")[2]
    file = path if path.suffix else path.with_suffix(".js")
    route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])
