"""The model calls of turns, as viewers are told of them: while they go on, and however they end."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from history.models import Event, Turn
from llm.errors import RateLimited, Truncated, Unavailable
from llm.retries import with_retries
from llm.scripted import ScriptedModel, says
from llm.types import ChatRequest, Finish, TextDelta, ToolCallDelta, Usage, UserMessage
from streaming.calls import Asking, MeasuredModel
from streaming.database import in_thread
from streaming.turns import stop_turn
from tests.fold import Folded
from tests.streaming.conftest import Stage, caught_up, has_ended
from tests.streaming.test_takeover import left

ASKS_THE_TIME = (ToolCallDelta(index=0, id="c", name="current_time", arguments="{}"), Finish(reason="tool_calls"))
PRICED = {"name": "priced", "adapter": "demo", "prices": {"input": 1_000, "output": 10_000}, "context_window": 1_000}
QUESTION = ChatRequest(messages=(UserMessage(text="What time is it?"),), usage_id="title")


@pytest.fixture(autouse=True)
def _priced(settings: Any) -> None:
    settings.CHAT = {"PROFILES": (PRICED,), "DEFAULT_PROFILE": "priced", "LEASE": 0.2, "LEASE_RENEWAL": 0.05}


def kinds(folded: Folded) -> list[str]:
    return [event["kind"] for event in folded.log.values()]


def logs(folded: Folded) -> list[Any]:
    return [event["data"] for event in folded.tells if event["kind"] == "completion_log"]


def costs(folded: Folded) -> list[Decimal]:
    """What the turn had cost by each snapshot."""
    return [Decimal(event["data"]["turn"]["cost"]) for event in folded.tells if event["kind"] == "stats"]


async def test_tokens_and_cost_move_while_a_turn_goes_on_and_what_is_told_is_stored(stage: Any) -> None:
    """A0.8, A0.12, A0.20."""
    on = await stage(
        [[Usage(prompt=10, completion=5), *ASKS_THE_TIME], [*says("Now."), Usage(prompt=20, completion=2, cached=8)]]
    )

    started = await on.send()
    folded = await on.watch(until=has_ended())

    hop = ["assistant_message", "stats", "completion_log"]
    assert kinds(folded) == ["user_message", *hop, "tool_result", *hop, "turn_ended"]
    assert costs(folded) == [Decimal("0.06"), Decimal("0.1")]
    assert [(log["hop"], log["cost"], log["outcome"]) for log in logs(folded)] == [
        (0, "0.06000000", "completed"),
        (1, "0.04000000", "completed"),
    ]
    stored = Event.objects.filter(kind__in=("stats", "completion_log")).order_by("seq").values_list("data", flat=True)
    assert [event["data"] for event in folded.tells] == [data async for data in stored]
    turn = await Turn.objects.aget(pk=started.turn_id)
    assert (turn.prompt_tokens, turn.completion_tokens, turn.cached_tokens, turn.cost) == (30, 7, 8, Decimal("0.1"))


async def test_a_call_that_is_stopped_is_told_once_with_what_it_used_about(stage: Any) -> None:
    on = await stage([[TextDelta(text="12345678"), asyncio.Event()]])
    started = await on.send("a question")
    await on.watch(until=lambda folded: folded.draft != "")

    await in_thread(stop_turn, on.principal, started.turn_id)
    folded = await on.watch(until=has_ended())

    [log] = logs(folded)
    assert (log["outcome"], log["estimated"], log["usage"]["completion"]) == ("cancelled", True, 2)
    assert log["usage"]["prompt"] > 0
    ended = folded.events[3]["data"]
    assert (ended["status"], ended["usage"], ended["cost"]) == ("cancelled", log["usage"], log["cost"])


@pytest.mark.parametrize(
    ("failure", "used"),
    [(Unavailable(), False), (RateLimited(), False), (Truncated(), True)],
    ids=lambda each: str(each),
)
async def test_a_call_that_fails_is_told_once_and_one_that_was_refused_has_used_nothing(
    stage: Any, failure: Exception, used: bool
) -> None:
    on = await stage([[failure]])

    await on.send("a question")
    folded = await on.watch(until=has_ended())

    [log] = logs(folded)
    assert (log["outcome"], log["estimated"], log["first_token_ms"]) == ("failed", used, None)
    assert log["error"]["code"] == folded.events[2]["data"]["error"]["code"]
    assert (Decimal(log["cost"]) > 0) is used


async def test_a_call_that_is_lost_with_its_process_is_told_once_as_lost(stage: Any) -> None:
    on = await stage([says("All of it.")])
    await left(on, options={"profile": "priced"})

    folded = await on.watch(until=has_ended())

    first, second = logs(folded)
    assert (first["outcome"], first["attempt"], first["usage"]["completion"]) == ("lost", 1, 2)
    assert (second["outcome"], second["attempt"]) == ("completed", 2)
    assert Decimal(folded.stats["turn"]["cost"]) == Decimal(first["cost"]) + Decimal(second["cost"])


async def test_a_call_that_is_lost_with_a_profile_that_is_gone_is_told_too(stage: Any) -> None:
    on = await stage([])
    await left(on, options={"profile": "gone"}, model="it-was", losses=1)

    folded = await on.watch(until=has_ended())

    [log] = logs(folded)
    assert (log["outcome"], log["model"], log["cost"]) == ("lost", "it-was", None)


async def test_a_call_that_is_broken_off_because_the_process_ends_is_told_as_released(stage: Any) -> None:
    on = await stage([[TextDelta(text="12345678"), asyncio.Event()]])
    await on.send("a question")
    folded = await on.watch(until=lambda folded: folded.draft != "")

    await on.engine.drain(patience=0.0)

    told = await Event.objects.aget(kind="completion_log")
    assert (told.data["outcome"], told.data["usage"]["completion"]) == ("released", 2)
    assert folded.log.keys() == {1}
    assert await Turn.objects.filter(engine=None).acount() == 1


async def test_a_turn_that_fails_otherwise_has_its_call_told(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the writer refuses for its content, for example."""
    on = await stage([says("All of it.")])
    monkeypatch.setattr("streaming.drive.Drive._end", broken)

    await on.send()
    folded = await on.watch(until=has_ended())

    [log] = logs(folded)
    assert (log["outcome"], log["error"]["code"]) == ("failed", "internal")
    assert folded.stats["turn"]["calls"] == 1


async def broken(*_: Any) -> None:
    raise ValueError("a bug")


async def test_who_goes_on_at_a_position_is_shown_the_newest_snapshot(stage: Any) -> None:
    """A0.10; who has been shown one in the log needs no other."""
    on = await stage([[*says("One."), Usage(prompt=10, completion=5)]])
    await on.send()
    whole = await on.watch(until=has_ended())

    late = await on.watch(until=caught_up, after=whole.cursor, folded=Folded(log=dict(whole.log), cursor=whole.cursor))
    fresh = await on.fresh()

    assert late.state == {"stats": whole.stats} | {key: late.state[key] for key in late.state if key != "stats"}
    assert whole.stats["turn"]["completion"] == 5
    assert "stats" not in fresh.state
    assert fresh.stats == whole.stats


async def test_what_a_long_call_has_used_is_estimated_while_it_goes_on(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.hub.EVERY", 3_600.0)
    more = asyncio.Event()
    on = await stage([[TextDelta(text="12345678"), more, TextDelta(text="1234"), asyncio.Event()]])
    started = await on.send("a question")
    watched = asyncio.create_task(on.watch(until=lambda folded: bool(folded.estimates)))
    await on.watch(until=lambda folded: folded.draft != "")

    look(on)
    look(on)  # nothing has come since
    more.set()
    await on.watch(until=lambda folded: len(folded.draft) == 12)
    look(on)
    [estimate] = (await watched).estimates
    await in_thread(stop_turn, on.principal, started.turn_id)
    folded = await on.watch(until=has_ended())

    assert (estimate.turn, estimate.hop, estimate.completion) == (str(started.turn_id), 0, 3)
    assert (estimate.prompt, estimate.cost) == (logs(folded)[0]["usage"]["prompt"], logs(folded)[0]["cost"])
    assert (await on.fresh()).estimates == []


def look(on: Stage) -> None:
    """What happens once a second."""
    for tail in on.engine.hub._tails.values():
        tail.estimate()


async def test_a_call_that_had_to_be_asked_again_says_how_often() -> None:
    """A retry is no call of its own: nobody has seen anything of the first."""
    retried = with_retries(ScriptedModel([[Unavailable()], says("Now.")]), sleep=lambda _: asyncio.sleep(0))
    model = MeasuredModel(retried, Asking("m", 100, lambda _: Decimal(1)))

    heard = [delta async for delta in model.stream(QUESTION)]
    call = model.take("completed", said=4)

    assert [type(delta) for delta in heard] == [TextDelta, Finish]
    assert call is not None
    assert (call.retries, call.usage_id, call.usage.completion, call.is_estimated) == (1, "title", 1, True)
    assert model.take("completed", said=4) is None


async def test_a_report_of_nothing_is_none() -> None:
    """There are servers that have the fields and never fill them."""
    model = MeasuredModel(ScriptedModel([says("12345678")]), Asking("m", 100, lambda _: None))
    async for _ in model.stream(QUESTION):
        model.heard(Usage())

    call = model.take("completed", said=8)

    assert call is not None
    assert (call.is_estimated, call.usage.completion, call.cost) == (True, 2, None)
    assert call.usage.prompt > 0
