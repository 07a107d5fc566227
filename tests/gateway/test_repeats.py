"""The same request again, and who leaves: one turn, one model call, the same answer."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from access.keys import create_key
from history.models import Turn
from llm.scripted import says
from llm.types import TextDelta, Usage
from streaming.answer import until_ended
from tests.asgi import Exchange, ask, asking
from tests.gateway.conftest import ADDRESS, SAY_HI, text

KEYED = {"Idempotency-Key": "k"}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": SAY_HI, **fields}


@pytest.mark.parametrize("streams", [False, True])
async def test_two_at_once_with_one_key_are_one_turn(door: Any, streams: bool) -> None:
    """R3."""
    more = asyncio.Event()
    at = await door([(TextDelta(text="One "), more, *says("two."), Usage(prompt=1, completion=2))])

    both = [
        asyncio.create_task(ask("POST", ADDRESS, headers={**at.headers, **KEYED}, body=body(stream=streams)))
        for _ in range(2)
    ]
    await at.asked()
    more.set()
    first, second = await asyncio.gather(*both)

    assert first.status == second.status == 200
    assert b"two." in first.body
    assert first.headers["x-request-id"] == second.headers["x-request-id"]
    assert len(at.on.model.requests) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_what_is_finished_is_replayed_byte_for_byte(door: Any, streams: bool) -> None:
    """R3."""
    at = await door([says("One two.")])

    answers = [await ask("POST", ADDRESS, headers={**at.headers, **KEYED}, body=body(stream=streams)) for _ in range(3)]

    assert answers[0].body
    assert answers[1].body == answers[2].body
    assert streams or answers[0].body == answers[1].body
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]


@pytest.mark.parametrize("streams", [False, True])
async def test_what_is_finished_is_replayed_also_when_its_model_is_not_offered_any_more(
    door: Any, streams: bool
) -> None:
    """R3: nothing that would refuse a new turn is in the way."""
    at = await door([says("One two.")])
    asked = {"headers": {**at.headers, **KEYED}, "body": body(model="old", stream=streams)}

    with override_settings(CHAT={"PROFILES": ({"name": "old", "adapter": "demo"},)}):
        first = await ask("POST", ADDRESS, **asked)
    again = await ask("POST", ADDRESS, **asked)
    anew = await ask("POST", ADDRESS, headers=at.headers, body=asked["body"])

    assert (first.status, again.status, anew.status) == (200, 200, 404)
    assert b"One two." in again.body
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_stream_that_was_cut_is_joined_again_from_its_beginning(door: Any) -> None:
    """R6, R11."""
    more = asyncio.Event()
    at = await door([(TextDelta(text="One "), more, *says("two."))])

    async with asking("POST", ADDRESS, headers={**at.headers, **KEYED}, body=body(stream=True)) as cut:
        while b"One " not in cut.body:
            await cut.read()
    rejoined = asyncio.create_task(at.stream(extra_headers=KEYED))
    more.set()

    assert text(await rejoined) == "One two."
    assert len(at.on.model.requests) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_who_leaves_before_the_first_word_finds_the_answer_later(door: Any, streams: bool) -> None:
    """R11."""
    more = asyncio.Event()
    at = await door([(more, *says("Hi."))])

    exchange = Exchange("POST", ADDRESS, headers={**at.headers, **KEYED}, body=body(stream=streams))
    await at.asked()
    await exchange.leave()
    more.set()

    assert (await at.ask(extra_headers=KEYED)).choices[0].message.content == "Hi."
    assert at.on.model.endings == ["completed"]


async def test_another_body_under_the_same_key_is_refused(door: Any) -> None:
    at = await door([says("Hi.")])
    await at.ask(extra_headers=KEYED)

    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await at.ask([{"role": "user", "content": "Another"}], extra_headers=KEYED)

    assert refused.value.code == "request_conflict"
    assert await Turn.objects.acount() == 1


async def test_a_key_of_somebody_else_shows_nothing(door: Any) -> None:
    at = await door([says("Hi."), says("Hello Bob.")])
    other = await sync_to_async(_bob)()
    await at.ask(extra_headers=KEYED)

    theirs = await at.client.with_options(api_key=other).chat.completions.create(
        model="demo", messages=SAY_HI, extra_headers=KEYED
    )

    assert theirs.choices[0].message.content == "Hello Bob."


def _bob() -> str:
    from django.contrib.auth import get_user_model

    return create_key(get_user_model().objects.create_user("bob")).text


@pytest.mark.parametrize(("headers", "retry"), [(KEYED, "true"), ({}, "false")])
async def test_who_waits_too_long_is_told_to_come_back_which_helps_only_with_a_key(
    door: Any, headers: Any, retry: str
) -> None:
    """A3.12."""
    more = asyncio.Event()
    at = await door([(more, *says("Hi."))])

    with override_settings(CHAT={"ANSWER_TIMEOUT": 0.01}), pytest.raises(openai.InternalServerError) as late:
        await at.ask(extra_headers=headers)
    more.set()

    turn = await Turn.objects.aget()
    assert (late.value.status_code, late.value.code) == (504, "still_running")
    assert str(turn.pk) in late.value.message
    assert late.value.response.headers["x-should-retry"] == retry
    assert late.value.response.headers["retry-after"] == "5"
    if headers:
        assert (await at.ask(extra_headers=headers)).choices[0].message.content == "Hi."


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("speaks", [False, True])
async def test_who_says_so_stops_the_turn_by_leaving(door: Any, streams: bool, speaks: bool) -> None:
    at = await door([(*([TextDelta(text="One ")] if speaks else []), asyncio.Event())])
    headers = {**at.headers, "X-Verbatim-On-Disconnect": "cancel"}

    exchange = Exchange("POST", ADDRESS, headers=headers, body=body(stream=streams))
    await at.asked()
    while streams and speaks and b"One " not in exchange.body:
        await exchange.read()
    async with asyncio.timeout(20):
        while not at.on.engine.hub.viewers:  # noqa: ASYNC110 -- the turn begins before its caller waits
            await asyncio.sleep(0)
    await exchange.leave()

    turn = await Turn.objects.aget()
    async with asyncio.timeout(20):
        await until_ended(turn.pk, conversation_id=turn.conversation_id, hub=at.on.engine.hub)
    assert await Turn.objects.filter(status="cancelled").aexists()
    assert at.on.model.endings == ["closed"]


async def test_what_is_to_happen_when_one_leaves_is_one_of_two_words(door: Any) -> None:
    at = await door()

    with pytest.raises(openai.BadRequestError) as refused:
        await at.ask(extra_headers={"X-Verbatim-On-Disconnect": "explode"})

    assert refused.value.param == "X-Verbatim-On-Disconnect"
