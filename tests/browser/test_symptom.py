"""The symptom that this system must not have: a slow provider, a tab that comes and goes, and a text that comes twice.

The client is fetch-event-source itself, unchanged, in a real browser. It posts again whenever its tab comes back to the
front, and a second after its connection broke.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.tabs import Tab
from tests.cable import Cable
from tests.curl import Curl, stored
from tests.lightspeed import names, start, text
from tests.provider import ProviderProcess
from tests.server import KINDS, Kind, NewSite, ServerProcess, Site
from tests.sse import Reader
from tests.template import Template, site_on

NewTab: TypeAlias = Callable[[Cable], Tab]
NewWindow: TypeAlias = Callable[[], BrowserContext]
HEARTBEAT = b": heartbeat\n"
TOKEN = b'{"event":"token"'
CLOCK = {"tool": {"index": 0, "id": "call_1", "name": "current_time", "arguments": '{"time_zone": "Asia/Tokyo"}'}}
PLAIN = ["start", "token", "turn_complete", "end"]
WITH_A_TOOL = ["start", "token", "tool_call", "tool_result", "token", "turn_complete", "end"]
KEYS = [None, "key-of-the-front-end"]
PLACES = {
    "behind the start": rb'"event":"start".*?\n\n',
    "between a tool and its result": rb'"event":"tool_call".*?\n\n',
    "inside a token": rb"w0012",
    "between a token and its id": rb"w0012[^\n]*\n",
    "inside an id": rb"w0012[^\n]*\nid: [^\n]{40}",
    "between two tokens": rb"w0012[^\n]*\nid: [^\n]*\n\n",
    "behind the whole text": rb'"event":"turn_complete".*?\n\n',
    "behind the end": rb'"event":"end".*?\n\n',
}
"""Where an answer may be cut. It must not be between an id and the empty line behind it: fetch-event-source has
taken the id by then, and throws the event away."""


def words(first: int, last: int, *, rate: int = 100) -> dict[str, Any]:
    return {"words": last - first + 1, "start": first, "rate": rate}


@pytest.fixture(scope="module")
def new_site(
    provider_process: ProviderProcess, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> NewSite:
    """Makes sites where every visitor is a guest, and one user has an API key."""
    folder = tmp_path_factory.mktemp("guests")
    numbers = count()

    def new_site() -> tuple[Site, str]:
        file = folder / f"site-{next(numbers)}.sqlite3"
        return site_on(template, file, provider_url=provider_process.base_url, env={"DEBUG": "1"}), template.key

    return new_site


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, new_site: NewSite) -> Iterator[ServerProcess]:
    """One of each, whose heart beats fast."""
    site, _ = new_site()
    with site.start(request.param, chat={"HEARTBEAT": 0.5}) as process:
        yield process


@pytest.fixture
def cable(server: ServerProcess) -> Iterator[Cable]:
    with Cable(server.port) as cable:
        yield cable


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[NewTab]:
    """Opens tabs that are always in front, each of a guest of its own."""
    with ExitStack() as stack:

        def new_tab(cable: Cable) -> Tab:
            context = browser.new_context()
            stack.callback(context.close)
            return Tab(context, cable=cable)

        yield new_tab


class Scene:
    """A server, and three who ask it: a tab, a front end that sends a key, and curl."""

    def __init__(self, server: ServerProcess, *, tab: Tab, keyed: Tab, cable: Cable, api_key: str) -> None:
        self.server = server
        self.tab = tab
        self.keyed = keyed
        self.cable = cable
        self._api_key = api_key

    def ask(self) -> Curl:
        """All three at once; curl is theirs who call."""
        self.tab.ask("Go on.")
        self.keyed.ask("Go on.", key="of-the-front-end")
        return Curl(self.cable.url, "-H", "Idempotency-Key: of-the-script", key=self._api_key, query="Go on.")

    def assert_curl_has_it_once(self, curl: Curl) -> None:
        """What curl has got is what is stored."""
        code, output = curl.finish()
        reader = Reader().feed(output)
        assert code == 0
        assert text(reader) == stored(self.server.url, start(reader)["conversation_id"], key=self._api_key)
        assert names(reader) == PLAIN


NewScene: TypeAlias = Callable[[Kind], Scene]


@pytest.fixture
def new_scene(new_site: NewSite, new_window: NewWindow, new_tab: NewTab) -> Iterator[NewScene]:
    """Starts a server, and opens the tabs."""
    with ExitStack() as stack:

        def new_scene(kind: Kind) -> Scene:
            site, api_key = new_site()
            server = stack.enter_context(site.start(kind))
            for_tab, for_keyed, for_curl = (stack.enter_context(Cable(server.port)) for _ in range(3))
            tab, keyed = Tab(new_window(), cable=for_tab), new_tab(for_keyed)
            return Scene(server, tab=tab, keyed=keyed, cable=for_curl, api_key=api_key)

        yield new_scene


def merged(events: list[str]) -> list[str]:
    """Neighbouring tokens as one."""
    return [name for at, name in enumerate(events) if name != "token" or events[at - 1] != "token"]


def assert_once(tab: Tab, *, posts: int, order: list[str] = PLAIN) -> None:
    """However often it was posted, the page shows what is stored, and that is there once."""
    text, seen, log = tab.finish(), tab.seen, tab.log()
    assert text == "".join(event["data"]["text"] for event in log if event["kind"] == "assistant_message")
    assert [event["kind"] for event in log].count("user_message") == 1
    assert (log[-1]["kind"], log[-1]["data"]["status"]) == ("turn_ended", "completed")
    assert merged(seen["events"]) == order
    assert seen["unreadable"] == []
    assert tab.posts == posts


def assert_quiet(server: ServerProcess) -> None:
    assert not [line for line in server.lines if "took too long" in line or "Traceback" in line]


@pytest.mark.parametrize("key", KEYS)
def test_a_tab_that_is_hidden_and_comes_back_goes_on_where_it_was(
    new_window: NewWindow,
    cable: Cable,
    server: ServerProcess,
    provider: ProviderProcess,
    key: str | None,
) -> None:
    provider.script([{"gate": "one"}, words(1, 20), {"gate": "two"}, words(21, 40), {"gate": "three"}, words(41, 60)])
    tab = Tab(new_window(), cable=cable)

    tab.ask("Go on.", key=key)
    cable.wait_for(HEARTBEAT, count=2)
    tab.hide()
    tab.show()
    provider.open_gate("one")
    tab.reads("w0020")
    tab.hide()
    provider.open_gate("two")
    tab.show()
    tab.reads("w0040")
    tab.hide()
    provider.open_gate("three")
    provider.requests(1, ended=True)
    tab.show()

    assert_once(tab, posts=4)
    assert len(provider.log()) == 1
    assert_quiet(server)


@pytest.mark.parametrize("key", KEYS)
def test_a_connection_that_breaks_anywhere_in_the_answer_leaves_no_trace_in_it(
    new_tab: NewTab, server: ServerProcess, provider: ProviderProcess, key: str | None
) -> None:
    provider.script([[{"text": "Let me see. "}, CLOCK], [words(1, 20), {"pause": 2}, words(21, 40)]])
    with ExitStack() as stack:
        tabs = [new_tab(stack.enter_context(Cable(server.port))) for _ in PLACES]

        for tab, place in zip(tabs, PLACES.values(), strict=True):
            tab.cable.cut_behind(place)
            tab.ask("Go on.", key=key)

        for tab in tabs:
            assert_once(tab, posts=2, order=WITH_A_TOOL)
    assert len(provider.log()) == 2 * len(PLACES)
    assert_quiet(server)


@pytest.mark.parametrize("key", KEYS)
def test_a_connection_that_breaks_before_the_answer_has_begun_makes_no_second_turn(
    new_tab: NewTab, cable: Cable, provider: ProviderProcess, key: str | None
) -> None:
    provider.script([{"gate": "speak"}, words(1, 20)])
    tab = new_tab(cable)

    cable.hold()
    tab.ask("Go on.", key=key)
    provider.requests(1)
    cable.cut(reset=False)
    cable.let_go()
    cable.wait_for(b'"event":"start"')
    provider.open_gate("speak")

    assert_once(tab, posts=2)
    assert b"last-event-id" not in cable.requests.lower()
    assert len(provider.log()) == 1


def test_after_40_seconds_of_silence_and_whatever_breaks_each_text_is_there_once(
    new_scene: NewScene, provider: ProviderProcess
) -> None:
    """The heart beats every 15 seconds here, as it does everywhere; daphne kills what outlives its connection by 10."""
    slow = [words(1, 20, rate=10), {"gate": "more"}, words(21, 40, rate=10), {"gate": "last"}, words(41, 60, rate=10)]
    provider.script([{"silence": 40}, *slow])
    scenes = [new_scene(kind) for kind in KINDS]
    with ExitStack() as stack:
        curls = [stack.enter_context(scene.ask()) for scene in scenes]

        sit_through_silence(scenes)
        read_slow_words(scenes, provider=provider)

        for scene, curl in zip(scenes, curls, strict=True):
            assert_once(scene.tab, posts=5)
            assert_once(scene.keyed, posts=3)
            scene.assert_curl_has_it_once(curl)
            assert_quiet(scene.server)
    assert len(provider.log()) == 3 * len(scenes)


def sit_through_silence(scenes: list[Scene]) -> None:
    """The tab is hidden for the first 15 seconds, and loses its connection after 30; the other after 15."""
    for scene in scenes:
        scene.tab.hide()
    for scene in scenes:
        scene.cable.wait_for(HEARTBEAT)
    for scene in scenes:
        scene.tab.show()
        scene.keyed.cable.cut(reset=False)
    for scene in scenes:
        scene.tab.cable.wait_for(HEARTBEAT)
        scene.tab.cable.cut()
        assert TOKEN not in scene.cable.answers


def read_slow_words(scenes: list[Scene], *, provider: ProviderProcess) -> None:
    """Both lose their connections in mid-text, and the tab is hidden once more."""
    for scene in scenes:
        for tab in (scene.tab, scene.keyed):
            tab.reads("w0020")
            tab.cable.cut()
    provider.open_gate("more")
    for scene in scenes:
        scene.tab.reads("w0040")
        scene.tab.hide()
    provider.open_gate("last")
    for scene in scenes:
        scene.cable.wait_for(b"w0050")
        scene.tab.show()
