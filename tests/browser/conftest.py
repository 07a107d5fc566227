"""A real Chromium for the tests in this folder. Without one they are not collected, unless CI_BROWSER=1 demands it; nor
without curl those that compare with it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.browser.tabs import window
from tests.curl import CURL
from tests.provider import ProviderProcess
from tests.server import ServerProcess
from tests.template import Template, site_on

STATIC = Path(__file__).resolve().parents[2] / "chat" / "static"
CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

if os.environ.get("CI_BROWSER") != "1":
    collect_ignore_glob = ["test_*.py"] if CHROMIUM is None else []
    collect_ignore = ["test_symptom.py"] if CURL is None else []

BLANK = b'<!doctype html><html lang="en"><title>Blank</title><body></body></html>'


class StaticFiles(SimpleHTTPRequestHandler):
    """The files under chat/static/ as they are, and an empty page at the root, without any policy of its own."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".js": "text/javascript"}

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(BLANK)))
        self.end_headers()
        self.wfile.write(BLANK)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="session")
def static_site() -> Iterator[str]:
    """The address of a small server of the page's modules."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(StaticFiles, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives browsers. It keeps a loop running in the main thread, which no other file's tests could bear."""
    assert CHROMIUM is not None, "CI_BROWSER=1 and there is no chromium"
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def new_window(playwright: Playwright, tmp_path: Path) -> Iterator[Callable[[], BrowserContext]]:
    """Opens a browser as a person has it, whose tabs are hidden while another is in front."""
    numbers = count()
    with ExitStack() as stack:

        def new_window() -> BrowserContext:
            profile = tmp_path / f"profile-{next(numbers)}"
            return stack.enter_context(window(playwright, command=[str(CHROMIUM), *ARGUMENTS], profile=profile))

        yield new_window


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def page(context: BrowserContext, static_site: str) -> Page:
    """An empty page that may import the modules, once per file: the tests here leave nothing behind in it."""
    page = context.new_page()
    page.goto(static_site)
    return page


@pytest.fixture(scope="session")
def server(
    provider_process: ProviderProcess, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server where every visitor is a guest of their own."""
    file = tmp_path_factory.mktemp("pages") / "site.sqlite3"
    site = site_on(template, file, provider_url=provider_process.base_url, env={"DEBUG": "1"})
    with site.start("daphne") as process:
        yield process


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """Somebody who was never here before."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def chat(visitor: BrowserContext, server: ServerProcess, provider: ProviderProcess) -> Iterator[Page]:
    """The visitor's first page. Whatever a test does in it, it must not complain nor ask anybody else for anything."""
    complaints: list[str] = []

    def note(bad: bool, what: str) -> None:
        if bad:
            complaints.append(what)

    visitor.on("console", lambda message: note(message.type == "error", message.text))
    visitor.on("weberror", lambda error: note(True, str(error.error)))
    visitor.on("request", lambda request: note(not request.url.startswith(server.url), request.url))
    page = visitor.new_page()
    page.goto(server.url)
    yield page
    assert complaints == []
