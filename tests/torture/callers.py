"""Those who ask over HTTP, for an answer that they append to as it comes or for a whole one, and who stop it."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal, TypeVar

import aiohttp

from tests.torture.cluster import Member
from tests.torture.orders import Order, Sending
from tests.torture.records import Disconnected, StopAsked, Transport
from tests.torture.viewers import GONE, OPENING, Viewer, messages
from tests.torture.world import World, lines_of

T = TypeVar("T")

STREAMING_CHAT = "/api/v1/ai/streaming_chat/"
CHAT = "/api/v1/ai/chat/"
COME_BACK = ("draining", "answer_restarted", "busy", "access_ended", "still_running")
"""The codes with which a stream ends that is to be asked for again."""
REFUSED_FOR_NOW = ("draining", "busy", "rate_limited", "turn_active")
"""The codes of refusals after which the same order may be sent again."""
STATUS_LINE = re.compile(r"Status: \d{3} - [^\n]* - (\w+): [^\n]*\Z")
"""How a text ends that tells of an error."""
CALL_PATIENCE, AGAIN = 30.0, 0.2
"""How long one try may take, and how long it is waited before the next, in seconds."""


class AppendingViewer(Viewer):
    """Posts its order as often as it takes, goes on where it was if it can, and appends what comes."""

    transport: ClassVar[Transport] = "streaming_chat"
    media_type: ClassVar[str] = "application/json"

    def __init__(self, world: World, name: str, *, order: Order) -> None:
        super().__init__(world, name, conversation=order.conversation)
        self.order = order
        self.accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The turn, or `""` if the order is refused for good."""

    async def run(self) -> None:
        with self.world.asks(self.name):
            await super().run()

    async def _connection(self, member: Member) -> Disconnected:
        sending = Sending(self.world, self.order, self.name, self.transport, member.life)
        try:
            async with asyncio.timeout(OPENING):
                response = await self._post(member)
        except GONE:
            sending.answered()
            raise
        try:
            turn = response.headers.get("X-Verbatim-Turn")
            code = _code(await response.text()) if response.status >= 400 else None
            sending.answered(turn=turn, code=code, status=response.status, cached=_replayed(response))
            if turn is None:
                self._leaving = code not in REFUSED_FOR_NOW
                self._is_turn("" if self._leaving else None)
            else:
                self._is_turn(turn)
                self._let_in(member, process=sending.process)
                await self._read(response)
            return Disconnected(viewer=self.name, how="closed")
        finally:
            response.close()

    def _is_turn(self, turn: str | None) -> None:
        self.turn = turn or None
        if turn is not None and not self.accepted.done():
            self.accepted.set_result(turn)

    async def _post(self, member: Member) -> aiohttp.ClientResponse:
        headers = {**self.world.headers, "Idempotency-Key": self.order.request_id}
        if self.cursor:
            headers["Last-Event-ID"] = self.cursor
        body = {"query": self.order.text, "conversation_id": self.conversation, "media_type": self.media_type}
        return await self.world.http.post(member.url + STREAMING_CHAT, headers=headers, json=body)

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        async for message in messages(lines_of(response, world=self.world)):
            if message.event == "comment":
                self._take({"type": "comment"})
                continue
            frame = json.loads(message.data)
            self._take(frame, id=message.id)
            if message.id is not None:
                self.cursor = message.id
            if frame["event"] in ("end", "interrupted", "error"):
                cause = frame["data"].get("cause", "") if frame["event"] == "error" else ""
                self._leaving = cause.partition(":")[0] not in COME_BACK


class TextViewer(AppendingViewer):
    """As plain text, without positions: it begins anew each time."""

    transport: ClassVar[Transport] = "text"
    media_type: ClassVar[str] = "text/plain"

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        said = ""
        while True:
            async with asyncio.timeout(CALL_PATIENCE):
                chunk = await response.content.readany()
            piece = decoder.decode(chunk, final=not chunk)
            if piece:
                said += piece
                self._take({"text": piece})
            if not chunk:
                break
        ending = STATUS_LINE.search(said)
        self._leaving = ending is None or ending[1] not in COME_BACK


async def call(world: World, order: Order, *, name: str) -> str:
    """Order over the JSON interface, and wait for the whole answer, until there is one; the turn, or `""`."""
    headers = {**world.headers, "Idempotency-Key": order.request_id}
    body = {"query": order.text, "conversation_id": order.conversation}

    async def once(member: Member) -> str | None:
        sending = Sending(world, order, name, "json", member.life)
        try:
            async with (
                asyncio.timeout(CALL_PATIENCE),
                world.http.post(member.url + CHAT, headers=headers, json=body) as response,
            ):
                text = await response.text()
        except GONE:
            sending.answered()
            return None
        turn, code = response.headers.get("X-Verbatim-Turn"), _code(text) if response.status >= 400 else None
        sending.answered(turn=turn, code=code, status=response.status, cached=_replayed(response))
        if turn is not None:
            sending.waited(turn=turn, status=response.status, body=text)
        return None if code in (COME_BACK if turn else REFUSED_FOR_NOW) else turn or ""

    with world.asks(name):
        return await _again_and_again(world, once)


async def wait(world: World, turn: str, *, order: Order, name: str) -> None:
    """Wait for a turn's whole answer as JSON, anywhere."""

    async def once(member: Member) -> bool | None:
        sending = Sending(world, order, name, "json", member.life)
        try:
            async with (
                asyncio.timeout(CALL_PATIENCE),
                world.http.get(f"{member.url}/api/v1/turns/{turn}/response/", headers=world.headers) as response,
            ):
                text = await response.text()
        except GONE:
            return None
        sending.waited(turn=turn, status=response.status, body=text)
        return None if response.status >= 400 and _code(text) in COME_BACK else True

    with world.asks(name, turn=turn):
        await _again_and_again(world, once)


async def _again_and_again(world: World, once: Callable[[Member], Awaitable[T | None]]) -> T:
    """What somebody answers, each asked after the other."""
    member: Member | None = None
    while True:
        member = await world.somebody(but=member)
        if (answer := await once(member)) is not None:
            return answer
        await asyncio.sleep(AGAIN)


async def stop(world: World, turn: str, *, member: Member) -> None:
    """Ask for a turn's end."""
    began, process = time.time(), member.life
    outcome: Literal["accepted", "refused", "lost"] = "lost"
    code: str | None = None
    try:
        async with (
            asyncio.timeout(OPENING),
            world.http.post(f"{member.url}/api/v1/turns/{turn}/stop/", headers=world.headers, json={}) as response,
        ):
            code = _code(await response.text()) if response.status >= 400 else None
            outcome = "accepted" if response.status < 400 else "refused"
    except GONE:
        pass
    if outcome == "accepted":
        world.states.stop_asked(turn)
    world.note(StopAsked(turn=turn, process=process, began=began, outcome=outcome, code=code))


async def change(world: World, conversation: str, *, member: Member, **fresh: object) -> None:
    """Give a conversation another title, or put it away. Whether that was done is seen in the end."""
    address = f"{member.url}/api/v1/conversations/{conversation}/"
    world.asking[conversation] += 1
    try:
        async with asyncio.timeout(OPENING), world.http.patch(address, headers=world.headers, json=fresh) as response:
            await response.read()
    except GONE:
        pass
    finally:
        world.asking[conversation] -= 1


def _code(text: str) -> str:
    """The code in the body of an error: its own, or at the beginning of lightspeed's cause."""
    try:
        body = json.loads(text)
    except ValueError:
        return "unknown"
    if "detail" in body and isinstance(body["detail"], dict):
        return str(body["detail"]["cause"].partition(":")[0])
    return str(body.get("code", "unknown"))


def _replayed(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Idempotency-Replayed") == "true"
