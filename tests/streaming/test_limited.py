"""Model calls within the limits of a day: held before, settled after, whatever becomes of the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from access import limits
from access.errors import QuotaExceeded
from access.holds import Amount
from access.limits import Payer
from access.models import Spending
from history.compaction import Place
from history.models import Turn
from llm.errors import BadRequest, Truncated
from llm.scripted import ScriptedModel, says
from llm.types import ChatRequest, Finish, Sampling, TextDelta, ToolCallDelta, ToolSpec, Usage, UserMessage
from streaming.database import in_thread
from streaming.limited import most, with_limits
from streaming.turns import stop_turn
from tests.streaming.conftest import has_ended
from tests.streaming.test_takeover import left

T = TypeVar("T")
ASKS_THE_TIME = (ToolCallDelta(index=0, id="c", name="current_time", arguments="{}"), Finish(reason="tool_calls"))
PRICED = {"name": "priced", "adapter": "demo", "prices": {"input": 1_000, "output": 10_000}, "context_window": 1_000}
PLACE = Place(uuid4(), uuid4(), 1)
PAID: Any = {"accounts": (0,), "window": 500, "cost": lambda usage: None}
QUESTION = ChatRequest(messages=(UserMessage(text="What time is it?"),))


@pytest.fixture(autouse=True)
def _limited(settings: Any) -> None:
    settings.CHAT = {"TOKENS_PER_DAY_PER_USER": 1_000}


async def spent() -> list[tuple[Any, ...]]:
    """What is noted: tokens, tokens held, cost, cost held."""
    rows = Spending.objects.values_list("tokens", "tokens_held", "cost", "cost_held")
    return [row async for row in rows]


async def spend(user: Any, **amounts: Any) -> None:
    await Spending.objects.acreate(owner=user, day=datetime.now(UTC).date(), **amounts)


async def test_every_hop_is_counted_as_the_provider_reports_it(stage: Any, settings: Any) -> None:
    settings.CHAT = {"COST_PER_DAY_PER_USER": "100", "PROFILES": (PRICED,)}
    on = await stage(
        [[Usage(prompt=10, completion=5), *ASKS_THE_TIME], [*says("Now."), Usage(prompt=20, completion=2)]]
    )

    await on.send()
    await on.watch(until=has_ended())

    assert await spent() == [(37, 0, Decimal("0.1"), 0)]


async def test_when_the_day_is_used_up_in_mid_turn_the_turn_fails_and_keeps_what_was_said(stage: Any) -> None:
    on = await stage([[TextDelta(text="Let me look."), *ASKS_THE_TIME, Usage(prompt=900, completion=101)]])

    started = await on.send()
    folded = await on.watch(until=has_ended())

    kinds = [event["kind"] for event in folded.events.values()]
    assert kinds == ["user_message", "assistant_message", "tool_result", "turn_ended"]
    assert folded.events[2]["data"]["text"] == "Let me look."
    assert folded.events[4]["data"]["error"] == {"code": "quota_exceeded", "message": QuotaExceeded.__doc__}
    assert await Turn.objects.values_list("status", "error_code").aget(pk=started.turn_id) == (
        "failed",
        "quota_exceeded",
    )
    assert len(on.model.requests) == 1
    assert await spent() == [(1_001, 0, 0, 0)]


async def test_where_no_usage_is_reported_it_is_estimated(stage: Any) -> None:
    on = await stage([says("x" * 400)])

    await on.send("y" * 40)
    await on.watch(until=has_ended())

    [(tokens, held, _, _)] = await spent()
    assert 110 <= tokens < 1_000
    assert held == 0


async def test_a_report_that_nothing_was_used_is_not_believed(stage: Any) -> None:
    """Some servers have the fields and never fill them, and limits must hold there, too."""
    on = await stage([[*says("x" * 400), Usage()]])

    await on.send("y" * 40)
    await on.watch(until=has_ended())

    [(tokens, held, _, _)] = await spent()
    assert 110 <= tokens < 1_000
    assert held == 0


@pytest.mark.parametrize(("error", "costs"), [(BadRequest(), False), (Truncated(), True)])
async def test_a_call_that_was_refused_costs_nothing_any_other_does(
    stage: Any, error: Exception, *, costs: bool
) -> None:
    on = await stage([[error]])

    await on.send()
    await on.watch(until=has_ended())

    [(tokens, held, _, _)] = await spent()
    assert (tokens > 0, held) == (costs, 0)


async def test_what_a_stopped_answer_had_said_is_counted_and_nothing_stays_held(stage: Any) -> None:
    on = await stage([[TextDelta(text="x" * 400), asyncio.Event()]])

    started = await on.send()
    await on.watch(until=lambda folded: bool(folded.draft))
    [(before, held_before, _, _)] = await spent()
    await in_thread(stop_turn, on.principal, started.turn_id)
    await on.watch(until=has_ended())

    [(tokens, held, _, _)] = await spent()
    assert before == 0
    assert held_before > 30_000
    assert 100 <= tokens < 1_000
    assert held == 0


@pytest.mark.parametrize(("losses", "replies"), [(0, [[*says("All of it."), Usage(prompt=20, completion=5)]]), (1, [])])
async def test_what_a_lost_process_held_keeps_nobody_from_going_on(
    stage: Any, settings: Any, losses: int, replies: Any
) -> None:
    """R10: the turn goes on, or ends, elsewhere; and its user is not refused until midnight."""
    settings.CHAT = {**settings.CHAT, "LEASE": 0.2, "LEASE_RENEWAL": 0.05}
    on = await stage(replies)
    payer, lost = Payer(on.user.pk), uuid4()
    hold = limits.hold_for(payer, [0], turn_id=lost, attempt=1, most=Amount(128_000), prompt=Amount(30))
    await in_thread(limits.reserve, payer, hold)

    await left(on, id=lost, losses=losses)
    folded = await on.watch(until=has_ended())

    status = folded.events[max(folded.events)]["data"]["status"]
    so_far = 30 + 2
    assert (status, await spent()) == (
        ("failed", [(so_far, 0, 0, 0)]) if losses else ("completed", [(so_far + 25, 0, 0, 0)])
    )


async def test_without_a_limit_by_day_nothing_is_noted(stage: Any, settings: Any) -> None:
    settings.CHAT = {"TURNS_PER_MINUTE_PER_USER": 10}
    on = await stage([says("Hello")])

    await on.send()
    await on.watch(until=has_ended())

    assert await spent() == []


class Later:
    """Somebody who writes when told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Future[Any]]] = []
        self.asked = asyncio.Event()

    def __call__(self, write: Callable[[], T], /) -> Future[T]:
        result: Future[T] = Future()
        result.set_running_or_notify_cancel()
        self.jobs.append((write, result))
        self.asked.set()
        return result

    def work(self) -> None:
        """Do what was asked."""
        write, result = self.jobs.pop(0)
        try:
            result.set_result(write())
        except QuotaExceeded as error:
            result.set_exception(error)


@pytest.mark.parametrize("used", [0, 1_000])
async def test_a_stop_while_it_is_being_reserved_leaves_nothing_held(
    django_user_model: Any, async_db: None, used: int
) -> None:
    user = await django_user_model.objects.acreate(username="ada")
    await spend(user, tokens=used)
    later, scripted = Later(), ScriptedModel([])
    model = with_limits(scripted, place=PLACE, payer=Payer(user.pk), run=later, **PAID)
    asking = asyncio.ensure_future(anext(model.stream(QUESTION)))
    await later.asked.wait()

    asking.cancel()
    await asyncio.wait([asking])
    while later.jobs:
        await in_thread(later.work)

    assert asking.cancelled()
    assert scripted.requests == []
    assert await spent() == [(used, 0, 0, 0)]


async def test_a_reader_who_leaves_closes_the_call_before_it_is_settled(django_user_model: Any, async_db: None) -> None:
    user = await django_user_model.objects.acreate(username="ada")
    later, scripted = Later(), ScriptedModel([says("One", "Two")])
    model = with_limits(scripted, place=PLACE, payer=Payer(user.pk), run=later, **PAID)

    async with aclosing(model.stream(QUESTION)) as deltas:
        first = asyncio.ensure_future(anext(deltas))
        await later.asked.wait()
        await in_thread(later.work)
        await first
        assert later.jobs == []

    assert scripted.endings == ["closed"]
    assert len(later.jobs) == 1


def test_the_most_a_call_may_use_is_bounded_by_its_own_limit_and_by_the_window() -> None:
    bounded = ChatRequest(messages=(UserMessage(text="漢" * 10),), sampling=Sampling(max_tokens=70))
    unbounded = ChatRequest(messages=bounded.messages)
    with_tools = ChatRequest(
        messages=bounded.messages, tools=(ToolSpec(name="t", description="x" * 99, parameters={}),)
    )
    endless = ChatRequest(messages=(UserMessage(text="x" * 9_000),))

    assert most(bounded, window=1_000).completion == 70
    assert 30 <= most(bounded, window=1_000).prompt < 100  # a token has at least a byte
    assert 900 < most(unbounded, window=1_000).completion <= 1_000
    assert most(with_tools, window=1_000).prompt > most(unbounded, window=1_000).prompt + 99
    assert most(endless, window=1_000) == Usage(prompt=1_000, completion=0)
