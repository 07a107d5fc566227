"""The native protocol as server-sent events: resumed at every position, ended by whatever ends it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from access.keys import create_key
from history.models import Conversation
from llm.scripted import says
from llm.types import Finish, ReasoningDelta, TextDelta, ToolCallDelta
from streaming.database import in_thread
from streaming.frames import Error, ServerFrame
from streaming.turns import Started, delete_conversation
from tests.asgi import Exchange, ask, asking
from tests.chat.conftest import add_turn, begin_turn
from tests.fold import Folded
from tests.sse import Message, Reader
from tests.streaming.conftest import Stage, has_ended

_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)

ASKS_THE_TIME = (
    ReasoningDelta(text="Hm."),
    TextDelta(text="Let me 👀. "),
    ToolCallDelta(index=0, id="c", name="current_time", arguments="{}"),
    Finish(reason="tool_calls"),
)
ANSWERS = says("It is ", "late\r\n\u2028", "👩‍👩‍👧.")


class Page:
    """What an `EventSource` is to its page: reads and folds a stream, and knows the id that it would come back with."""

    def __init__(self, exchange: Exchange, *, folded: Folded | None = None) -> None:
        self.exchange = exchange
        self.reader = Reader()
        self.folded = Folded() if folded is None else folded.reconnected()
        self.others: list[ServerFrame] = []
        self._read = 0

    async def until(self, wanted: Any) -> Page:
        """Read until it is as wanted, or the stream ends. Raises `TimeoutError`."""
        async with asyncio.timeout(20):
            while not wanted(self.folded) and (chunk := await self.exchange.read()):
                self.reader.feed(chunk)
                for message in self.reader.messages[self._read :]:
                    self._take(message)
                self._read = len(self.reader.messages)
        return self

    def _take(self, message: Message) -> None:
        frame = _decoder.decode(message.data)
        assert message.event == frame.__struct_config__.tag
        if isinstance(frame, Error):
            self.others.append(frame)
            return
        self.folded.add(frame)
        assert self.reader.position == self.folded.cursor


def stream_of(turn: Started) -> str:
    return f"/api/v1/turns/{turn.turn_id}/stream/"


async def key_of(on: Stage) -> dict[str, str]:
    """Headers of Ada's programs."""
    return {"X-API-Key": (await sync_to_async(create_key)(on.user)).text}


def never(folded: Folded) -> bool:
    """Read to the end of the stream."""
    return False


def caught_up(folded: Folded) -> bool:
    return folded.caught_up


def at(cursor: str, whole: Folded, drafts: dict[int, list[tuple[str, str]]]) -> Folded:
    """What a viewer has who was cut at this position."""
    seq, offset = map(int, cursor.split("."))
    folded = Folded(log={number: event for number, event in whole.log.items() if number <= seq}, cursor=cursor)
    folded.runs = list(drafts.get(seq, []))
    folded._cut(offset)
    return folded


async def test_a_turn_is_resumed_at_every_position_of_its_drafts_when_it_has_ended(stage: Any) -> None:
    """R6."""
    on = await stage([ASKS_THE_TIME, ANSWERS])
    turn = await on.send()
    whole = await on.watch(until=has_ended())
    headers = await key_of(on)
    before = next(seq for seq, event in whole.log.items() if event["kind"] == "tool_result")
    drafts = {1: [("reasoning", "Hm."), ("text", "Let me 👀. ")], before: [("text", "It is late\r\n\u2028👩‍👩‍👧.")]}
    lengths = {seq: sum(len(text) for _, text in drafts.get(seq, [])) for seq in range(max(whole.log))}
    cursors = [f"{seq}.{offset}" for seq, length in lengths.items() for offset in range(length + 1)]

    for cursor in cursors:
        async with asking("GET", stream_of(turn), headers={**headers, "Last-Event-ID": cursor}) as exchange:
            page = await Page(exchange, folded=at(cursor, whole, drafts)).until(never)
        assert (page.folded.log, page.folded.runs, page.folded.resets) == (whole.log, [], 0), cursor

    assert len(cursors) == sum(lengths.values()) + max(whole.log)


async def test_a_turn_is_resumed_at_every_position_of_the_draft_in_progress(stage: Any) -> None:
    """R6."""
    more = asyncio.Event()
    on = await stage([[ReasoningDelta(text="Hm."), TextDelta(text="One 👀 "), more, *says("two")]])
    turn = await on.send()
    shown = await on.watch(until=lambda folded: folded.draft == "One 👀 ")
    headers = await key_of(on)

    pages = []
    for offset in range(shown.length + 1):
        exchange = Exchange("GET", stream_of(turn), headers={**headers, "Last-Event-ID": f"1.{offset}"})
        pages.append(Page(exchange, folded=at(f"1.{offset}", shown, {1: shown.runs})))
        await pages[-1].until(lambda folded: folded.runs == shown.runs)
    more.set()
    whole = await on.watch(until=has_ended())

    for page in pages:
        await page.until(never)
        await page.exchange.leave()
        assert (page.folded.events, page.folded.runs, page.folded.resets) == (whole.events, [], 0)
    assert len(pages) == len("Hm.One 👀 ") + 1


async def test_a_turn_is_streamed_alone_from_its_beginning_to_its_end(stage: Any) -> None:
    on = await stage([says("One."), says("Two."), says("Three.")])
    turns = []
    for number in range(3):
        turns.append(await on.send())
        await on.watch(until=has_ended(number + 1))

    answer = await ask("GET", stream_of(turns[1]), headers=await key_of(on))

    reader = Reader().feed(answer.body)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert [message.json["seq"] for message in reader.messages if message.event == "event"] == [6, 7, 8, 9, 10]
    assert reader.messages[1].json["data"]["text"] == "Two."
    assert reader.position == "10.0"


async def test_the_header_of_a_reconnection_goes_before_the_address(stage: Any) -> None:
    on = await stage([says("One.")])
    turn = await on.send()
    await on.watch(until=has_ended())
    headers = await key_of(on)

    from_address = await ask("GET", f"{stream_of(turn)}?after=1.0", headers=headers)
    from_header = await ask("GET", f"{stream_of(turn)}?after=1.0", headers={**headers, "Last-Event-ID": "2.0"})

    first = [Reader().feed(answer.body).messages[0].json["seq"] for answer in (from_address, from_header)]
    assert first == [2, 3]


async def test_a_conversation_is_streamed_over_all_turns_until_the_client_leaves(stage: Any) -> None:
    on = await stage([says("One."), says("Two.")])
    address = f"/api/v1/conversations/{on.conversation_id}/stream/"

    async with asking("GET", address, headers=await key_of(on)) as exchange:
        page = await Page(exchange).until(caught_up)
        for number in (1, 2):
            await on.send()
            await page.until(has_ended(number))

    assert page.folded.events == (await on.fresh()).events
    assert on.engine.hub.viewers == set()
    assert on.engine.hub._tails == {}


async def test_a_client_that_leaves_while_the_server_is_sending_leaves_nothing_behind(stage: Any) -> None:
    on = await stage([says(*(f"{number} " for number in range(100)))])
    turn = await on.send()
    await on.watch(until=has_ended())

    async with asking("GET", stream_of(turn), headers=await key_of(on), room=1) as exchange:
        await exchange.answered()
    async with asyncio.timeout(5):
        while on.engine.hub.viewers:  # noqa: ASYNC110 -- the loop's hooks close what was cut between two awaits
            await asyncio.sleep(0)

    assert on.engine.hub._tails == {}


async def test_a_heartbeat_is_a_comment_for_proxies_and_an_event_for_pages(stage: Any, settings: Any) -> None:
    """R14."""
    settings.CHAT = {**settings.CHAT, "HEARTBEAT": 0.05}
    on = await stage([])
    address = f"/api/v1/conversations/{on.conversation_id}/stream/"

    async with asking("GET", address, headers=await key_of(on)) as exchange:
        page = Page(exchange)
        await page.until(lambda folded: len(page.reader.comments) >= 2)

    beats = [message for message in page.reader.messages if message.event == "heartbeat"]
    assert page.reader.comments == ["heartbeat"] * len(beats)
    assert beats[0].json["cursor"] == "0.0"
    assert b": heartbeat\nevent: heartbeat\ndata: {" in exchange.body


# What ends a stream before its time


async def ended_by(stage: Any, end: Any, settings: Any) -> Page:
    """A page that follows a conversation in mid-answer, at the end of its stream."""
    settings.CHAT = {**settings.CHAT, "RECHECK": 0.05}
    on = await stage([[TextDelta(text="One "), asyncio.Event()]])
    await on.send()
    address = f"/api/v1/conversations/{on.conversation_id}/stream/"
    async with asking("GET", address, headers=await key_of(on)) as exchange:
        page = await Page(exchange).until(lambda folded: folded.draft == "One ")
        await end(on)
        await page.until(never)
    assert on.engine.hub.viewers == set()
    return page


async def delete(on: Stage) -> None:
    await in_thread(delete_conversation, on.principal, on.conversation_id)


async def close(on: Stage) -> None:
    on.engine.hub.close()
    on.engine.tasks.is_ending = True


async def deactivate(on: Stage) -> None:
    await User.objects.filter(pk=on.user.pk).aupdate(is_active=False)


@pytest.mark.parametrize(("end", "code"), [(close, "draining"), (deactivate, "access_ended")])
async def test_a_stream_that_is_ended_says_why_and_keeps_the_clients_position(
    stage: Any, settings: Any, end: Any, code: str
) -> None:
    """S3, R20."""
    page = await ended_by(stage, end, settings)

    (error,) = page.others
    assert isinstance(error, Error)
    assert error.code == code
    assert page.reader.messages[-1].event == "error"
    assert page.reader.position == page.folded.cursor == "1.4"
    await User.objects.aupdate(is_active=True)


async def test_the_stream_of_a_conversation_that_is_deleted_ends(stage: Any, settings: Any) -> None:
    page = await ended_by(stage, delete, settings)

    (error,) = page.others
    assert isinstance(error, Error)
    assert error.code == "not_found"
    assert page.reader.messages[-1].event == "error"


# What is refused


@pytest.mark.parametrize("cursor", ["x", "1", "1.", "-1.0", "1.0.0", "1e3.0", "٣.0", f"{10**18}.0"])
def test_a_position_of_a_wrong_shape_is_refused(ada: Client, conversation: Conversation, cursor: str) -> None:
    turn = begin_turn(conversation)

    for address in (f"/api/v1/turns/{turn.pk}/stream/", f"/api/v1/conversations/{conversation.pk}/stream/"):
        by_address = ada.get(address, {"after": cursor})
        by_header = ada.get(address, headers={"Last-Event-ID": cursor})
        for response in (by_address, by_header):
            assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("cursor", ["3.0", "3.1", "4.0", "99.0"])
def test_nothing_is_left_for_who_has_the_end(ada: Client, conversation: Conversation, cursor: str) -> None:
    """`EventSource` does not come back after a 204."""
    turn = add_turn(conversation)

    response = ada.get(f"/api/v1/turns/{turn.pk}/stream/", headers={"Last-Event-ID": cursor})

    assert (response.status_code, response.content) == (204, b"")


def test_something_is_left_for_who_lacks_the_end(ada: Client, conversation: Conversation) -> None:
    turn = add_turn(conversation)

    for cursor in ("", "0.0", "2.0", "2.7"):
        assert ada.get(f"/api/v1/turns/{turn.pk}/stream/", headers={"Last-Event-ID": cursor}).status_code == 200


def test_nobody_waits_for_the_headers_of_a_stream(ada: Client, conversation: Conversation) -> None:
    turn = begin_turn(conversation)

    for address in (f"/api/v1/turns/{turn.pk}/stream/", f"/api/v1/conversations/{conversation.pk}/stream/"):
        assert ada.head(address).status_code == 405


def test_a_foreign_stream_is_as_good_as_missing(ada: Client, bob: Client, conversation: Conversation) -> None:
    turn = begin_turn(conversation)

    for kind, found in (("turns", turn.pk), ("conversations", conversation.pk)):
        foreign, missing = bob.get(f"/api/v1/{kind}/{found}/stream/"), bob.get(f"/api/v1/{kind}/{uuid4()}/stream/")
        assert ada.get(f"/api/v1/{kind}/{found}/stream/").status_code == 200
        assert foreign.status_code == missing.status_code == 404
        assert (foreign.content, foreign.headers) == (missing.content, missing.headers)
