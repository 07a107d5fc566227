"""Contents of completion logs, live and in replay, for those who ask for them and may read them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission

from access.errors import Forbidden
from history.models import CompletionContent
from llm.scripted import says
from llm.types import Finish, TextDelta, ToolCallDelta, Usage
from streaming import calls
from streaming.contents import with_contents
from streaming.database import in_thread
from streaming.follow import follow
from streaming.turns import stop_turn
from tests.fold import Folded
from tests.streaming.conftest import Stage, has_ended
from tests.streaming.test_calls import logs

ASKS_THE_TIME = (ToolCallDelta(index=0, id="c", name="current_time", arguments="{}"), Finish(reason="tool_calls"))


@pytest.fixture(autouse=True)
def _full(settings: Any) -> None:
    settings.CHAT = {"COMPLETION_LOGS": "full"}


async def allow(on: Stage) -> None:
    permission = await Permission.objects.aget(codename="view_completioncontent")
    await sync_to_async(on.user.user_permissions.add)(permission)


async def whole(on: Stage, *, turns: int = 1) -> Folded:
    """What somebody folds who has asked for contents."""
    folded = Folded()
    frames = follow(on.conversation_id, hub=on.engine.hub, principal=on.principal)
    showing = with_contents(frames, conversation_id=on.conversation_id, principal=on.principal)
    async with asyncio.timeout(20), aclosing(showing):
        async for frame in showing:
            folded.add(frame)
            if has_ended(turns)(folded):
                break
    return folded


async def test_who_asks_and_may_gets_what_was_asked_and_answered_live_and_later(stage: Any) -> None:
    on = await stage([[Usage(prompt=10, completion=5), *ASKS_THE_TIME], says("It is late.")])
    await allow(on)
    watching = asyncio.create_task(whole(on))

    await on.send("What time is it?")
    live = await watching
    later, plain = await whole(on), await on.fresh()

    first, second = (log["content"] for log in logs(live))
    assert first["messages"][-1] == {"role": "user", "text": "What time is it?"}
    assert [call["name"] for call in first["response"]["tool_calls"]] == ["current_time"]
    assert first["response"]["usage"] == {"prompt": 10, "completion": 5}
    assert (second["messages"][-1]["role"], second["response"]["text"]) == ("tool", "It is late.")
    assert later.log == live.log
    assert ["content" in log for log in logs(plain)] == [False, False]
    assert all(log["has_content"] for log in logs(plain))


async def test_whoever_is_shown_contents_is_noted(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    """S8."""
    caplog.set_level("INFO", logger="access.contents")
    on = await stage([says("Hello.")])
    await allow(on)
    await on.send()
    plain = await on.watch(until=has_ended())

    await whole(on)

    [seq] = [seq for seq, event in plain.log.items() if event["kind"] == "completion_log"]
    noted = [record.getMessage() for record in caplog.records if record.name == "access.contents"]
    assert noted == [f"user {on.user.pk} reads completion log {seq} of conversation {on.conversation_id}"]


async def test_who_may_not_is_told_so_instead(stage: Any) -> None:
    on = await stage([says("Hello.")])
    await on.send()
    await on.watch(until=has_ended())

    with pytest.raises(Forbidden, match="view_completioncontent"):
        await whole(on)


async def test_of_a_call_that_was_stopped_what_had_come_is_kept(stage: Any) -> None:
    on = await stage([[TextDelta(text="So far"), asyncio.Event()]])
    await allow(on)
    started = await on.send()
    await on.watch(until=lambda folded: folded.draft != "")

    await in_thread(stop_turn, on.principal, started.turn_id)

    [log] = logs(await whole(on))
    assert (log["outcome"], log["content"]["response"]["text"]) == ("cancelled", "So far")


async def test_that_nothing_can_be_kept_is_no_reason_for_a_turn_to_fail(
    stage: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A0.9."""

    def broken(_: object) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr(calls, "packed", broken)
    on = await stage([says("Hello.")])

    await on.send()
    folded = await on.watch(until=has_ended())

    assert folded.events[3]["data"]["status"] == "completed"
    assert [log["has_content"] for log in logs(folded)] == [False]
    assert "cannot be kept" in caplog.text


@pytest.mark.parametrize("mode", ["off", "metadata"])
async def test_nothing_is_kept_unless_it_is_asked_for(stage: Any, settings: Any, mode: str) -> None:
    settings.CHAT = {"COMPLETION_LOGS": mode}
    on = await stage([says("Hello.")])

    await on.send()
    folded = await on.watch(until=has_ended())

    assert [log["has_content"] for log in logs(folded)] == ([] if mode == "off" else [False])
    assert await CompletionContent.objects.acount() == 0
