"""The socket in the test's own process: who is let in, what a refusal is called, and what is no fault of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db import OperationalError

from access.errors import AccessEnded, Forbidden, Unauthenticated
from access.keys import create_key
from access.models import ApiKey
from access.principals import Scope
from chat.close import BY_CODE, Close
from chat.routing import websocket_urlpatterns
from history import conversations
from history.errors import ChatError, NotFound
from llm.types import Finish, TextDelta
from streaming.database import ORDERERS, in_order_thread
from streaming.errors import Draining, InvalidCursor, InvalidRequest
from tests.streaming.away import failing
from tests.streaming.conftest import has_ended

END_THE_SOCKET: list[type[ChatError]] = [
    Unauthenticated, AccessEnded, Forbidden, NotFound, InvalidCursor, InvalidRequest, Draining,
]  # fmt: skip
"""Whatever opening and following may raise."""
WAIT = 20.0
"""How long a machine that has much else to do may take for an answer, in seconds."""


def new_conversation(scopes: Iterable[Scope]) -> tuple[UUID, str]:
    """A conversation, and a key of its owner with these scopes."""
    user = User.objects.create_user("ada")
    return conversations.create(user.pk).pk, create_key(user, scopes=scopes).text


def socket(conversation_id: UUID, *, key: str, query: str = "") -> WebsocketCommunicator:
    """A socket that is not yet open."""
    application = URLRouter(websocket_urlpatterns)
    address = f"/ws/conversations/{conversation_id}/{query}"
    return WebsocketCommunicator(application, address, headers=[(b"x-api-key", key.encode())])


@pytest.mark.usefixtures("async_db")
@pytest.mark.parametrize("scopes", [(), (Scope.CHAT,), (Scope.CHAT, Scope.ADMIN)], ids=",".join)
async def test_a_key_that_may_not_read_sees_nothing(scopes: tuple[Scope, ...]) -> None:
    conversation_id, key = await sync_to_async(new_conversation)(scopes)

    assert await told_at_once(conversation_id, key) == refusal("forbidden", Close.FORBIDDEN)


@pytest.mark.usefixtures("async_db")
async def test_contents_of_completion_logs_are_for_those_who_may_read_them() -> None:
    conversation_id, key = await sync_to_async(new_conversation)((Scope.READ,))

    told = await told_at_once(conversation_id, key, query="?logs=content")

    assert told == refusal("forbidden", Close.FORBIDDEN)


@pytest.mark.usefixtures("async_db")
@pytest.mark.parametrize("query", ["?logs=all", "?logs=", "?logs=content&logs=content"])
async def test_an_address_that_asks_for_what_there_is_not_is_refused(query: str) -> None:
    conversation_id, key = await sync_to_async(new_conversation)((Scope.READ,))

    assert await told_at_once(conversation_id, key, query=query) == refusal("invalid_request", Close.BAD_REQUEST)


async def has_caught_up(viewer: WebsocketCommunicator) -> None:
    """Whatever there is to show comes first."""
    while (await viewer.receive_json_from(timeout=WAIT))["type"] != "caught_up":
        pass


async def told_at_once(conversation_id: UUID, key: str, *, query: str = "") -> tuple[str, str, object]:
    """Type and code of the first frame after the socket has opened, and what the server does next."""
    opened = socket(conversation_id, key=key, query=query)
    await opened.connect(timeout=WAIT)
    said = await opened.receive_json_from(timeout=WAIT)
    return said["type"], said["code"], await opened.receive_output(timeout=WAIT)


def refusal(code: str, close: Close) -> tuple[str, str, object]:
    """A socket that opens, says why not, and closes."""
    return "error", code, {"type": "websocket.close", "code": close}


@pytest.mark.parametrize("error", END_THE_SOCKET)
def test_whatever_ends_a_socket_has_a_close_code(error: type[ChatError]) -> None:
    assert error.code in BY_CODE


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, bool]]:
    """What was logged for operators to see: where, at which level, and whether with a traceback."""
    return [(r.name, r.levelname, bool(r.exc_info)) for r in caplog.records if r.levelname not in ("DEBUG", "INFO")]


@pytest.mark.usefixtures("async_db")
async def test_who_comes_while_the_database_is_away_is_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    """R19, and no traceback: it is no fault of ours."""
    conversation_id, key = await sync_to_async(new_conversation)([Scope.READ])
    viewer = socket(conversation_id, key=key)

    async with failing([OperationalError("away")]):
        await viewer.connect(timeout=WAIT)
        said = await viewer.receive_json_from(timeout=WAIT)
        closed = await viewer.receive_output(timeout=WAIT)

    assert (said["type"], said["code"]) == ("error", "busy")
    assert closed == {"type": "websocket.close", "code": Close.INTERNAL}
    assert told(caplog) == [("chat.consumer", "WARNING", False)]


async def test_who_orders_while_the_database_is_away_is_to_ask_again(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    on = await stage([])
    key = await sync_to_async(lambda: create_key(on.user).text)()
    viewer = socket(on.conversation_id, key=key)
    await viewer.connect(timeout=WAIT)
    await has_caught_up(viewer)

    async with failing([OperationalError("away")], among=in_order_thread, threads=ORDERERS):
        await viewer.send_json_to({"type": "stop", "turn": str(uuid4())})
        said = await viewer.receive_json_from(timeout=WAIT)
    await viewer.disconnect(timeout=WAIT)

    assert (said["type"], said["code"]) == ("error", "busy")
    assert told(caplog) == [("chat.consumer", "WARNING", False)]


async def test_a_viewer_that_vanishes_while_something_is_sent_is_nothing_to_tell_of(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers say so by an `OSError`, to whoever sends first."""
    on = await stage([])
    key = await sync_to_async(lambda: create_key(on.user).text)()
    came, failed = asyncio.Queue[dict[str, Any]](), asyncio.Queue[str]()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] != "websocket.accept":
            failed.put_nowait(message["type"])
            raise ConnectionResetError

    scope = socket(on.conversation_id, key=key).scope
    application = asyncio.create_task(URLRouter(websocket_urlpatterns)(scope, came.get, send))
    came.put_nowait({"type": "websocket.connect"})
    sent = [await failed.get()]
    came.put_nowait({"type": "websocket.receive", "text": '{"type": "ping"}'})
    sent.append(await failed.get())
    came.put_nowait({"type": "websocket.disconnect", "code": 1006})
    await application

    assert sent == ["websocket.send"] * 2
    assert told(caplog) == []


async def test_nothing_follows_a_close_for_whoever_may_not_look_any_more(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """S3: a server takes it for a fault of ours."""
    more = asyncio.Event()
    on = await stage([[TextDelta(text="Hello"), more, TextDelta(text=", Ada."), Finish(reason="stop")]])
    key = await sync_to_async(create_key)(on.user)
    viewer = socket(on.conversation_id, key=key.text)
    await viewer.connect(timeout=WAIT)
    await has_caught_up(viewer)
    await on.send()
    while (await viewer.receive_json_from(timeout=WAIT))["type"] != "delta":
        pass

    await ApiKey.objects.all().adelete()
    await viewer.send_json_to({"type": "stop", "turn": str(uuid4())})
    last = [await viewer.receive_output(timeout=WAIT)]
    while last[-1]["type"] == "websocket.send":
        last.append(await viewer.receive_output(timeout=WAIT))
    more.set()
    await on.watch(until=has_ended())

    assert (json.loads(last[-2]["text"])["code"], last[-1]["type"]) == ("access_ended", "websocket.close")
    assert await viewer.receive_nothing(), await viewer.receive_output()
    assert told(caplog) == []
