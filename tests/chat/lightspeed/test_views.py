"""What the door for lightspeed's clients takes, and how it refuses; its streams are tried with real servers."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from access.keys import create_key
from access.principals import Scope
from history.models import Conversation, Event, Status, Turn
from tests.chat.conftest import add_turn, begin_turn

ADDRESS = "/api/v1/ai/streaming_chat/"
INTERRUPT = f"{ADDRESS}interrupt/"
JSON = "application/json"
PROFILES = {"PROFILES": ({"name": "local", "base_url": "http://127.0.0.1:9/v1", "model": "tiny"},)}


def asks(client: Client, query: str = "What is Kubernetes?", /, headers: Any = None, **fields: Any) -> Any:
    """Post it; without an engine the turn stays queued."""
    return client.post(ADDRESS, {"query": query, **fields}, JSON, headers=headers)


def asked() -> str:
    """The message that was stored last."""
    data = Event.objects.filter(kind="user_message").order_by("-seq").values_list("data", flat=True)[0]
    return str(data["text"])


def test_a_question_opens_a_conversation_and_the_answer_is_a_stream_that_no_proxy_keeps(ada: Client) -> None:
    response = asks(ada)

    turn = Turn.objects.get()
    assert response.status_code == 200
    assert response.streaming
    expected = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
        "X-Verbatim-Turn": str(turn.pk),
        "X-Verbatim-Conversation": str(turn.conversation_id),
    }
    assert {name: response[name] for name in expected} == expected
    assert "Idempotency-Replayed" not in response
    assert (turn.status, turn.request_id, asked()) == (Status.QUEUED, None, "What is Kubernetes?")


def test_a_question_goes_into_the_conversation_it_names(ada: Client, conversation: Conversation) -> None:
    asks(ada, conversation_id=str(conversation.pk))

    assert Turn.objects.get().conversation_id == conversation.pk


def test_null_is_as_good_as_nothing(ada: Client) -> None:
    names = ("conversation_id", "provider", "model", "system_prompt", "attachments", "no_tools", "media_type")

    response = asks(ada, generate_topic_summary=None, **dict.fromkeys(names))

    assert response["Content-Type"] == "text/event-stream"
    assert Turn.objects.get().options == {"profile": "demo"}


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json", "text/plain", "image/png", "nonsense"])
def test_what_a_client_accepts_does_not_matter(ada: Client, accept: str) -> None:
    assert asks(ada, headers={"Accept": accept}).status_code == 200


def test_text_can_be_asked_for(ada: Client) -> None:
    assert asks(ada, media_type="text/plain")["Content-Type"] == "text/plain; charset=utf-8"
    assert asks(ada, media_type="application/json")["Content-Type"] == "text/event-stream"


def test_the_model_is_found_by_its_provider(ada: Client) -> None:
    with override_settings(CHAT=PROFILES):
        asks(ada, provider="demo", model="demo", no_tools=True, generate_topic_summary=True)
        asks(ada, provider="direct", model="tiny")

    first, second = Turn.objects.order_by("created_at")
    assert (first.options, second.options) == ({"profile": "demo", "no_tools": True}, {"profile": "local"})


def test_attachments_of_text_become_part_of_the_message(ada: Client) -> None:
    attachments = [
        {"attachment_type": "configuration", "content_type": "application/yaml", "content": "kind: Pod\n"},
        {"attachment_type": "log", "content_type": "Text/Plain; charset=utf-8", "content": "```\n````x"},
    ]

    asks(ada, "What is wrong?", attachments=attachments)

    assert asked() == (
        "What is wrong?\n\n"
        "Attachment 1: configuration (application/yaml)\n```\nkind: Pod\n```\n\n"
        "Attachment 2: log (text/plain)\n`````\n```\n````x\n`````"
    )


def test_a_system_prompt_needs_the_scope_admin(user: User, ada: Client) -> None:
    operator = Client(headers={"X-API-Key": create_key(user, scopes=list(Scope)).text})

    refused = asks(ada, system_prompt="Be brief.")
    taken = asks(operator, system_prompt="Be brief.")

    assert refused.status_code == 403
    assert refused.json()["detail"]["cause"].startswith("forbidden: ")
    assert taken.status_code == 200
    assert Turn.objects.get().options == {"profile": "demo", "system": "Be brief."}


@pytest.mark.parametrize("field", ["vector_store_ids", "shield_ids", "solr", "queries", "Query", "detail"])
def test_an_unknown_field_is_named_and_refused(ada: Client, field: str) -> None:
    response = asks(ada, **{field: []})

    told = response.json()
    assert (response.status_code, told.pop("detail")["response"]) == (400, "The request is malformed")
    assert told == {field: "Unknown field."} or field == "detail"
    assert not Turn.objects.exists()


IMPROPER: list[tuple[dict[str, Any], str]] = [
    ({"conversation_id": "x"}, "Improper conversation ID 'x'"),
    ({"conversation_id": ""}, "Improper conversation ID ''"),
    ({"model": "tiny"}, "Provider must be specified if model is specified"),
    ({"provider": "direct"}, "Model must be specified if provider is specified"),
    ({"media_type": "text/html"}, "media_type must be either 'application/json' or 'text/plain'"),
    ({"query": None}, "query: This field may not be null."),
    ({"query": 1}, "query: Not a valid string."),
    ({"no_tools": "perhaps"}, "no_tools: Must be a valid boolean."),
    ({"attachments": [{"attachment_type": "log", "content_type": "image/png", "content": ""}]},
     "attachments: 0: Attachments of type 'image/png' cannot be read."),
    ({"attachments": [{"attachment_type": "a\nb", "content_type": "text/plain", "content": ""}]},
     "attachments: 0: An attachment_type has 1 to 100 letters, digits, spaces and _.+-"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "sentence"), IMPROPER)
def test_a_value_that_does_not_fit_is_refused_with_422(ada: Client, fields: dict[str, Any], sentence: str) -> None:
    response = ada.post(ADDRESS, {"query": "Hi", **fields}, JSON)

    assert response.status_code == 422
    assert response.json() == {
        "detail": {"response": "Invalid attribute value", "cause": f"invalid_request: {sentence}"}
    }
    assert not Turn.objects.exists()


def test_a_query_is_required(ada: Client) -> None:
    response = ada.post(ADDRESS, {}, JSON)

    assert (response.status_code, response.json()["detail"]["cause"]) == (
        422,
        "invalid_request: query: This field is required.",
    )


@pytest.mark.parametrize("body", [b"{", rb'{"query": "\ud83d"}', rb'{"query": "a\u0000b"}', b'{"query": " "}'])
def test_what_is_no_message_is_refused_with_400(ada: Client, body: bytes) -> None:
    response = ada.post(ADDRESS, body, JSON)

    assert response.status_code == 400
    assert response.json()["detail"]["cause"].startswith("invalid_request: ")


def test_a_message_with_its_attachments_may_be_only_so_long(ada: Client) -> None:
    attachment = {"attachment_type": "log", "content_type": "text/plain", "content": "x" * 50}

    with override_settings(CHAT={"MAX_TEXT": 60}):
        alone, together = asks(ada, "x" * 60), asks(ada, "x" * 10, attachments=[attachment])

    assert (alone.status_code, together.status_code) == (200, 413)
    assert together.json()["detail"]["response"] == "Prompt is too long"


@pytest.mark.parametrize("key", ["", "a b", "x" * 129])
def test_a_key_for_the_turn_that_is_none_is_refused(ada: Client, key: str) -> None:
    assert asks(ada, headers={"Idempotency-Key": key}).status_code == 400


def test_an_unknown_model_is_not_found(ada: Client) -> None:
    response = asks(ada, provider="direct", model="huge")

    assert response.status_code == 404
    assert response.json() == {
        "detail": {"response": "Not found", "cause": "unknown_model: There is no such model. Choose another one."}
    }


def test_a_foreign_conversation_answers_like_a_missing_one(bob: Client, conversation: Conversation) -> None:
    foreign, missing = (asks(bob, conversation_id=str(told)) for told in (conversation.pk, uuid4()))

    assert foreign.status_code == 404
    assert (foreign.content, dict(foreign.headers)) == (missing.content, dict(missing.headers))
    assert not Turn.objects.exists()


def test_a_second_question_is_refused_with_the_turn_that_is_being_answered(
    ada: Client, conversation: Conversation
) -> None:
    turn = begin_turn(conversation)

    response = asks(ada, conversation_id=str(conversation.pk))

    assert response.status_code == 409
    assert response.json()["detail"]["cause"].endswith(f" Turn: {turn.pk}")


def test_too_many_answers_at_once_are_refused_with_429(ada: Client) -> None:
    with override_settings(CHAT={"MAX_TURNS_PER_USER": 1}):
        asks(ada)
        refused = asks(ada, "More")

    assert (refused.status_code, refused.json()["detail"]["response"]) == (429, "The quota has been exceeded")
    assert int(refused["Retry-After"]) > 0


def test_the_same_request_again_is_the_same_turn_whatever_way_it_can_be_told(user: User, ada: Client) -> None:
    browser = Client()
    browser.force_login(user)

    first = asks(ada, headers={"Idempotency-Key": "k"})["X-Verbatim-Turn"]
    by_key = asks(ada, headers={"Idempotency-Key": "k"}, media_type="text/plain")["X-Verbatim-Turn"]
    by_position = asks(ada, headers={"Last-Event-ID": f"{first}:1.0"})["X-Verbatim-Turn"]
    by_content = asks(browser)["X-Verbatim-Turn"]
    by_nothing = asks(ada)["X-Verbatim-Turn"]

    assert first == by_key == by_position == by_content
    assert by_nothing != first
    assert Turn.objects.count() == 2


def test_another_message_under_the_same_key_is_refused(ada: Client) -> None:
    asks(ada, headers={"Idempotency-Key": "k"})

    refused = asks(ada, "Another one", headers={"Idempotency-Key": "k"})

    assert (refused.status_code, refused.json()["detail"]["cause"].split(":")[0]) == (422, "request_conflict")


def test_a_session_needs_the_csrf_token(user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.get("/")
    token = client.cookies["csrftoken"].value

    without, with_it = asks(client), asks(client, headers={"X-CSRFToken": token})

    assert (without.status_code, with_it.status_code) == (403, 200)
    assert without.json()["detail"]["cause"].startswith("forbidden: ")


def interrupts(client: Client, request_id: Any) -> Any:
    return client.post(INTERRUPT, {"request_id": request_id}, JSON)


def told(turn_id: UUID, *, interrupted: bool, message: str) -> dict[str, Any]:
    return {"request_id": str(turn_id), "interrupted": interrupted, "message": message}


def test_an_interrupt_stops_a_turn_once_and_may_be_repeated(ada: Client, conversation: Conversation) -> None:
    turn = begin_turn(conversation)

    answers = [interrupts(ada, str(turn.pk)) for _ in range(2)]

    expected = told(turn.pk, interrupted=True, message="Streaming request interrupted")
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, expected)] * 2
    assert Turn.objects.get().status == Status.STOPPING


def test_what_is_over_cannot_be_interrupted(ada: Client, conversation: Conversation) -> None:
    turn = add_turn(conversation)

    answer = interrupts(ada, str(turn.pk))

    sentence = "Streaming request already completed; nothing to interrupt"
    assert (answer.status_code, answer.json()) == (200, told(turn.pk, interrupted=False, message=sentence))


def test_a_foreign_turn_cannot_be_interrupted_and_answers_like_a_missing_one(
    bob: Client, conversation: Conversation
) -> None:
    turn = begin_turn(conversation)

    foreign, missing = interrupts(bob, str(turn.pk)), interrupts(bob, str(uuid4()))

    assert foreign.status_code == 404
    assert (foreign.content, dict(foreign.headers)) == (missing.content, dict(missing.headers))
    assert Turn.objects.get().status == Status.RUNNING


def test_an_interrupt_of_what_is_no_id_is_improper(ada: Client) -> None:
    improper, unknown = interrupts(ada, "x"), ada.post(INTERRUPT, {"request_id": str(uuid4()), "why": "x"}, JSON)

    assert (improper.status_code, improper.json()["detail"]["cause"]) == (
        422,
        "invalid_request: Improper request ID 'x'",
    )
    assert (unknown.status_code, unknown.json()["why"]) == (400, "Unknown field.")
