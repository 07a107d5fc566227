"""Who may do what over WebSockets: a rule for every socket and for every frame that a client may send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, get_args
from uuid import UUID, uuid4

import msgspec
import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client

from access.keys import create_key
from access.principals import Scope
from chat.close import Close
from chat.routing import elsewhere, websocket_urlpatterns
from history import conversations
from history.models import Turn
from llm.scripted import says
from streaming import frames
from streaming.frames import Ping, Send, Stop
from tests.access.test_matrix import ANYBODY, KEY_HEADERS, OTHERS, OWNERS
from tests.chat.conftest import add_turn, begin_turn
from tests.streaming.conftest import stage  # noqa: F401 -- a fixture

APPLICATION = URLRouter([*websocket_urlpatterns, elsewhere])

Told: TypeAlias = tuple[str | None, int | None]
"""The code of an error, and of a close; None where there is none."""

GOOD: Told = (None, None)
SOCKETS: Mapping[str, Mapping[str, Told]] = {
    "ws/conversations/<uuid:conversation_id>/": {
        **dict.fromkeys(OWNERS, GOOD),
        "without chat": GOOD,
        "without read": ("forbidden", Close.FORBIDDEN),
        **dict.fromkeys(OTHERS, ("not_found", Close.NOT_FOUND)),
        "nobody": ("unauthenticated", Close.UNAUTHENTICATED),
    },
}
"""What whoever opens a socket is told."""

FRAMES: Mapping[type[Any], Mapping[str, str]] = {
    Send: {"own": "accepted", "without chat": "forbidden", "foreign": "invalid_request"},
    Stop: {"own": "pong", "without chat": "forbidden", "foreign": "not_found"},
    Ping: {"own": "pong", "without chat": "pong", "foreign": "pong"},
}
"""The first answer to each frame and to a ping behind it: in one's own conversation, with a key that may only read,
and in one's own conversation about somebody else's turn."""


class World:
    """Ada with a conversation, Bob with another, and a turn in each."""

    def __init__(self) -> None:
        self.ada = User.objects.get_or_create(username="ada")[0]
        self.bob = User.objects.create_user("bob")
        self.conversation = conversations.create(self.ada.pk)
        add_turn(self.conversation)
        self.bobs: Turn = begin_turn(conversations.create(self.bob.pk))

    def headers(self, role: str) -> list[tuple[bytes, bytes]]:
        """What somebody brings along."""
        user = self.bob if role.startswith("other") else self.ada
        headers = {"host": "testserver", "origin": "http://testserver"}
        if role in ("session", "other session"):
            client = Client()
            client.force_login(user)
            headers["cookie"] = f"sessionid={client.cookies['sessionid'].value}"
        elif role != "nobody":
            key = create_key(user, scopes=[scope for scope in Scope if role != f"without {scope}"]).text
            form = KEY_HEADERS.get(role, "X-API-Key").lower()
            headers[form] = f"Bearer {key}" if form == "authorization" else key
        return [(name.encode(), value.encode()) for name, value in headers.items()]


@asynccontextmanager
async def opened(world: World, role: str, conversation_id: UUID) -> AsyncIterator[WebsocketCommunicator]:
    """A socket that somebody has asked for."""
    headers = await sync_to_async(world.headers)(role)
    socket = WebsocketCommunicator(APPLICATION, f"/ws/conversations/{conversation_id}/", headers=headers)
    await socket.connect()
    try:
        yield socket
    finally:
        await socket.disconnect()


async def first(socket: WebsocketCommunicator) -> list[dict[str, Any]]:
    """What is told until everything is there, or until the socket closes."""
    told: list[dict[str, Any]] = []
    while not told or (told[-1].get("type") not in ("caught_up", "websocket.close")):
        output = await socket.receive_output(timeout=10)
        told.append(msgspec.json.decode(output["text"]) if "text" in output else output)
    return told


async def answer(socket: WebsocketCommunicator, frame: Any) -> dict[str, Any]:
    """What comes in answer to a frame, or to the ping behind it."""
    await first(socket)
    for sent in (frame, Ping()):
        await socket.send_to(text_data=msgspec.json.encode(sent).decode())
    while True:
        told: dict[str, Any] = await socket.receive_json_from(timeout=10)
        if told["type"] in ("accepted", "error", "pong"):
            return told


@pytest.fixture
async def world(stage: Any) -> World:  # noqa: F811
    """With an engine that has one thing to say."""
    await stage([says("Hello.")])
    return await sync_to_async(World)()


def test_every_socket_and_every_frame_has_a_rule() -> None:
    """S1."""
    assert {str(pattern.pattern) for pattern in websocket_urlpatterns} == SOCKETS.keys()
    assert set(get_args(frames.AnyClientFrame)) == FRAMES.keys()
    assert set(ANYBODY) | {"without read", "without chat"} == SOCKETS["ws/conversations/<uuid:conversation_id>/"].keys()


@pytest.mark.parametrize(("route", "role"), [(route, role) for route, rules in SOCKETS.items() for role in rules])
async def test_whoever_opens_a_socket_is_told_what_the_rule_says(world: World, route: str, role: str) -> None:
    """S1."""
    async with opened(world, role, world.conversation.pk) as socket:
        told = await first(socket)

    error = next((frame["code"] for frame in told if frame["type"] == "error"), None)
    close = next((frame["code"] for frame in told if frame["type"] == "websocket.close"), None)
    assert (error, close) == SOCKETS[route][role]
    assert any(frame["type"] == "event" for frame in told) == (close is None)


@pytest.mark.parametrize("role", OTHERS)
async def test_somebody_elses_conversation_is_told_exactly_like_a_missing_one(world: World, role: str) -> None:
    """S1."""
    async with opened(world, role, world.conversation.pk) as socket:
        foreign = await first(socket)
    async with opened(world, role, uuid4()) as socket:
        missing = await first(socket)

    assert foreign == missing


def frame_about(kind: type[Any], turn_id: UUID | None) -> Any:
    """A frame of that kind, about a turn if it can be about one."""
    match kind.__name__:
        case "Send":
            return Send(request_id="r-1", text="Hello?", replaces=str(turn_id) if turn_id else None)
        case "Stop":
            return Stop(turn=str(turn_id))
        case _:
            return kind()


@pytest.mark.parametrize(("kind", "who"), [(kind, who) for kind in FRAMES for who in ("own", "without chat")])
async def test_a_frame_is_answered_as_its_rule_says(world: World, kind: type[Any], who: str) -> None:
    """S1."""
    own = await Turn.objects.values_list("pk", flat=True).aget(conversation=world.conversation)

    async with opened(world, "bearer" if who == "own" else who, world.conversation.pk) as socket:
        told = await answer(socket, frame_about(kind, own))

    assert told.get("code", told["type"]) == FRAMES[kind][who]


@pytest.mark.parametrize("role", OWNERS)
@pytest.mark.parametrize("kind", FRAMES)
async def test_a_frame_about_somebody_elses_turn_is_answered_exactly_like_one_about_none(
    world: World, kind: type[Any], role: str
) -> None:
    """S1."""
    async with opened(world, role, world.conversation.pk) as socket:
        foreign = await answer(socket, frame_about(kind, world.bobs.pk))
    async with opened(world, role, world.conversation.pk) as socket:
        missing = await answer(socket, frame_about(kind, uuid4()))

    assert foreign.get("code", foreign["type"]) == FRAMES[kind]["foreign"]
    assert foreign == missing
    assert await Turn.objects.values_list("status", flat=True).aget(pk=world.bobs.pk) == "running"


async def test_what_no_pattern_answers_is_refused_without_a_word(world: World) -> None:
    socket = WebsocketCommunicator(APPLICATION, "/ws/other/", headers=await sync_to_async(world.headers)("bearer"))

    is_open, _ = await socket.connect()

    assert not is_open
