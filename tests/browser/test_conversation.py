"""The line to the server: it resumes where it broke, sends nothing twice, and knows when to give up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocketRoute

Frame = dict[str, Any]
ID = "3f2c1c1e-0000-4000-8000-000000000001"
NO_ID = "00000000-0000-0000-0000-000000000000"
CONFIG = {
    "urls": {
        "home": "/",
        "conversation": f"/c/{NO_ID}/",
        "login": "/login/",
        "api": "/api/v1/",
        "socket": f"/ws/conversations/{NO_ID}/",
    },
    "user": {"name": "ada", "is_guest": False, "is_staff": False},
    "conversation": None,
}
JOIN = """async ([config, id]) => {
    const script = Object.assign(document.createElement("script"), { id: "verbatim-config", type: "application/json" });
    script.textContent = JSON.stringify(config);
    document.head.append(script);
    const { Conversation } = await import("/verbatim/conversation.js");
    window.states = [];
    window.refusals = [];
    window.conversation = new Conversation(id, {
        changed() {},
        refused: ({ code, pending }) => window.refusals.push([code, pending?.text ?? null]),
        line: (state) => window.states.push(state),
    });
}"""


class Server:
    """The other end of the socket, in the hands of the test."""

    def __init__(self) -> None:
        self.lines: list[WebSocketRoute] = []
        self.heard: list[Frame] = []

    def open(self, line: WebSocketRoute) -> None:
        self.lines.append(line)
        line.on_message(lambda message: self.heard.append(json.loads(message)))

    def tell(self, **frame: Any) -> None:
        self.lines[-1].send(json.dumps(frame))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def page(context: BrowserContext, static_site: str, server: Server) -> Iterator[Page]:
    """A page with its own clock that follows one conversation."""
    page = context.new_page()
    page.route_web_socket("**/ws/**", server.open)
    page.route("**/api/v1/**", lambda route: route.fulfill(status=200, json={}))
    page.clock.install()
    page.goto(static_site)
    page.evaluate(JOIN, [CONFIG, ID])
    wait(page, "states.at(-1).phase === 'open'")
    yield page
    page.close()


def wait(page: Page, condition: str) -> None:
    """Until it holds in the page; polled, since the page's own clock may stand still."""
    page.wait_for_function(condition, polling=20)


def cut(page: Page, server: Server, code: int = 1012) -> None:
    """Close the line from the server's side and wait until the page is back on a new one."""
    before = len(server.lines)
    server.lines[-1].close(code=code)
    wait(page, "states.at(-1).phase === 'waiting'")
    page.clock.run_for(1100)
    wait(page, "states.at(-1).phase === 'open'")
    assert len(server.lines) == before + 1


def question(request_id: str = "r") -> Frame:
    data = {"text": "hi", "request_id": request_id}
    return {"type": "event", "seq": 1, "cursor": "1.0", "kind": "user_message", "turn": "t", "at": "", "data": data}


def test_the_first_connection_asks_for_everything(page: Page, server: Server) -> None:
    assert server.lines[0].url.endswith(f"/ws/conversations/{ID}/")


def test_a_reconnection_resumes_after_the_last_frame(page: Page, server: Server) -> None:
    server.tell(**question())
    server.tell(type="delta", cursor="1.3", turn="t", attempt=1, hop=0, offset=0, channel="text", text="abc")
    wait(page, "conversation.log.cursor === '1.3'")

    cut(page, server)

    assert server.lines[-1].url.endswith("?after=1.3")


def test_a_message_that_was_not_accepted_is_sent_again_with_the_same_request_id(page: Page, server: Server) -> None:
    page.evaluate("conversation.send({ text: 'hello', model: 'demo' }) && null")

    cut(page, server)

    first, second = server.heard
    assert first == second
    assert (first["type"], first["text"], first["model"]) == ("send", "hello", "demo")


def test_a_message_that_was_accepted_is_not_sent_again(page: Page, server: Server) -> None:
    request_id = page.evaluate("conversation.send({ text: 'hello' }).requestId")
    server.tell(type="accepted", request_id=request_id, turn="t", cursor="1.0")
    wait(page, "[...conversation.pending.values()][0].stored")

    cut(page, server)

    assert len(server.heard) == 1


def test_a_message_stays_on_the_page_until_its_event_is_there(page: Page, server: Server) -> None:
    request_id = page.evaluate("conversation.send({ text: 'hello' }).requestId")
    server.tell(type="accepted", request_id=request_id, turn="t", cursor="1.0")
    wait(page, "[...conversation.pending.values()][0].stored")
    assert page.evaluate("[conversation.pending.size, conversation.log.events.length]") == [1, 0]

    server.tell(**question(request_id))

    wait(page, "conversation.log.events.length === 1")
    assert page.evaluate("conversation.pending.size") == 0


def test_a_refused_message_is_handed_back(page: Page, server: Server) -> None:
    request_id = page.evaluate("conversation.send({ text: 'hello' }).requestId")

    server.tell(type="error", code="busy", message="Later.", request_id=request_id)

    wait(page, "refusals.length === 1 && conversation.pending.size === 0")
    assert page.evaluate("refusals") == [["busy", "hello"]]


@pytest.mark.parametrize("code", [4401, 4403, 4404])
def test_some_closes_are_final(page: Page, server: Server, code: int) -> None:
    server.lines[-1].close(code=code)

    wait(page, f"states.at(-1).phase === 'closed' && states.at(-1).code === {code}")
    page.clock.run_for(120_000)
    assert len(server.lines) == 1


def test_a_cursor_that_makes_no_sense_is_given_up_for_the_whole(page: Page, server: Server) -> None:
    server.tell(**question())
    wait(page, "conversation.log.events.length === 1")

    cut(page, server, code=4400)

    assert server.lines[-1].url.endswith(f"/ws/conversations/{ID}/")
    assert page.evaluate("conversation.log.events.length") == 0


def test_a_line_that_is_silent_is_pinged_and_then_left(page: Page, server: Server) -> None:
    page.clock.run_for(40_100)
    page.clock.run_for(10_100)

    wait(page, "states.some(({ phase }) => phase === 'waiting')")
    assert {"type": "ping"} in server.heard


def test_a_line_that_answers_is_kept(page: Page, server: Server) -> None:
    page.clock.run_for(40_100)
    server.tell(type="pong")
    server.tell(type="caught_up", cursor="0.0")
    wait(page, "conversation.log.caughtUp")

    page.clock.run_for(30_000)

    assert page.evaluate("states.at(-1).phase") == "open"


def test_waits_grow_from_half_a_second_to_half_a_minute_and_differ(page: Page) -> None:
    waits = page.evaluate("""async () => {
        const { backOff } = await import("/verbatim/socket.js");
        return [1, 2, 3, 7, 50].map((tries) => [backOff(tries, () => 0), backOff(tries, () => 1)]);
    }""")

    assert waits == [[250, 500], [500, 1000], [1000, 2000], [15000, 30000], [15000, 30000]]


def test_unfinished_tool_arguments_are_dropped_on_reconnect(page: Page, server: Server) -> None:
    server.tell(**question())
    place = {"turn": "t", "attempt": 1, "hop": 0, "offset": 0, "channel": "tool_arguments", "index": 0}
    server.tell(type="delta", cursor="1.0", text='{"a', **place)
    wait(page, "conversation.log.draft?.calls.size === 1")

    cut(page, server)

    assert page.evaluate("conversation.log.draft.calls.size") == 0
