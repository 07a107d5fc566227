"""Turns over HTTP: how they stand, stopping them, and asking again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone

from access.keys import create_key
from access.principals import Scope
from history import conversations, feedback, log
from history.models import Conversation, Sentiment, Status, Turn
from tests.chat.conftest import CONVERSATIONS, add_turn, begin_turn, queries

JSON = "application/json"
TURNS = "/api/v1/turns/"


def address(turn: Turn, what: str = "") -> str:
    """Where the turn is, or what can be done with it."""
    return f"{TURNS}{turn.pk}/{what}"


def post(client: Client, address: str, **headers: str) -> Any:
    """A POST that says nothing."""
    return client.generic("post", address, headers=headers)


def messages(conversation: Conversation) -> list[str]:
    """What was asked in a conversation, in order."""
    return [entry.data["text"] for entry in log.stretch(conversation.pk, kinds=("user_message",))]


def test_a_turn_tells_how_it_stands(ada: Client, user: User, conversation: Conversation) -> None:
    first, second = add_turn(conversation), add_turn(conversation)
    Turn.objects.filter(pk=second.pk).update(
        parent=first,
        replaces=first,
        request_id="r-1",
        profile="deep",
        status=Status.FAILED,
        error_code="stalled",
        finish_reason="interrupted",
        prompt_tokens=9,
        completion_tokens=3,
        cached_tokens=2,
        reasoning_tokens=1,
        cost=Decimal("0.00120000"),
        started_at=timezone.now(),
    )
    second.refresh_from_db()
    feedback.give(second, owner_id=user.pk, sentiment=Sentiment.NOT_LIKE, comment="No")

    shown = ada.get(address(second)).json()

    assert shown.pop("created_at").endswith("Z")
    assert shown.pop("started_at").endswith("Z")
    assert shown["feedback"].pop("at").endswith("Z")
    assert shown == {
        "id": str(second.pk),
        "conversation": str(conversation.pk),
        "parent": str(first.pk),
        "replaces": str(first.pk),
        "request_id": "r-1",
        "model": "deep",
        "status": "failed",
        "finish_reason": "interrupted",
        "error_code": "stalled",
        "usage": {"prompt": 9, "completion": 3, "cached": 2, "reasoning": 1},
        "cost": "0.0012",
        "ended_at": None,
        "feedback": {"turn": str(second.pk), "sentiment": 1, "comment": "No"},
    }


def test_what_a_turn_has_not_is_null(ada: Client, conversation: Conversation) -> None:
    shown = ada.get(address(begin_turn(conversation, Status.QUEUED))).json()

    absent = ("parent", "replaces", "request_id", "finish_reason", "error_code", "cost", "started_at", "feedback")
    assert [shown[name] for name in absent] == [None] * len(absent)


def test_the_turns_of_a_conversation_come_newest_first_in_pages_that_join(
    ada: Client, user: User, conversation: Conversation
) -> None:
    made = [str(add_turn(conversation).pk) for _ in range(65)]
    Turn.objects.update(created_at=timezone.now())  # a clock that stood still changes nothing
    add_turn(conversations.create(user.pk))
    pages: list[dict[str, Any]] = [ada.get(f"{CONVERSATIONS}{conversation.pk}/turns/").json()]

    while pages[-1]["next"]:
        pages.append(ada.get(pages[-1]["next"]).json())

    assert [len(page["results"]) for page in pages] == [30, 30, 5]
    assert [turn["id"] for page in pages for turn in page["results"]] == made[::-1]
    assert ada.get(pages[1]["previous"]).json()["results"] == pages[0]["results"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("cursor=x", "invalid_cursor"),
        ("cursor=cD14", "invalid_cursor"),
        ("cursor=cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk=", "invalid_cursor"),
        ("status=running", "invalid_request"),
    ],
)
def test_a_page_of_turns_that_makes_no_sense_is_refused(
    ada: Client, conversation: Conversation, query: str, code: str
) -> None:
    response = ada.get(f"{CONVERSATIONS}{conversation.pk}/turns/?{query}")

    assert (response.status_code, response.json()["code"]) == (400, code)


def test_thirty_turns_cost_as_many_queries_as_one(ada: Client, user: User, conversation: Conversation) -> None:
    def ask_and_rate() -> None:
        feedback.give(add_turn(conversation), owner_id=user.pk, sentiment=Sentiment.LIKE, comment="")

    ask_and_rate()
    ada.get(CONVERSATIONS)  # notes the first use of the key
    for_one = queries(ada, f"{CONVERSATIONS}{conversation.pk}/turns/")
    for _ in range(29):
        ask_and_rate()

    assert for_one == queries(ada, f"{CONVERSATIONS}{conversation.pk}/turns/") <= 6


def test_a_running_turn_is_asked_to_stop_once_and_for_all(ada: Client, conversation: Conversation) -> None:
    turn = begin_turn(conversation)

    responses = [post(ada, address(turn, "stop/")) for _ in range(2)]

    assert [(response.status_code, response.json()["status"]) for response in responses] == [(202, "stopping")] * 2


def test_a_turn_that_nobody_has_begun_is_stopped_at_once(ada: Client, conversation: Conversation) -> None:
    turn = begin_turn(conversation, Status.QUEUED)

    responses = [ada.post(address(turn, "stop/"), {}, JSON) for _ in range(2)]

    assert [(response.status_code, response.json()["status"]) for response in responses] == [(200, "cancelled")] * 2
    assert responses[0].json()["ended_at"] is not None
    assert [entry.kind for entry in log.stretch(conversation.pk)] == ["user_message", "turn_ended"]


def test_stopping_what_has_ended_changes_nothing(ada: Client, conversation: Conversation) -> None:
    turn = add_turn(conversation)

    response = post(ada, address(turn, "stop/"))

    assert (response.status_code, response.json()["status"]) == (200, "completed")
    assert len(log.stretch(conversation.pk)) == 3


def test_a_retry_asks_the_old_message_again_in_place_of_the_old_turn(ada: Client, conversation: Conversation) -> None:
    before, turn = add_turn(conversation, "Before"), add_turn(conversation, "Hello  \U0001f9ff")
    Turn.objects.filter(pk=turn.pk).update(parent=before)

    response = post(ada, address(turn, "retry/"))

    shown = response.json()
    assert response.status_code == 201
    assert response["Location"] == f"{TURNS}{shown['id']}/"
    assert (shown["replaces"], shown["parent"], shown["status"]) == (str(turn.pk), str(before.pk), "queued")
    assert messages(conversation) == ["Before", "Hello  \U0001f9ff", "Hello  \U0001f9ff"]


def test_a_retry_is_of_the_same_kind_unless_another_model_is_named(ada: Client, conversation: Conversation) -> None:
    turn = add_turn(conversation)
    Turn.objects.update(profile="deep", options={"profile": "deep", "system": "Be brief.", "no_tools": True})

    with override_settings(CHAT={"PROFILES": [{"name": "fast"}, {"name": "deep"}]}):
        same = post(ada, address(turn, "retry/"))
        post(ada, f"{TURNS}{same.json()['id']}/stop/")
        other = ada.post(address(turn, "retry/"), {"model": "fast"}, JSON)
        post(ada, f"{TURNS}{other.json()['id']}/stop/")
        unknown = ada.post(address(turn, "retry/"), {"model": "none"}, JSON)

    again = Turn.objects.get(pk=same.json()["id"])
    assert (same.json()["model"], other.json()["model"]) == ("deep", "fast")
    assert (again.options["system"], again.options["no_tools"]) == ("Be brief.", True)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_model")


def test_the_same_key_gets_the_same_retry(ada: Client, conversation: Conversation) -> None:
    turn = add_turn(conversation)

    first, again = (post(ada, address(turn, "retry/"), **{"Idempotency-Key": "k-1"}) for _ in range(2))
    other = ada.post(address(turn, "retry/"), {"model": "demo"}, JSON, headers={"Idempotency-Key": "k-1"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert (first.json(), "Idempotency-Replayed" in first.headers) == (again.json(), False)
    assert again["Idempotency-Replayed"] == "true"
    assert first.json()["request_id"] == "k-1"
    assert (other.status_code, other.json()["code"]) == (422, "request_conflict")
    assert Turn.objects.count() == 2


@pytest.mark.parametrize("key", ["", "with space", "x" * 129, "ü"])
def test_a_malformed_key_is_refused(ada: Client, conversation: Conversation, key: str) -> None:
    response = post(ada, address(add_turn(conversation), "retry/"), **{"Idempotency-Key": key})

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert Turn.objects.count() == 1


def test_a_retry_is_refused_while_a_turn_is_running(ada: Client, conversation: Conversation) -> None:
    turn, running = add_turn(conversation), begin_turn(conversation)

    response = post(ada, address(turn, "retry/"))

    assert (response.status_code, response.json()["code"]) == (409, "turn_active")
    assert response.json()["turn"] == str(running.pk)


@pytest.mark.parametrize(
    ("what", "body"),
    [("stop/", {"now": True}), ("stop/", []), ("retry/", {"text": "x"}), ("retry/", {"model": None}), ("retry/", "x")],
)
def test_what_a_turn_cannot_be_told_is_refused(
    ada: Client, conversation: Conversation, what: str, body: object
) -> None:
    turn = add_turn(conversation)

    response = ada.post(address(turn, what), body, JSON)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert Turn.objects.get() == turn


@pytest.mark.parametrize(("method", "what"), [("get", ""), ("post", "stop/"), ("post", "retry/")])
def test_a_turn_of_somebody_else_answers_byte_for_byte_like_none(
    bob: Client, conversation: Conversation, method: str, what: str
) -> None:
    turn = begin_turn(conversation)

    def ask(turn_id: UUID) -> Any:
        return bob.generic(method, f"{TURNS}{turn_id}/{what}")

    foreign, missing = ask(turn.pk), ask(uuid4())

    assert foreign.status_code == missing.status_code == 404
    assert (foreign.content, dict(foreign.headers)) == (missing.content, dict(missing.headers))
    assert Turn.objects.get().status == Status.RUNNING


def test_a_key_that_only_reads_neither_stops_nor_retries(user: User, conversation: Conversation) -> None:
    turn = begin_turn(conversation)
    reader = Client(headers={"X-API-Key": create_key(user, scopes=(Scope.READ,)).text})

    assert reader.get(address(turn)).status_code == 200
    assert [post(reader, address(turn, what)).status_code for what in ("stop/", "retry/")] == [403, 403]
    assert Turn.objects.get().status == Status.RUNNING
