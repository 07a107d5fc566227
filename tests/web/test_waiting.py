"""Requests that wait: without a thread, without a connection, behind any middleware."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import override_settings
from django.urls import path
from django.utils.decorators import sync_only_middleware

from access.keys import create_key
from llm.scripted import says
from llm.types import Finish, TextDelta
from tests.asgi import Exchange, ask, asking
from tests.streaming.conftest import Stage
from web.waiting import Pending, awaited

CHAT = "/api/v1/ai/chat/"
CALLERS = 20
seen: ContextVar[str] = ContextVar("seen", default="nothing")


class Room:
    """A view whose callers wait until the door is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self.threads: set[threading.Thread] = set()
        self.connections: list[BaseDatabaseWrapper] = []
        self.open = asyncio.Event()
        self.heard: list[str] = []

    def view(self, request: HttpRequest) -> HttpResponse:
        connection.ensure_connection()
        self.connections.append(connections[DEFAULT_DB_ALIAS])
        self.threads.add(threading.current_thread())
        seen.set(f"{seen.get()}, view")
        pending = Pending(self.finish)
        pending["X-Of-View"] = "pending"
        pending["X-Of-Both"] = "pending"
        return pending

    async def finish(self) -> HttpResponseBase:
        self.waiting += 1
        await self.open.wait()
        self.heard.append(seen.get())
        response = HttpResponse("done", status=201, content_type="text/plain")
        response["X-Of-Both"] = "finished"
        return response

    async def filled(self, callers: int) -> None:
        async with asyncio.timeout(20):
            while self.waiting < callers:  # noqa: ASYNC110 -- nobody tells that somebody waits
                await asyncio.sleep(0)


@pytest.fixture
def room(transactional_db: None) -> Iterator[Room]:
    """At `/room/`."""
    room = Room()
    with override_settings(ROOT_URLCONF=(path("room/", awaited(room.view)),)):
        yield room


async def test_whoever_waits_has_given_back_their_thread_and_their_connection(room: Room) -> None:
    """R17."""
    callers = [Exchange("GET", "/room/") for _ in range(CALLERS)]
    await room.filled(CALLERS)

    for thread in room.threads:
        thread.join(5)
    alive = [thread for thread in room.threads if thread.is_alive()]
    connected = [held for held in room.connections if held.connection is not None]
    room.open.set()
    answers = [await caller.whole() for caller in callers]

    assert len(room.threads) == len(set(room.connections)) == CALLERS
    assert (alive, connected) == ([], [])
    assert [answer.body for answer in answers] == [b"done"] * CALLERS


async def test_what_a_view_says_of_its_answer_holds_unless_the_answer_says_so_itself(room: Room) -> None:
    room.open.set()

    answer = await ask("GET", "/room/")

    assert answer.status == 201
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-of-view"] == "pending"
    assert answer.headers["x-of-both"] == "finished"


async def test_who_waits_keeps_the_context_of_their_request_and_of_no_other(room: Room) -> None:
    seen.set("test")
    callers = [Exchange("GET", "/room/") for _ in range(3)]
    await room.filled(3)

    room.open.set()
    for caller in callers:
        await caller.whole()

    assert room.heard == ["test, view"] * 3
    assert seen.get() == "test"


async def test_who_hangs_up_does_not_wait_any_longer(room: Room) -> None:
    async with asking("GET", "/room/") as caller:
        await room.filled(1)

    room.open.set()
    assert caller.status == 0
    assert room.heard == []


async def test_a_site_may_wrap_its_requests_in_transactions(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings[DEFAULT_DB_ALIAS], "ATOMIC_REQUESTS", True)
    room.open.set()

    answer = await ask("GET", "/room/")

    assert (answer.status, answer.body) == (201, b"done")


async def test_a_view_that_need_not_wait_answers_at_once() -> None:
    def at_once(request: HttpRequest) -> HttpResponse:
        return HttpResponse("now")

    with override_settings(ROOT_URLCONF=(path("room/", awaited(at_once)),)):
        answer = await ask("GET", "/room/")

    assert (answer.status, answer.body) == (200, b"now")


# Behind middleware that knows no event loop


opened: list[BaseDatabaseWrapper] = []
"""The connections that it has used last."""


@sync_only_middleware
def old_fashioned(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """As sites have it: uses the database before and after."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        connection.ensure_connection()
        response = get_response(request)
        connection.ensure_connection()
        opened.append(connections[DEFAULT_DB_ALIAS])
        response["X-Old"] = "fashioned"
        return response

    return middleware


@pytest.fixture
def old_site(settings: Any) -> Iterator[None]:
    """A site with such a middleware in the middle of the others, which has lost no connection at the end."""
    middleware = list(settings.MIDDLEWARE)
    settings.MIDDLEWARE = [*middleware[:3], f"{__name__}.old_fashioned", *middleware[3:]]
    opened.clear()
    yield
    assert [held for held in opened if held.connection is not None] == []


async def key_of(on: Stage) -> dict[str, str]:
    return {"X-API-Key": (await sync_to_async(create_key)(on.user)).text}


@pytest.mark.usefixtures("old_site")
async def test_a_whole_answer_comes_through_old_middleware(stage: Any) -> None:
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")], says("Three.")])
    headers = await key_of(on)

    async with asking("POST", CHAT, headers=headers, body={"query": "hi"}) as caller:
        async with asyncio.timeout(20):
            while not on.engine.hub.viewers:  # noqa: ASYNC110 -- nobody tells that somebody waits
                await asyncio.sleep(0)
        beside = await ask("POST", CHAT, headers=headers, body={"query": "ho"})
        more.set()
        answer = await caller.whole()

    assert (answer.status, answer.json["response"], answer.headers["x-old"]) == (200, "One two", "fashioned")
    assert beside.json["response"] == "Three."
    assert on.engine.hub.viewers == set()


@pytest.mark.usefixtures("old_site")
async def test_who_hangs_up_behind_old_middleware_leaves_nothing_behind(stage: Any) -> None:
    on = await stage([[TextDelta(text="One "), asyncio.Event()]])

    async with asking("POST", CHAT, headers=await key_of(on), body={"query": "hi"}) as caller:
        async with asyncio.timeout(20):
            while not on.engine.hub.viewers:  # noqa: ASYNC110 -- nobody tells that somebody waits
                await asyncio.sleep(0)

    assert caller.status == 0
    assert on.engine.hub.viewers == set()


@pytest.mark.usefixtures("old_site")
async def test_a_stream_comes_through_old_middleware_as_it_is_written(stage: Any) -> None:
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")]])
    turn = await on.send()

    async with asking("GET", f"/api/v1/turns/{turn.turn_id}/stream/", headers=await key_of(on)) as exchange:
        while b'"text":"One "' not in exchange.body:
            await exchange.read()
        more.set()
        await exchange.whole()

    assert exchange.headers["x-old"] == "fashioned"
    assert b'"kind":"turn_ended"' in exchange.body
    assert on.engine.hub.viewers == set()
