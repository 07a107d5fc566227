"""One turn over a real socket, on both servers."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chat.close import Close
from streaming.frames import Accepted, Error
from tests.client import Client, caught_up, ended
from tests.provider import ProviderProcess
from tests.server import ServerProcess


async def test_an_answer_streams_and_what_was_seen_is_what_is_stored(client: Client, provider: ProviderProcess) -> None:
    provider.script([{"reasoning": "Hm."}, {"text": "Hel"}, {"text": "lo 😀"}])
    conversation = await client.new_conversation()

    async with client.socket(conversation) as socket:
        request_id = await socket.send("Hello?")
        await socket.until(ended())

    assert next(answer for answer in socket.answers if isinstance(answer, Accepted)).request_id == request_id
    events = await client.events(conversation)
    assert [event["kind"] for event in events] == ["user_message", "assistant_message", "turn_ended"]
    assert events[1]["data"]["text"] == "Hello 😀"
    async with client.socket(conversation) as fresh:
        await fresh.until(caught_up)
    assert (socket.folded.events, socket.folded.cursor) == (fresh.folded.events, fresh.folded.cursor)


async def test_an_answer_of_more_than_a_mebibyte_is_seen_as_a_whole(client: Client, provider: ProviderProcess) -> None:
    provider.script([{"text": "€" * 100_000}] * 4)
    conversation = await client.new_conversation()

    async with client.socket(conversation) as socket:
        await socket.send("At length, please.")
        await socket.until(ended())

    assert socket.folded.events[2]["data"]["text"] == "€" * 400_000


async def test_nothing_that_is_said_gets_into_a_servers_log(
    client: Client, server: ServerProcess, provider: ProviderProcess
) -> None:
    """A2.25."""
    call = {"index": 0, "id": "c", "name": "calculator", "arguments": '{"expression": "canary + 4"}'}
    provider.script([[{"reasoning": "canary 1"}, {"text": "canary 2"}, {"tool": call}], [{"text": "canary 3"}]])

    async with client.socket(await client.new_conversation()) as socket:
        await socket.send("canary 0")
        await socket.until(ended())

    assert "canary 3" in str(socket.folded.events)
    assert not [line for line in server.lines if "canary" in line]


@pytest.mark.parametrize(
    "frame",
    ['{"type": "send", "request_id": 7}', '{"x":' + "[" * 100_000, '{"x": ' * 30_000, '{"type": "ping'],
    ids=["a wrong type", "deep arrays", "deep objects", "half of one"],
)
async def test_a_wrong_frame_gets_an_error_and_the_socket_stays_open(
    client: Client, server: ServerProcess, frame: str
) -> None:
    lines_before = len(server.lines)

    async with client.socket(await client.new_conversation()) as socket:
        await socket.put(frame)
        refused = await socket.answer()
        await socket.put({"type": "ping"})
        await socket.answer()

    assert isinstance(refused, Error)
    assert refused.code == "invalid_frame"
    assert not [line for line in server.lines[lines_before:] if "Traceback" in line]


@pytest.mark.parametrize(
    ("conversation", "cursor", "bearer", "code", "closed_with"),
    [
        (None, "nonsense", None, "invalid_cursor", Close.BAD_REQUEST),
        (None, "", "wrong", "unauthenticated", Close.UNAUTHENTICATED),
        (UUID(int=0), "", None, "not_found", Close.NOT_FOUND),
    ],
)
async def test_a_refused_socket_says_why_and_is_closed_with_a_code_of_its_own(
    client: Client, conversation: UUID | None, cursor: str, bearer: str | None, code: str, closed_with: Close
) -> None:
    address = f"{client.url}/ws/conversations/{conversation or await client.new_conversation()}/?after={cursor}"
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else client.headers

    async with connect(address.replace("http", "ws", 1), additional_headers=headers, proxy=None) as socket:
        refused = json.loads(await socket.recv())
        await socket.wait_closed()

    assert (refused["type"], refused["code"]) == ("error", code)
    assert socket.close_code == closed_with


@pytest.mark.parametrize("path", ["", "ws/", "ws/conversations/1/", f"ws/conversations/{UUID(int=1)}/more/"])
async def test_a_socket_that_leads_nowhere_is_refused_and_nothing_is_logged(server: ServerProcess, path: str) -> None:
    lines_before = len(server.lines)

    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.url.replace('http', 'ws', 1)}/{path}", proxy=None)

    assert refused.value.response.status_code == 403
    assert not [line for line in server.lines[lines_before:] if "Traceback" in line]
