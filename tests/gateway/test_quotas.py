"""Limits of keys as OpenAI's clients hear of them, and what is told of what was used."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import openai
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse

from access.errors import RateLimited
from access.keys import create_key
from access.models import ApiKey, Spending
from gateway.errors import refusal
from gateway.quotas import duration
from history import conversations
from history.events import Kind
from history.models import Event, Turn
from llm.scripted import says
from llm.types import Finish, ToolCallDelta, Usage
from tests.asgi import ask
from tests.gateway.conftest import ADDRESS, SAY_HI

LEFT = "x-ratelimit-"
SUM = ToolCallDelta(index=0, id="c", name="calculator", arguments='{"expression": "1"}')
PRICED = {"name": "priced", "adapter": "demo", "prices": {"input": 1_000, "output": 10_000}}


def told(headers: Any) -> dict[str, str]:
    """What the headers say of limits."""
    return {name.removeprefix(LEFT): headers[name] for name in sorted(headers) if name.startswith(LEFT)}


async def limit(**limits: Any) -> None:
    await ApiKey.objects.aupdate(**limits)


@pytest.mark.parametrize("streams", [False, True])
async def test_every_answer_to_a_key_with_limits_says_what_is_left(door: Any, streams: bool) -> None:
    at = await door([says("One."), says("Two.")])
    await limit(turns_per_minute=2, tokens_per_day=100_000)
    body = {"model": "demo", "messages": SAY_HI, "stream": streams}

    models = await ask("GET", "/v1/models", headers=at.headers)
    answers = [await ask("POST", ADDRESS, headers=at.headers, body=body) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [told(each.headers)["remaining-requests"] for each in (models, *answers)] == ["2", "1", "0", "0"]
    assert told(models.headers)["reset-requests"] == "0s"
    last = told(answers[2].headers)
    assert (last["limit-requests"], last["limit-tokens"]) == ("2", "100000")
    assert 0 < int(last["remaining-tokens"]) < 100_000
    assert last["reset-requests"] in ("1m0s", "1m1s", *(f"{seconds}s" for seconds in range(30, 60)))
    assert last["reset-tokens"].endswith("s")


async def test_who_has_no_limits_is_told_of_none(door: Any) -> None:
    at = await door([says("One.")])
    await limit(max_turns=5)

    answers = [await ask("POST", ADDRESS, headers=at.headers, body={"model": "demo", "messages": SAY_HI})]
    answers += [await ask("GET", "/v1/models", headers={"Authorization": "Bearer vb_wrong"})]

    assert [answer.status for answer in answers] == [200, 401]
    assert [told(answer.headers) for answer in answers] == [{}, {}]


async def test_who_asks_too_often_gets_the_clients_own_class_and_when_to_come_back(door: Any) -> None:
    at = await door([])
    await limit(turns_per_minute=0)

    with pytest.raises(openai.RateLimitError) as refused:
        await at.ask()

    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "rate_limit_error"
    assert 55 <= int(refused.value.response.headers["Retry-After"]) <= 61
    assert "X-Should-Retry" not in refused.value.response.headers


async def test_a_day_that_is_used_up_in_mid_turn_is_a_quota(door: Any) -> None:
    """A tool's round takes the last that the key has: the turn ends there, as a 429."""
    at = await door([(SUM, Finish(reason="tool_calls"), Usage(prompt=90, completion=10))])
    await limit(tokens_per_day=100)

    with pytest.raises(openai.RateLimitError) as refused:
        await at.ask()
    with pytest.raises(openai.RateLimitError) as again:
        await at.ask()

    assert (refused.value.code, again.value.code) == ("insufficient_quota", "rate_limit_exceeded")
    assert refused.value.response.headers["Retry-After"]
    assert again.value.response.headers["X-Should-Retry"] == "false"
    assert await Spending.objects.values_list("tokens", "tokens_held").aget() == (100, 0)


@pytest.mark.parametrize(("seconds", "is_worth_it"), [(5, True), (120, True), (121, False)])
def test_who_would_wait_until_midnight_is_told_not_to_send_it_again(seconds: int, is_worth_it: bool) -> None:
    headers = refusal(RateLimited(retry_after=seconds)).headers

    assert headers["Retry-After"] == str(seconds)
    assert ("X-Should-Retry" not in headers) == is_worth_it


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (1, "1s"), (60, "1m0s"), (360, "6m0s"), (3_600, "1h0m0s"), (86_399, "23h59m59s")]
)
def test_a_duration_is_written_as_openai_does(seconds: int, text: str) -> None:
    assert duration(seconds) == text


async def test_each_request_tells_what_it_has_used_itself_and_the_admin_shows_the_sum(
    door: Any, django_user_model: type[User]
) -> None:
    """A3.7: of the second turn of a conversation that turn's, with both of its model calls; in the admin what the
    events of the log add up to."""
    first, second = Usage(prompt=12, completion=5), Usage(prompt=30, completion=1)
    at = await door([(*says("One."), first), (SUM, Finish(reason="tool_calls"), second), (*says("Two."), first)])
    await limit(cost_per_day="1000")
    with override_settings(CHAT={"PROFILES": (PRICED,)}):
        raw = await at.client.chat.completions.with_raw_response.create(model="priced", messages=SAY_HI)
        header = {"X-Verbatim-Conversation-ID": raw.headers["X-Verbatim-Conversation-ID"]}
        chunks = await at.stream(model="priced", extra_headers=header, stream_options={"include_usage": True})

    ends = Event.objects.filter(kind=Kind.TURN_ENDED).order_by("seq")
    ended = [data async for data in ends.values_list("data", flat=True)]
    turns = [turn async for turn in Turn.objects.order_by("created_at")]
    root = await sync_to_async(django_user_model.objects.create_superuser)("root")
    in_admin = await sync_to_async(_page_of_key)(root)
    used = [raw.parse().usage.total_tokens, chunks[-1].usage.total_tokens]
    assert used == [17, 48] == [data["usage"]["prompt"] + data["usage"]["completion"] for data in ended]
    assert used == [turn.prompt_tokens + turn.completion_tokens for turn in turns]
    costs = [Decimal(data["cost"]) for data in ended]
    assert costs == [Decimal("0.062"), Decimal("0.102")] == [turn.cost for turn in turns]
    assert f"2 answers, {sum(used)} tokens, ${sum(costs):.6f}" in in_admin
    assert await Spending.objects.values_list("tokens", "cost").aget() == (sum(used), sum(costs))


def _page_of_key(root: User) -> str:
    client = Client()
    client.force_login(root)
    (row,) = ApiKey.objects.all()
    page = client.get(reverse("admin:verbatim_access_apikey_change", args=[row.pk]))
    return page.content.decode()


def test_only_what_was_asked_with_a_key_since_midnight_counts_as_its_use(user: User) -> None:
    key_id, conversation = create_key(user).row.pk, conversations.create(user.pk)
    used = {"conversation": conversation, "owner": user, "status": "completed", "prompt_tokens": 10}
    Turn.objects.create(**used)
    Turn.objects.create(**used, key_id=key_id, origin=Turn.Origin.IMPORTED)
    before = Turn.objects.create(**used, key_id=key_id)
    Turn.objects.filter(pk=before.pk).update(created_at=before.created_at - timedelta(days=1))
    Turn.objects.create(**used, key_id=key_id, completion_tokens=3)

    assert "1 answers, 13 tokens, $0.000000" in _page_of_key(User.objects.create_superuser("root"))
