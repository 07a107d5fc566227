"""The Python client at real servers: cut off, sent twice, stopped, refused, and with callbacks that raise."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tests.cable import Cable
from tests.client import Client
from tests.provider import ProviderProcess
from tests.server import NewSite, ServerProcess
from tests.system.viewers import fresh_read
from verbatim_client import (
    AsyncRemoteConversation,
    Connected,
    ConversationClosed,
    Disconnected,
    Event,
    InvalidRequest,
    News,
    NotFound,
    Piece,
    RemoteConversation,
    TurnActive,
    TurnFailed,
    Unauthenticated,
    Unreachable,
)

STORY = "Es war einmal 😀 ein König, "


@pytest.fixture
def cable(server: ServerProcess) -> Iterator[Cable]:
    with Cable(server.port) as cable:
        yield cable


@asynccontextmanager
async def attached(server: ServerProcess | Cable, client: Client) -> AsyncIterator[AsyncRemoteConversation]:
    """A new conversation."""
    async with asyncio.timeout(60), AsyncRemoteConversation(server.url, key=client.key) as conversation:
        yield conversation


async def assert_lawful(conversation: AsyncRemoteConversation, client: Client) -> None:
    """The log here is what a fresh client gets, and what is stored."""
    stored = await client.call("GET", f"/api/v1/conversations/{conversation.id}/events/?limit=500")
    fresh = await fresh_read(client, conversation.id)
    assert [(event.seq, event.kind, event.turn, event.at, event.data) for event in conversation.log.events] == [
        (event["seq"], event["kind"], event["turn"], event["at"], event["data"]) for event in stored["events"]
    ]
    assert conversation.log.cursor == fresh.cursor


class Heard:
    """What a conversation tells, and when it has told enough."""

    def __init__(self, conversation: AsyncRemoteConversation) -> None:
        self.count: Counter[type[News]] = Counter()
        self._changed = asyncio.Condition()
        self._changes: set[asyncio.Task[None]] = set()
        conversation.on(News, self._hear)

    async def times(self, kind: type[News], number: int) -> None:
        """Until it has told that so often."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.count[kind] >= number)

    def _hear(self, news: News) -> None:
        self.count[type(news)] += 1
        self._changes.add(asyncio.create_task(self._change()))

    async def _change(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def test_a_question_is_answered_and_the_log_is_what_is_stored(
    server: ServerProcess, client: Client, provider: ProviderProcess
) -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    provider.script([{"reasoning": "Hm. "}, {"text": STORY}, {"text": "Ende."}, {"finish": "stop"}, {"usage": usage}])
    async with attached(server, client) as conversation:
        answer = await conversation.ask("Tell me.")

        assert (str(answer), answer.reasoning, answer.status) == (f"{STORY}Ende.", "Hm. ", "completed")
        assert (answer.usage["prompt"], answer.usage["completion"], answer.finish_reason) == (11, 5, "stop")
        assert answer.cost is None or isinstance(answer.cost, Decimal)
        assert conversation.active_turn is None
        await assert_lawful(conversation, client)


async def test_cut_off_again_and_again_it_tells_every_word_once(
    cable: Cable, client: Client, provider: ProviderProcess
) -> None:
    words = [f"w{number} 😀 " for number in range(6)]
    script = [step for number, word in enumerate(words) for step in ({"text": word}, {"gate": f"g{number}"})]
    provider.script(script)
    async with attached(cable, client) as conversation:
        heard = Heard(conversation)
        turn = await conversation.send("Go on.")
        told: list[str] = []
        async for piece in conversation.told(turn):
            if isinstance(piece, Piece):
                told.append(piece.text)
                cuts = len(told)
                await asyncio.to_thread(cable.cut, reset=bool(cuts % 2))
                if cuts % 3:
                    await heard.times(Connected, cuts)
                await asyncio.to_thread(provider.open_gate, f"g{cuts - 1}")

        assert "".join(told) == "".join(words)
        assert heard.count[Disconnected] == len(words)
        await assert_lawful(conversation, client)


async def test_a_message_whose_acceptance_was_lost_is_sent_again_and_asked_once(
    cable: Cable, client: Client, provider: ProviderProcess
) -> None:
    provider.script([{"text": STORY}])
    async with attached(cable, client) as conversation:
        await asyncio.to_thread(cable.hold)
        sending = asyncio.create_task(conversation.send("Once.", request_id="once"))
        await provider.requests_async(1, ended=True)
        assert not sending.done()

        await asyncio.to_thread(cable.cut)
        await asyncio.to_thread(cable.let_go)
        answer = await conversation.answer(await sending)

        assert answer.text == STORY
        assert await conversation.send("Once.", request_id="once") == answer.turn
        assert cable.requests.count(b"GET /ws/") == 2
        assert len(provider.log()) == 1
        await assert_lawful(conversation, client)


async def test_a_server_that_says_nothing_is_left_and_found_again(
    cable: Cable, client: Client, provider: ProviderProcess
) -> None:
    provider.script([{"text": STORY}, {"gate": "on"}, {"text": "Ende."}])
    async with (
        asyncio.timeout(60),
        AsyncRemoteConversation(cable.url, key=client.key, silence=1) as conversation,
    ):
        heard = Heard(conversation)
        turn = await conversation.send("Tell me.")
        await asyncio.to_thread(cable.hold)
        await heard.times(Disconnected, 1)
        await asyncio.to_thread(cable.let_go)
        await asyncio.to_thread(provider.open_gate, "on")

        assert str(await conversation.answer(turn)) == f"{STORY}Ende."


async def test_a_server_that_is_started_again_has_its_viewers_back(
    new_site: NewSite, provider: ProviderProcess
) -> None:
    provider.script([{"text": STORY}])
    site, key = new_site()
    with site.start("daphne") as server:
        async with attached(server, client := Client(server.url, key=key)) as conversation:
            heard = Heard(conversation)
            await conversation.ask("First.")
            server.terminate()
            await heard.times(Disconnected, 1)
            sending = asyncio.create_task(conversation.send("Second."))  # while nobody is there
            await asyncio.to_thread(server.wait)
            with await asyncio.to_thread(lambda: site.start("daphne", port=server.port)):
                answer = await conversation.answer(await sending)

                assert answer.text == STORY
                assert len(provider.log()) == 2
                await assert_lawful(conversation, client)


async def test_a_stop_keeps_what_was_said(server: ServerProcess, client: Client, provider: ProviderProcess) -> None:
    provider.script([{"text": STORY}, {"gate": "never"}])
    async with attached(server, client) as conversation:
        assert not await conversation.stop()
        turn = await conversation.send("Tell me.")
        async for piece in conversation.told(turn):
            if isinstance(piece, Piece):
                assert await conversation.stop()
        answer = await conversation.answer(turn)

        assert (answer.status, answer.text, answer.error) == ("cancelled", STORY, None)
        with pytest.raises(NotFound):
            await conversation.stop("00000000-0000-4000-8000-000000000000")
        with pytest.raises(InvalidRequest):
            await conversation.stop("nonsense")


async def test_what_is_refused_says_why_to_whom_it_was_refused(
    server: ServerProcess, client: Client, provider: ProviderProcess
) -> None:
    provider.script([{"text": STORY}, {"gate": "on"}], named={"fails": [{"status": 400, "body": {}}]})
    async with attached(server, client) as conversation:
        turn = await conversation.send("Tell me.")
        too_large, early = await asyncio.gather(
            conversation.send("x" * 300_000), conversation.send("And?"), return_exceptions=True
        )
        await asyncio.to_thread(provider.open_gate, "on")
        await conversation.answer(turn)
        with pytest.raises(TurnFailed) as failed:
            await conversation.ask("[[fails]]")

        assert isinstance(too_large, InvalidRequest)
        assert "262,144 bytes" in str(too_large)
        assert isinstance(early, TurnActive)
        assert (early.turn, early.is_passing) == (turn, True)
        assert failed.value.code == "bad_request"
        assert str(await conversation.ask("And now?")) == STORY


async def test_a_callback_that_raises_hurts_nothing_but_its_own_line_in_the_log(
    server: ServerProcess, client: Client, provider: ProviderProcess, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script([{"text": STORY}, {"text": "Ende."}])
    heard: list[int] = []
    async with attached(server, client) as conversation:
        remove = conversation.on(Event, lambda event: event.data["nothing"])
        conversation.on(Event, lambda event: heard.append(event.seq))
        answer = await conversation.ask("Tell me.")
        remove()
        complaints = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        events = len(conversation.log.events)
        await conversation.ask("Again.")

    assert str(answer) == f"{STORY}Ende."
    assert heard == [event.seq for event in conversation.log.events]
    assert complaints == ["a callback for Event failed"] * events
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == events


async def test_nobody_is_let_in_who_may_not_or_where_nothing_is(
    server: ServerProcess, client: Client, key: str
) -> None:
    async def enter(url: str, *, key: str, conversation: str | None = None) -> None:
        async with asyncio.timeout(30), AsyncRemoteConversation(url, key=key, conversation=conversation):
            raise AssertionError("entered")

    missing = "00000000-0000-4000-8000-000000000000"
    for nonsense in ("vb_nonsense", "vb_secret\r\nHost: x", ""):
        with pytest.raises(Unauthenticated) as refused:
            await enter(server.url, key=nonsense)
        assert "secret" not in str(refused.value)
    with pytest.raises(NotFound):
        await enter(server.url, key=key, conversation=missing)
    with pytest.raises(Unreachable):
        await enter("http://127.0.0.1:9", key=key)
    with pytest.raises(Unreachable, match="a Verbatim site"):
        await enter(f"{server.url}/static/admin/css/base.css?", key=key, conversation=missing)


async def test_when_the_conversation_is_deleted_everybody_who_waits_hears_of_it(
    server: ServerProcess, client: Client
) -> None:
    async with attached(server, client) as conversation:
        waiting = asyncio.ensure_future(anext(conversation.frames()))
        await client.call("DELETE", f"/api/v1/conversations/{conversation.id}/")

        for sought in (waiting, conversation.send("Hello?"), anext(conversation.frames())):
            with pytest.raises(NotFound):
                await sought


async def test_patience_has_an_end(server: ServerProcess, client: Client) -> None:
    with Cable(server.port) as cable:
        async with (
            asyncio.timeout(60),
            AsyncRemoteConversation(cable.url, key=client.key, patience=0.1) as conversation,
        ):
            await asyncio.to_thread(cable.hang_up)

            with pytest.raises(Unreachable):
                await conversation.send("Hello?")


def test_without_a_loop_it_does_the_same_in_a_thread_of_its_own(
    server: ServerProcess, key: str, provider: ProviderProcess, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script([{"text": STORY}, {"text": "Ende."}])
    seen: list[int] = []
    conversation = RemoteConversation(server.url, key=key)
    conversation.on(Event, lambda event: seen.append(len(conversation.log.events)))
    with conversation:
        conversation.on(Event, lambda event: conversation.stop())  # which would wait for itself
        follower = conversation.frames()
        turn = conversation.send("Tell me.")
        texts = [told.text for told in conversation.told(turn) if isinstance(told, Piece)]
        first = next(follower)
        log = conversation.log

    assert "".join(texts) == f"{STORY}Ende."
    assert isinstance(first, Event)
    assert log.events[0].kind == "user_message"
    assert seen == [event.seq for event in log.events]
    errors = [str(record.exc_info[1]) for record in caplog.records if record.exc_info is not None]
    assert errors == ["A callback cannot wait for its own conversation; do it in another thread."] * len(seen)
    assert conversation.log.cursor == log.cursor
    with pytest.raises(ConversationClosed):
        next(follower)
    with pytest.raises(ConversationClosed):
        conversation.send("Anybody?")
    assert not [thread for thread in threading.enumerate() if thread.name == "verbatim conversation"]
