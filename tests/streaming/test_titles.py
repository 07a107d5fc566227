"""Conversations are named by the model of their first answer, off the way of all turns."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from access.limits import Payer, accounts_by_day
from history import conversations, titles
from history.models import Conversation
from llm.demo import DemoModel
from llm.errors import Unavailable
from llm.scripted import says
from llm.types import ChatRequest, Deltas, TextDelta, Usage, UserMessage
from streaming.database import in_thread
from tests.fold import Folded
from tests.streaming.conftest import Stage, has_ended
from tests.streaming.test_calls import logs

LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _named(settings: Any) -> None:
    settings.CHAT = {"TITLES": True}


def is_told(folded: Folded) -> bool:
    """Whether a call for a title is in the log."""
    return any(log["usage_id"] == "title" for log in logs(folded))


def is_asked(on: Stage) -> asyncio.Future[None]:
    """When the model is asked for a title."""
    asked: asyncio.Future[None] = on.engine.loop.create_future()

    class Announced:
        def stream(self, request: ChatRequest) -> Deltas:
            asked.set_result(None)
            return on.model.stream(request)

    on.engine.titles._models = lambda _: Announced()
    return asked


async def title_of(on: Stage) -> str:
    return (await Conversation.objects.aget(pk=on.conversation_id)).title


async def test_a_conversation_is_named_after_its_first_answer_and_asked_about_once(stage: Any) -> None:
    on = await stage(
        [says("In 1969."), [*says('"The first moon landing"\n'), Usage(prompt=40, completion=4)], says("Yes.")]
    )
    watching = asyncio.create_task(on.watch(until=lambda folded: folded.state.get("title") == "The first moon landing"))

    await on.send("When was the moon landing?")
    await watching
    await on.send("Really?")
    folded = await on.watch(until=has_ended(2))

    assert await title_of(on) == "The first moon landing"
    asked = on.model.requests[1]
    assert (asked.usage_id, asked.tools) == ("title", ())
    assert "When was the moon landing?\n\nIn 1969." in asked.messages[-1].text
    assert len(on.model.requests) == 3
    [log] = [log for log in logs(folded) if log["usage_id"] == "title"]
    assert (log["outcome"], log["hop"], log["usage"]["prompt"]) == ("completed", None, 40)
    assert folded.stats["usage"]["title"]["calls"] == 1
    assert folded.stats["conversation"]["calls"] == 3
    assert folded.stats["turn"]["calls"] == 1


async def test_a_title_that_its_owner_gives_meanwhile_stays(stage: Any) -> None:
    more = asyncio.Event()
    on = await stage([says("In 1969."), [more, *says("The first moon landing")]])
    asked = is_asked(on)
    await on.send("When was the moon landing?")
    await on.watch(until=has_ended())
    await asked

    await sync_to_async(conversations.rename)(on.conversation_id, title="Mine")
    more.set()
    await on.watch(until=is_told)

    assert await title_of(on) == "Mine"


@pytest.mark.parametrize("reply", [[Unavailable()], says("word " * 50), says("")], ids=["fails", "long", "empty"])
async def test_without_a_title_the_first_words_stay(stage: Any, reply: Any) -> None:
    on = await stage([says("In 1969."), reply])

    await on.send("When was the moon landing?")
    folded = await on.watch(until=is_told)

    assert await title_of(on) == "When was the moon landing?"
    assert [event["kind"] for event in folded.tells].count("completion_log") == 2


async def test_a_call_for_a_title_that_is_broken_off_because_the_process_ends_is_told(stage: Any) -> None:
    on = await stage([says("In 1969."), [TextDelta(text="The"), asyncio.Event()]])
    asked = is_asked(on)
    await on.send("When was the moon landing?")
    folded = await on.watch(until=has_ended())
    await asked

    await on.engine.drain(patience=0.0)

    told = await sync_to_async(lambda: list(Conversation.objects.values_list("titling_since", "last_seq")))()
    assert told == [(None, len(folded.log) + 2)]


async def test_a_call_for_a_title_that_was_never_made_is_made_after_the_next_answer(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was told to end just before it. Nothing is told of it, now or later."""
    on = await stage([says("In 1969."), says("Yes."), says("The first moon landing")])
    claimed, go = threading.Event(), threading.Event()

    def slowly(payer: Payer) -> tuple[int, ...]:
        claimed.set()
        go.wait(20)
        return accounts_by_day(payer)

    monkeypatch.setattr("streaming.titles.accounts_by_day", slowly)
    await on.send("When was the moon landing?")
    folded = await on.watch(until=has_ended())
    await asyncio.to_thread(claimed.wait, 20)

    async def meanwhile() -> None:
        go.set()

    await asyncio.gather(on.engine.titles.end(patience=20.0), meanwhile())
    left = await Conversation.objects.values_list("is_titled", "titling_since", "last_seq").aget()
    await on.send("Really?")
    again = await on.watch(until=lambda folded: folded.state.get("title") == "The first moon landing")

    assert left == (False, None, len(folded.log))
    assert [log["outcome"] for log in logs(again) if log["usage_id"] == "title"] == ["completed"]


async def test_a_conversation_that_has_its_title_is_left_alone_after_every_other_answer(stage: Any) -> None:
    on = await stage([says("In 1969."), says("The first moon landing")])
    started = await on.send("When was the moon landing?")
    await on.watch(until=is_told)

    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            titles.claim(on.conversation_id, turn_id=started.turn_id)
        return [query["sql"].partition(" ")[0] for query in captured]

    assert await in_thread(statements) == ["SELECT"]


async def test_a_call_for_a_title_that_is_lost_with_its_process_is_told_once(stage: Any) -> None:
    on = await stage([says("In 1969.")])
    await Conversation.objects.filter(pk=on.conversation_id).aupdate(is_titled=True, titling_since=LONG_AGO)
    await on.send("When was the moon landing?")
    await on.watch(until=has_ended())

    found = await in_thread(titles.lost, older=60.0)
    for _ in range(2):
        await in_thread(titles.settle_lost, on.conversation_id, title="When was the moon landing?")
    folded = await on.fresh()

    assert found == [(on.conversation_id, "When was the moon landing?")]
    assert await in_thread(titles.lost, older=60.0) == []
    assert [log["outcome"] for log in logs(folded) if log["usage_id"] == "title"] == ["lost"]


async def test_the_demo_gives_titles_too() -> None:
    request = ChatRequest(messages=(UserMessage(text="What time is it in Tokyo, please?"),), usage_id="title")

    said = "".join([d.text async for d in DemoModel(pace=0).stream(request) if isinstance(d, TextDelta)])

    assert said == "What time is it in"
