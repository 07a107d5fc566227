"""Whatever goes wrong, OpenAI's own client raises the class that is meant for it, before a stream and in its middle."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client, override_settings

from access.errors import QuotaExceeded
from access.keys import create_key
from access.principals import Scope
from history.models import Turn
from llm import errors as model
from llm.types import TextDelta
from streaming.database import in_thread
from streaming.turns import stop_turn
from tests.gateway.conftest import ADDRESS, SAY_HI

JSON = "application/json"


def posts(client: Client, **fields: Any) -> Any:
    return client.post(ADDRESS, {"model": "demo", "messages": SAY_HI, **fields}, JSON)


def error_in(response: Any) -> dict[str, Any]:
    """The envelope's content; there is nothing else in a refusal."""
    told = response.json()
    assert told.keys() == {"error"}
    assert told["error"].keys() == {"message", "type", "param", "code"}
    error: dict[str, Any] = told["error"]
    return error


OF_MODELS = [
    (model.RateLimited, openai.RateLimitError, 429, "rate_limit_exceeded"),
    (QuotaExceeded, openai.RateLimitError, 429, "insufficient_quota"),
    (model.ContextTooLong, openai.BadRequestError, 400, "context_length_exceeded"),
    (model.BadRequest, openai.BadRequestError, 400, "bad_request"),
    (model.Unavailable, openai.InternalServerError, 503, "unavailable"),
    (model.AuthenticationFailed, openai.InternalServerError, 503, "authentication_failed"),
    (model.Truncated, openai.InternalServerError, 502, "truncated"),
    (model.Stalled, openai.InternalServerError, 504, "stalled"),
    (RuntimeError, openai.InternalServerError, 500, "internal"),
]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("error", "raised", "status", "code"), OF_MODELS)
async def test_a_model_that_fails_before_its_first_word_has_a_class_and_a_status(
    door: Any, error: type[Exception], raised: type[openai.APIStatusError], status: int, code: str, streams: bool
) -> None:
    at = await door([(error(),)])

    with pytest.raises(raised) as failed:
        await (at.stream() if streams else at.ask())

    assert (failed.value.status_code, failed.value.code) == (status, code)
    assert type(failed.value) is raised
    assert "X-Verbatim-Conversation-ID" in failed.value.response.headers


async def test_a_model_that_fails_in_the_middle_ends_the_stream_with_an_error_that_the_client_raises(
    door: Any,
) -> None:
    at = await door([(TextDelta(text="One "), model.Truncated())])
    chunks = await at.client.chat.completions.create(model="demo", messages=SAY_HI, stream=True)
    said: list[str] = []

    with pytest.raises(openai.APIError) as failed:
        await _append(chunks, said)

    assert "".join(said) == "One "
    assert (failed.value.code, failed.value.type, failed.value.param) == ("truncated", "server_error", None)
    assert failed.value.message == model.Truncated.__doc__


async def _append(chunks: Any, said: list[str]) -> None:
    async for chunk in chunks:
        said.append(chunk.choices[0].delta.content or "")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_turn_that_is_stopped_is_no_answer_and_is_not_to_be_retried(door: Any, streams: bool) -> None:
    at = await door([(asyncio.Event(),)])

    asking = asyncio.create_task(at.stream() if streams else at.ask())
    await at.asked()
    await in_thread(stop_turn, at.on.principal, (await Turn.objects.aget()).pk)

    with pytest.raises(openai.ConflictError) as stopped:
        await asking
    assert stopped.value.code == "cancelled"
    assert stopped.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-wrong"}, {"X-API-Key": "vb_wrong"}])
@pytest.mark.django_db
def test_without_a_key_that_is_one_everything_is_refused(headers: Any) -> None:
    """A3.3."""
    client = Client(headers=headers)

    for response in (posts(client), client.get("/v1/models"), client.get("/v1/models/demo"), client.get("/v1/x")):
        error = error_in(response)
        assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


def test_while_the_database_is_away_nobody_is_let_in_and_all_are_told_to_come_back(ada: Client) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("no route to db.internal")

    with connection.execute_wrapper(away):
        refused = [posts(ada), *(ada.get(f"/v1/{name}") for name in ("models", "models/demo", "x"))]

    assert [(each.status_code, error_in(each)["code"], each["Retry-After"]) for each in refused] == [
        (503, "busy", "5")
    ] * 4
    assert not any(b"db.internal" in each.content for each in refused)


def test_a_browsers_session_is_no_key(user: User) -> None:
    client = Client()
    client.force_login(user)

    assert [posts(client).status_code, client.get("/v1/models").status_code] == [401, 401]


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "X-Session-API-Key"])
def test_a_key_may_come_in_any_of_its_forms(user: User, header: str) -> None:
    """A3.3."""
    key = create_key(user).text

    client = Client(headers={header: f"Bearer {key}" if header == "Authorization" else key})

    assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize("scopes", [[Scope.READ], [Scope.CHAT]])
def test_asking_needs_both_scopes(user: User, scopes: list[Scope]) -> None:
    client = Client(headers={"X-API-Key": create_key(user, scopes=scopes).text})

    response = posts(client)

    assert (response.status_code, error_in(response)["code"]) == (403, "forbidden")
    assert client.get("/v1/models").status_code == (200 if scopes == [Scope.READ] else 403)


WRONG: list[tuple[dict[str, Any], str | None, str]] = [
    ({"model": None}, "model", "invalid_value"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0]", "missing_required_parameter"),
    ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages", "invalid_value"),
    ({"messages": [{"role": "nobody", "content": "Hi"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type", "invalid_value"),
    ({"messages": [{"role": "user", "content": " "}]}, None, "invalid_request"),
    ({"n": 2}, "n", "invalid_value"),
    ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    ({"functions": [{}]}, "functions", "unsupported_parameter"),
    ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
    ({"stream": "yes"}, "stream", "invalid_value"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "code"), WRONG)
def test_what_is_wrong_is_named(ada: Client, fields: dict[str, Any], param: str | None, code: str) -> None:
    """A3.10."""
    response = posts(ada, **fields)

    error = error_in(response)
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, code)
    assert not Turn.objects.exists()


def test_an_unknown_part_and_a_missing_message_of_a_user_have_their_sentences(ada: Client) -> None:
    """A3.10."""
    part = posts(ada, messages=[{"role": "user", "content": [{"type": "smell"}]}])
    nobody = posts(ada, messages=[{"role": "system", "content": "Be brief."}])

    assert error_in(part)["message"] == "Unsupported content part type: smell"
    assert error_in(nobody)["message"] == "At least one user message is required."


LONG = "x" * 10_000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": LONG, "content": "Hi"}]}, "messages[0].role"),
        ({"tool_choice": LONG}, "tool_choice"),
        ({"tool_choice": f" - at `$.{LONG}`"}, "tool_choice"),
    ],
    ids=["role", "tool_choice", "what looks like a place"],
)
def test_what_is_wrong_is_not_repeated_in_full(ada: Client, fields: dict[str, Any], param: str) -> None:
    response = posts(ada, **fields)

    assert (response.status_code, error_in(response)["param"]) == (400, param)
    assert len(response.content) < 1_000


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"", rb'{"model": "\ud83d"}'])
def test_what_is_no_request_is_refused(ada: Client, content: bytes) -> None:
    response = ada.post(ADDRESS, content, JSON)

    assert (response.status_code, error_in(response)["type"]) == (400, "invalid_request_error")


def test_a_request_may_be_larger_than_others_but_not_without_bound(ada: Client) -> None:
    with override_settings(CHAT={"GATEWAY_MESSAGE_BYTES": 300_000, "MAX_TEXT": 400_000, "MAX_MESSAGE_BYTES": 1}):
        fits = posts(ada, messages=[], padding="x" * 299_000)
        larger = posts(ada, messages=[], padding="x" * 300_000)

    assert (error_in(fits)["param"], error_in(larger)["code"]) == ("messages", "text_too_long")


@pytest.mark.parametrize("name", ["huge", "", "verbatim_demo", "x" * 1000])
def test_an_unknown_model_is_not_found(ada: Client, name: str) -> None:
    """A3.5."""
    response = posts(ada, model=name)

    error = error_in(response)
    assert (response.status_code, error["code"]) == (404, "model_not_found")
    assert name[:100] in error["message"]
    assert "GET /v1/models" in error["message"]


@pytest.mark.parametrize("named", ["x", "0b6c6f0e-6a43-4a0e-9d3c-1f6f0d9e2a51"])
def test_a_conversation_that_is_not_there_is_not_found(ada: Client, named: str) -> None:
    response = ada.post(
        ADDRESS, {"model": "demo", "messages": SAY_HI}, JSON, headers={"X-Verbatim-Conversation-ID": named}
    )

    assert (response.status_code, error_in(response)["code"]) == (404, "not_found")


def test_other_addresses_methods_and_kinds_of_body_are_refused_in_the_same_words(ada: Client) -> None:
    nowhere, method, kind = ada.get("/v1/responses"), ada.get(ADDRESS), ada.post(ADDRESS, {"model": "demo"})

    assert [(each.status_code, error_in(each)["code"]) for each in (nowhere, method, kind)] == [
        (404, "not_found"),
        (405, "method_not_allowed"),
        (415, "unsupported_media_type"),
    ]


def test_a_limit_says_when_to_come_back(ada: Client) -> None:
    with override_settings(CHAT={"MAX_TURNS_PER_USER": 0}):
        response = posts(ada)

    error = error_in(response)
    assert (response.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert response["Retry-After"] == "5"
