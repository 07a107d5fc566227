"""Whole answers as JSON: what is in them, who gets which, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client, override_settings

from access.errors import UnknownModel
from access.keys import create_key
from access.principals import Scope
from history.events import AssistantMessage, EventData, Source, ToolResult, TurnEnded, TurnError, UserMessage
from history.log import appending
from history.models import Conversation, Status, Turn
from llm.errors import ModelError, RateLimited
from llm.scripted import says
from llm.types import Finish, TextDelta, ToolCall, Usage
from streaming import ends
from streaming.database import in_thread
from streaming.turns import delete_conversation, stop_turn
from tests.asgi import Exchange, ask, asking
from tests.chat.conftest import begin_turn
from tests.streaming.conftest import Stage
from web.statuses import OF_FAILED_TURN

CHAT = "/api/v1/ai/chat/"
JSON = "application/json"


# What an answer is


def ended_turn(conversation: Conversation, *events: EventData) -> Turn:
    """A turn with these events after its message."""
    turn = Turn.objects.create(conversation=conversation, owner_id=conversation.owner_id, status=Status.COMPLETED)
    with appending(conversation.pk) as log:
        for event in (UserMessage(text="Hello"), *events):
            log.append(turn.pk, event)
    return turn


def response_of(client: Client, turn: Turn) -> Any:
    return client.get(f"/api/v1/turns/{turn.pk}/response/")


def result(index: int, *sources: Source) -> ToolResult:
    return ToolResult(hop=0, index=index, tool_call_id="c", name="search", content="…", sources=sources)


def test_an_answer_is_what_was_said_over_all_hops_with_every_source_once(
    ada: Client, conversation: Conversation
) -> None:
    here, there = Source("Here", "https://here.example/"), Source("There", "https://there.example/")
    call = ToolCall(id="c", name="search", arguments="{}")
    turn = ended_turn(
        conversation,
        AssistantMessage(hop=0, text="Let me see. ", reasoning="Hm.", tool_calls=(call, call)),
        result(0, here, there),
        result(1, there, here),
        AssistantMessage(hop=1, text="It is \U0001f9ff."),
        TurnEnded(status="completed", finish_reason="stop", usage=Usage(prompt=7, completion=5)),
    )

    response = response_of(ada, turn)

    assert response.status_code == 200
    assert response.content == msgspec.json.encode(
        {
            "conversation_id": conversation.pk,
            "turn": turn.pk,
            "response": "Let me see. It is \U0001f9ff.",
            "referenced_documents": [
                {"docs_url": "https://here.example/", "title": "Here"},
                {"docs_url": "https://there.example/", "title": "There"},
            ],
            "truncated": False,
            "status": "completed",
            "finish_reason": "stop",
            "input_tokens": 7,
            "output_tokens": 5,
        }
    )
    assert response["Content-Type"] == JSON
    assert response["Idempotency-Replayed"] == "true"
    assert response["Cache-Control"] == "private, no-store"
    assert response.content == response_of(ada, turn).content


@pytest.mark.parametrize(
    ("ended", "truncated"),
    [
        (TurnEnded(status="completed", finish_reason="stop"), False),
        (TurnEnded(status="completed", finish_reason="tool_limit_reached"), False),
        (TurnEnded(status="completed", finish_reason="length"), True),
        (TurnEnded(status="cancelled", finish_reason="cancelled"), True),
        (TurnEnded(status="cancelled"), True),
    ],
)
def test_an_answer_says_whether_it_was_cut_short(
    ada: Client, conversation: Conversation, ended: TurnEnded, truncated: bool
) -> None:
    turn = ended_turn(conversation, AssistantMessage(hop=0, text="One"), ended)

    body = response_of(ada, turn).json()

    assert (body["response"], body["truncated"], body["status"]) == ("One", truncated, ended.status)
    assert (body["input_tokens"], body["output_tokens"]) == (None, None)


def test_one_that_was_stopped_before_anybody_began_it_has_said_nothing(ada: Client, conversation: Conversation) -> None:
    turn = begin_turn(conversation, Status.QUEUED)
    ada.post(f"/api/v1/turns/{turn.pk}/stop/", {}, JSON)

    body = response_of(ada, turn).json()

    assert (body["response"], body["truncated"], body["status"]) == ("", True, "cancelled")


def model_errors(base: type[ModelError] = ModelError) -> Iterator[type[ModelError]]:
    yield base
    for error in base.__subclasses__():
        yield from model_errors(error)


FAILED = {error.code: str(error.__doc__) for error in model_errors()}
FAILED |= {error.code: error.message for error in vars(ends).values() if isinstance(error, TurnError)}
FAILED |= {UnknownModel.code: str(UnknownModel.__doc__)}


def test_every_way_to_fail_has_a_status() -> None:
    assert set(FAILED) <= OF_FAILED_TURN.keys()


@pytest.mark.parametrize(("code", "message"), FAILED.items())
def test_a_failed_turn_is_a_problem_with_the_status_of_its_error(
    ada: Client, conversation: Conversation, code: str, message: str
) -> None:
    failed = TurnEnded(status="failed", error=TurnError(code=code, message=message))
    turn = ended_turn(conversation, AssistantMessage(hop=0, text="One"), failed)

    response = response_of(ada, turn)

    status = OF_FAILED_TURN[code]
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    assert response.json() == {
        "type": "about:blank",
        "title": status.phrase,
        "status": status,
        "detail": message,
        "code": code,
        "turn": str(turn.pk),
        "conversation": str(conversation.pk),
    }
    assert ("Retry-After" in response) == (code == RateLimited.code)
    assert response["Idempotency-Replayed"] == "true"


def test_an_error_of_another_version_is_the_models_fault(ada: Client, conversation: Conversation) -> None:
    error = TurnError(code="out_of_paper", message="No paper.")
    turn = ended_turn(conversation, TurnEnded(status="failed", error=error))

    response = response_of(ada, turn)

    assert (response.status_code, response.json()["code"]) == (502, "out_of_paper")


def test_a_foreign_turn_is_as_good_as_missing(ada: Client, bob: Client, conversation: Conversation) -> None:
    turn = ended_turn(conversation, TurnEnded(status="completed"))

    foreign, missing = response_of(bob, turn), bob.get(f"/api/v1/turns/{uuid4()}/response/")

    assert response_of(ada, turn).status_code == 200
    assert foreign.status_code == missing.status_code == 404
    assert (foreign.content, foreign.headers) == (missing.content, missing.headers)


# What is refused


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "query: This field is required."),
        ({"query": "hi", "colour": "red"}, "colour: Unknown field."),
        ({"query": "hi", "model": "x"}, "Provider must be specified if model is specified"),
        ({"query": "hi", "conversation_id": "x"}, "Improper conversation ID 'x'"),
        ({"query": " "}, "A message needs a text."),
    ],
)
def test_a_request_of_a_wrong_shape_is_a_problem(ada: Client, body: Any, detail: str) -> None:
    response = ada.post(CHAT, body, JSON)

    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert (response.json()["code"], response.json()["detail"]) == ("invalid_request", detail)
    assert Turn.objects.count() == 0


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 129, "schlüssel"])
def test_a_key_of_a_wrong_shape_is_a_problem(ada: Client, key: str) -> None:
    response = ada.post(CHAT, {"query": "hi"}, JSON, headers={"Idempotency-Key": key})

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert Turn.objects.count() == 0


@pytest.mark.parametrize("scopes", [(Scope.READ,), (Scope.CHAT,)])
def test_who_asks_and_wants_to_know_needs_both_scopes(user: User, scopes: tuple[Scope]) -> None:
    client = Client(headers={"X-API-Key": create_key(user, scopes=scopes).text})

    assert client.post(CHAT, {"query": "hi"}, JSON).status_code == 403
    assert Turn.objects.count() == 0


def test_a_foreign_conversation_is_as_good_as_a_missing_one(bob: Client, conversation: Conversation) -> None:
    foreign, missing = (
        bob.post(CHAT, {"query": "hi", "conversation_id": str(where)}, JSON) for where in (conversation.pk, uuid4())
    )

    assert foreign.status_code == missing.status_code == 404
    assert (foreign.content, foreign.headers) == (missing.content, missing.headers)


# Who waits


async def key_of(on: Stage) -> dict[str, str]:
    """Headers of Ada's programs."""
    return {"X-API-Key": (await sync_to_async(create_key)(on.user)).text}


async def all_wait(on: Stage, *exchanges: Exchange) -> list[Exchange]:
    """Until each of them is at the end of the line."""
    async with asyncio.timeout(20):
        while len(on.engine.hub.viewers) < len(exchanges):  # noqa: ASYNC110 -- nobody tells that somebody waits
            await asyncio.sleep(0)
    return list(exchanges)


async def test_a_question_gets_its_answer_and_its_turns_id(stage: Any) -> None:
    on = await stage([says("One ", "two")])

    answer = await ask("POST", CHAT, headers=await key_of(on), body={"query": "hi"})

    turn = await Turn.objects.aget()
    assert (answer.status, answer.json["response"], answer.json["turn"]) == (200, "One two", str(turn.pk))
    assert answer.json["conversation_id"] == str(turn.conversation_id)
    assert answer.headers["x-verbatim-turn"] == str(turn.pk)
    assert answer.headers["x-verbatim-conversation"] == str(turn.conversation_id)
    assert answer.headers["content-type"] == JSON
    assert answer.headers["cache-control"] == "private, no-store"
    assert "idempotency-replayed" not in answer.headers


async def test_one_key_is_one_answer_whoever_waits_and_whoever_comes_later(stage: Any) -> None:
    """R3."""
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")]])
    request: dict[str, Any] = {"headers": {**await key_of(on), "Idempotency-Key": "k"}, "body": {"query": "hi"}}

    callers = await all_wait(on, *(Exchange("POST", CHAT, **request) for _ in range(8)))
    more.set()
    answers = [await caller.whole() for caller in callers]
    late = await ask("POST", CHAT, **request)
    other = await ask("POST", CHAT, headers=request["headers"], body={"query": "ho"})
    by_turn = await ask("GET", f"/api/v1/turns/{late.json['turn']}/response/", headers=request["headers"])

    assert {answer.status for answer in answers} == {late.status} == {200}
    assert {answer.body for answer in answers} == {late.body} == {by_turn.body}
    assert not any("idempotency-replayed" in answer.headers for answer in answers)
    assert late.headers == {**answers[0].headers, "idempotency-replayed": "true"}
    assert (other.status, other.json["code"]) == (422, "request_conflict")
    assert len(on.model.requests) == 1


async def test_without_a_key_every_request_is_one_of_its_own(stage: Any) -> None:
    """Neither `Last-Event-ID` nor the same words make it a repetition: this is not the door of a browser."""
    on = await stage([says("One."), says("Two.")])
    headers = await key_of(on)
    first = await ask("POST", CHAT, headers=headers, body={"query": "hi"})

    position = f"{first.json['turn']}:1.0"
    second = await ask("POST", CHAT, headers={**headers, "Last-Event-ID": position}, body={"query": "hi"})

    assert (first.json["response"], second.json["response"]) == ("One.", "Two.")


async def test_the_key_of_somebody_else_shows_nothing(stage: Any) -> None:
    on = await stage([says("For Ada."), says("For Bob.")])
    key = {"Idempotency-Key": "k"}
    bob = await sync_to_async(User.objects.create_user)("bob")
    first = await ask("POST", CHAT, headers={**await key_of(on), **key}, body={"query": "hi"})

    bobs = {"X-API-Key": (await sync_to_async(create_key)(bob)).text, **key}
    second = await ask("POST", CHAT, headers=bobs, body={"query": "hi"})

    assert second.json["response"] == "For Bob."
    assert second.json["turn"] != first.json["turn"]
    assert "idempotency-replayed" not in second.headers


async def test_who_cannot_wait_longer_is_told_to_come_back_and_gets_the_answer_then(stage: Any, settings: Any) -> None:
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")]])
    headers = {**await key_of(on), "Idempotency-Key": "k"}

    with override_settings(CHAT={**settings.CHAT, "ANSWER_TIMEOUT": 0.05}):
        early = await ask("POST", CHAT, headers=headers, body={"query": "hi"})
        turn = early.json["turn"]
        by_turn = await ask("GET", f"/api/v1/turns/{turn}/response/", headers=headers)
    more.set()
    late = await ask("POST", CHAT, headers=headers, body={"query": "hi"})

    for refused in (early, by_turn):
        assert (refused.status, refused.headers["retry-after"], refused.json["code"]) == (504, "5", "still_running")
        assert refused.json["turn"] == turn
    assert early.headers["x-verbatim-turn"] == turn
    assert (late.status, late.json["response"], late.json["turn"]) == (200, "One two", turn)
    assert len(on.model.requests) == 1


async def test_a_turn_that_fails_while_it_is_waited_for_is_a_problem(stage: Any) -> None:
    on = await stage([[TextDelta(text="One "), RateLimited()]])
    headers = {**await key_of(on), "Idempotency-Key": "k"}

    failed = await ask("POST", CHAT, headers=headers, body={"query": "hi"})
    again = await ask("POST", CHAT, headers=headers, body={"query": "hi"})

    assert (failed.status, failed.json["code"], failed.headers["retry-after"]) == (429, "rate_limited", "5")
    assert failed.json["turn"] == failed.headers["x-verbatim-turn"]
    assert (again.status, again.body) == (failed.status, failed.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(on.model.requests) == 1


def held() -> list[Any]:
    """A reply that begins and does not go on."""
    return [TextDelta(text="One "), asyncio.Event()]


async def waits(on: Stage) -> Exchange:
    """Somebody who waits for an answer that does not come by itself."""
    (caller,) = await all_wait(on, Exchange("POST", CHAT, headers=await key_of(on), body={"query": "hi"}))
    return caller


async def test_a_stopped_turn_ends_the_waiting(stage: Any) -> None:
    on = await stage([held()])

    caller = await waits(on)
    turn = await Turn.objects.aget()
    on.conversation_id = turn.conversation_id
    await on.watch(until=lambda folded: folded.draft == "One ")
    await in_thread(stop_turn, on.principal, turn.pk)
    answer = await caller.whole()

    assert (answer.status, answer.json["response"]) == (200, "One ")
    assert (answer.json["status"], answer.json["truncated"]) == ("cancelled", True)


async def test_a_deleted_conversation_ends_the_waiting(stage: Any) -> None:
    on = await stage([held()])

    caller = await waits(on)
    turn = await Turn.objects.aget()
    await in_thread(delete_conversation, on.principal, turn.conversation_id)
    answer = await caller.whole()

    # Its turn is stopped first: who waits may read that end just before it is gone.
    assert (answer.status, answer.json.get("code"), answer.json.get("status")) in (
        (404, "not_found", 404),
        (200, None, "cancelled"),
    )


async def test_the_end_of_the_process_ends_the_waiting(stage: Any) -> None:
    on = await stage([held()])

    caller = await waits(on)
    on.engine.hub.close()
    answer = await caller.whole()

    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "draining", "5")


async def test_the_end_of_rights_ends_the_waiting(stage: Any, settings: Any) -> None:
    """S3."""
    settings.CHAT = {**settings.CHAT, "RECHECK": 0.05}
    on = await stage([held()])

    caller = await waits(on)
    await User.objects.filter(pk=on.user.pk).aupdate(is_active=False)
    answer = await caller.whole()

    assert (answer.status, answer.json["code"]) == (401, "access_ended")
    assert answer.headers["www-authenticate"] == "Bearer"
    await User.objects.filter(pk=on.user.pk).aupdate(is_active=True)


async def test_who_hangs_up_leaves_nothing_behind_and_the_turn_goes_on(stage: Any) -> None:
    """R11."""
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")]])
    request: dict[str, Any] = {"headers": {**await key_of(on), "Idempotency-Key": "k"}, "body": {"query": "hi"}}

    async with asking("POST", CHAT, **request) as caller:
        await all_wait(on, caller)
    left = set(on.engine.hub.viewers)
    more.set()
    late = await ask("POST", CHAT, **request)

    assert left == set()
    assert late.json["response"] == "One two"
    assert len(on.model.requests) == 1


async def test_what_goes_wrong_is_logged_and_told_without_our_inside(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    on = await stage([says("One.")])
    answered = await ask("POST", CHAT, headers=await key_of(on), body={"query": "hi"})
    turn = await Turn.objects.aget()
    await turn.events.filter(kind="turn_ended").aupdate(data={"status": "secret"})

    broken = await ask("GET", f"/api/v1/turns/{turn.pk}/response/", headers=await key_of(on))

    assert answered.status == 200
    assert (broken.status, broken.json["code"]) == (500, "internal")
    assert b"secret" not in broken.body
    assert any(record.exc_info for record in caplog.records)
