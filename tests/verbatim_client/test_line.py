"""The line: what makes it come back, what does not, and what it says when it leaves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from tests.verbatim_client.scripted import ID, ScriptedSite, event, saying, scripted
from verbatim_client import AsyncRemoteConversation, Disconnected, Event, Forbidden, NotFound, Reset, Unauthenticated


async def until(conversation: AsyncRemoteConversation, seq: int) -> None:
    """Until the event of that number is here."""
    async for frame in conversation.frames(after=0):
        if isinstance(frame, Event) and frame.seq == seq:
            return


def closing(*codes: int) -> Any:
    """One more event on each connection, then the close code of that connection; the last one stays."""

    async def says(site: ScriptedSite, connection: ServerConnection) -> None:
        number = len(site.handshakes)
        await saying(*(event(seq, "user_message") for seq in range(1, number + 1)))(site, connection)
        if number <= len(codes):
            await connection.close(codes[number - 1])

    return says


async def test_it_comes_back_from_the_last_cursor_whatever_is_not_final() -> None:
    lost: list[str] = []
    async with scripted(closing(1012, 1011, 4999)) as site:
        conversation = AsyncRemoteConversation(site.url, key="k", conversation=ID)
        conversation.on(Disconnected, lambda disconnected: lost.append(disconnected.reason))
        async with conversation:
            await until(conversation, 4)

    assert lost == ["closed with 1012", "closed with 1011", "closed with 4999"]
    assert site.handshakes == ["", "1.0", "2.0", "3.0"]


@pytest.mark.parametrize(("code", "error"), [(4401, Unauthenticated), (4403, Forbidden), (4404, NotFound)])
async def test_it_does_not_come_back_after_a_final_close_and_says_why(code: int, error: type[Exception]) -> None:
    async with (
        scripted(closing(1011, code)) as site,
        AsyncRemoteConversation(site.url, key="k", conversation=ID) as conversation,
    ):
        with pytest.raises(error):
            await until(conversation, 3)
        with pytest.raises(error):
            await conversation.send("Hello?")

    assert len(site.handshakes) == 2


async def test_a_cursor_that_is_not_known_is_forgotten_with_all_that_was_there() -> None:
    withdrawn: list[str] = []
    async with scripted(closing(4400)) as site:
        conversation = AsyncRemoteConversation(site.url, key="k", conversation=ID)
        conversation.on(Reset, lambda reset: withdrawn.append(reset.cursor))
        async with conversation:
            await until(conversation, 2)
            seqs = [event.seq for event in conversation.log.events]

    assert seqs == [1, 2]
    assert withdrawn == ["0.0"]
    assert site.handshakes == ["", ""]


async def test_a_stream_with_a_hole_is_left_and_asked_for_again() -> None:
    async def says(site: ScriptedSite, connection: ServerConnection) -> None:
        if len(site.handshakes) == 1:
            await connection.send(json.dumps(event(2, "turn_ended")))
        elif len(site.handshakes) == 2:
            await connection.send("<html>not our frames</html>")
        else:
            await saying(event(1, "user_message"), event(2, "turn_ended"))(site, connection)

    async with scripted(says) as site, AsyncRemoteConversation(site.url, key="k", conversation=ID) as conversation:
        kinds = [event.kind for event in conversation.log.events]

    assert kinds == ["user_message", "turn_ended"]
    assert len(site.handshakes) == 3


async def test_a_handshake_that_is_refused_is_final_at_first_and_later_a_proxys_word() -> None:
    async with scripted(closing(1012)) as site:
        site.statuses = {1: 404}
        with pytest.raises(NotFound):
            async with AsyncRemoteConversation(site.url, key="k", conversation=ID):
                pytest.fail("entered")

    async with scripted(closing(1012)) as site:
        site.statuses = {2: 404, 3: 503}
        async with AsyncRemoteConversation(site.url, key="k", conversation=ID) as conversation:
            await until(conversation, 4)

    assert site.handshakes == ["", "1.0", "1.0", "1.0"]


async def test_who_leaves_says_goodbye() -> None:
    gone: list[int | None] = []

    async def says(site: ScriptedSite, connection: ServerConnection) -> None:
        await saying(event(1, "user_message"))(site, connection)
        try:
            await asyncio.Future()
        finally:
            gone.append(connection.close_code)

    async with scripted(says) as site, AsyncRemoteConversation(site.url, key="k", conversation=ID):
        pass

    assert gone == [1000]
