"""A browser's own `EventSource` on the native streams: it comes back from where it was, and knows the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from playwright.sync_api import BrowserContext, Page

from streaming.frames import ServerFrame
from tests.browser.test_chat_page import ask
from tests.cable import Cable
from tests.fold import TELLS, Folded
from tests.provider import ProviderProcess
from tests.server import ServerProcess

WORDS = 30
LISTEN = """address => {
    window.seen = { frames: [], opened: 0, source: new EventSource(address) };
    seen.source.onopen = () => seen.opened++;
    for (const type of ["event", "delta", "reset", "caught_up", "heartbeat", "error"])
        seen.source.addEventListener(type, (event) => event.data && seen.frames.push([event.lastEventId, event.data]));
}"""
SAYS = "words => seen.frames.some(([, data]) => data.includes(words))"
EVENTS = "async (id) => (await (await fetch(`/api/v1/conversations/${id}/events/`)).json()).events"


@pytest.fixture
def cable(server: ServerProcess) -> Iterator[Cable]:
    with Cable(server.port) as cable:
        yield cable


@pytest.fixture
def page(visitor: BrowserContext, cable: Cable) -> Page:
    """A guest's page, whose origin is this end of the cable."""
    page = visitor.new_page()
    page.goto(cable.url)
    return page


def fold(page: Page) -> Folded:
    """What a client makes of what the browser told it, which checks that nothing came twice or is missing."""
    folded = Folded()
    for position, data in page.evaluate("seen.frames"):
        frame: Any = msgspec.json.decode(data, type=ServerFrame)
        folded.add(frame)
        assert position == folded.cursor
    return folded


def test_it_comes_back_from_where_the_line_broke_and_does_not_after_the_end(
    page: Page, cable: Cable, provider: ProviderProcess
) -> None:
    """R6."""
    third = WORDS // 3
    thirds = [{"words": third, "start": at * third + 1, "rate": 200} for at in range(3)]
    provider.script([thirds[0], {"gate": "second"}, thirds[1], {"gate": "third"}, thirds[2], {"gate": "end"}])
    ask(page, "Go on.")
    page.wait_for_url("**/c/*/")
    conversation = page.url.rstrip("/").rpartition("/")[2]

    page.evaluate(LISTEN, f"/api/v1/conversations/{conversation}/stream/")
    for opened, gate, last in ((1, "second", "w0010"), (2, "third", "w0020"), (3, "end", "w0030")):
        page.wait_for_function(SAYS, arg=last)
        cable.cut()
        provider.open_gate(gate)
        page.wait_for_function("opened => seen.opened > opened", arg=opened)
    page.wait_for_function(SAYS, arg='"turn_ended"')
    whole = fold(page)
    page.evaluate("seen.source.close()")

    turn = whole.events[1]["turn"]
    page.evaluate(LISTEN, f"/api/v1/turns/{turn}/stream/")
    page.wait_for_function("() => seen.source.readyState === EventSource.CLOSED")
    of_turn = fold(page)

    told = [
        {name: event[name] for name in ("kind", "turn", "data")}
        for event in page.evaluate(EVENTS, conversation)
        if event["kind"] not in TELLS
    ]
    assert list(whole.events.values()) == list(of_turn.events.values()) == told
    assert told[1]["data"]["text"] == "".join(f"w{number:04} " for number in range(1, WORDS + 1))
    assert (whole.resets, of_turn.resets) == (0, 0)
    assert page.evaluate("seen.opened") == 1, "204 is not an opening"
    positions = [
        line.split(b": ")[1] for line in cable.requests.split(b"\r\n") if line.lower().startswith(b"last-event")
    ]
    assert positions == [b"1.60", b"1.120", b"1.180", b"5.0"]
    assert len(provider.log()) == 1
