"""A thumb up or down for an answer, over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from access.keys import create_key
from access.principals import Scope
from history import conversations, feedback
from history.models import ACTIVE, Conversation, Feedback, Sentiment, Turn
from tests.chat.conftest import CONVERSATIONS, add_turn, begin_turn, queries

JSON = "application/json"
GIVE = "/api/v1/ai/feedback/"


@pytest.fixture
def turn(conversation: Conversation) -> Turn:
    """An answered one of Ada's."""
    return add_turn(conversation)


def stored() -> list[tuple[UUID, int, str]]:
    """All the feedback there is."""
    return list(Feedback.objects.order_by("id").values_list("turn_id", "sentiment", "comment"))


def test_feedback_is_noted_and_shown_with_its_turn(ada: Client, user: User, turn: Turn) -> None:
    comment = "  Just right. \U0001f9ff\nÜber "

    response = ada.post(GIVE, {"turn": str(turn.pk), "sentiment": 0, "comment": comment}, JSON)

    given = Feedback.objects.get()
    assert response.status_code == 201
    assert response.json() | {"at": ""} == {"turn": str(turn.pk), "sentiment": 0, "comment": comment, "at": ""}
    assert (given.owner, given.conversation_id, given.sentiment) == (user, turn.conversation_id, Sentiment.LIKE)
    assert ada.get(f"/api/v1/turns/{turn.pk}/").json()["feedback"] == response.json()


def test_a_second_thought_replaces_the_first_with_its_comment(ada: Client, turn: Turn) -> None:
    ada.post(GIVE, {"turn": str(turn.pk), "sentiment": 0, "comment": "Good"}, JSON)

    response = ada.post(GIVE, {"turn": str(turn.pk), "sentiment": 1}, JSON)

    assert (response.status_code, response.json()["sentiment"], response.json()["comment"]) == (200, 1, "")
    assert stored() == [(turn.pk, 1, "")]


def test_feedback_can_be_taken_back_any_number_of_times(ada: Client, turn: Turn) -> None:
    ada.post(GIVE, {"turn": str(turn.pk), "sentiment": 0}, JSON)

    responses = [ada.post(GIVE, {"turn": str(turn.pk), "sentiment": None}, JSON) for _ in range(2)]

    assert [(response.status_code, response.content) for response in responses] == [(204, b"")] * 2
    assert stored() == []
    assert ada.get(f"/api/v1/turns/{turn.pk}/").json()["feedback"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"sentiment": 2},
        {"sentiment": -1},
        {"sentiment": True},
        {"sentiment": False},
        {"sentiment": "0"},
        {"sentiment": "like"},
        {"sentiment": 0.0},
        {"sentiment": [0]},
        {"sentiment": None, "comment": "Why"},
        {"turn": "x"},
        {"turn": None},
        {"comment": None},
        {"comment": "x" * 2_001},
        {"comment": "a\0b"},
        {"comment": ["x"]},
        {"query": "x"},
    ],
)
def test_feedback_of_the_wrong_shape_is_refused_and_changes_nothing(
    ada: Client, turn: Turn, change: dict[str, object]
) -> None:
    response = ada.post(GIVE, {"turn": str(turn.pk), "sentiment": 0} | change, JSON)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert stored() == []


@pytest.mark.parametrize("missing", ["turn", "sentiment"])
def test_feedback_names_its_turn_and_its_sentiment(ada: Client, turn: Turn, missing: str) -> None:
    body = {"turn": str(turn.pk), "sentiment": 0}
    del body[missing]

    response = ada.post(GIVE, body, JSON)

    assert (response.status_code, response.json()["detail"]) == (400, f"{missing}: This field is required.")


def test_a_comment_may_be_as_long_as_is_said(ada: Client, turn: Turn) -> None:
    comment = "\U0001f9ff" * 2_000

    assert ada.post(GIVE, {"turn": str(turn.pk), "sentiment": 0, "comment": comment}, JSON).status_code == 201
    assert stored() == [(turn.pk, 0, comment)]


@pytest.mark.parametrize("status", ACTIVE)
def test_an_answer_is_judged_when_it_is_there(ada: Client, conversation: Conversation, status: str) -> None:
    turn = begin_turn(conversation)
    Turn.objects.update(status=status)

    response = ada.post(GIVE, {"turn": str(turn.pk), "sentiment": 1}, JSON)

    assert (response.status_code, response.json()["code"]) == (409, "turn_active")
    assert stored() == []


@pytest.mark.parametrize("sentiment", [0, None])
def test_a_turn_of_somebody_else_answers_byte_for_byte_like_none(
    bob: Client, user: User, turn: Turn, sentiment: int | None
) -> None:
    feedback.give(turn, owner_id=user.pk, sentiment=Sentiment.LIKE, comment="Mine")

    def ask(turn_id: UUID) -> Any:
        return bob.post(GIVE, {"turn": str(turn_id), "sentiment": sentiment}, JSON)

    foreign, missing = ask(turn.pk), ask(uuid4())

    assert foreign.status_code == missing.status_code == 404
    assert (foreign.content, dict(foreign.headers)) == (missing.content, dict(missing.headers))
    assert stored() == [(turn.pk, 0, "Mine")]


def test_a_conversation_tells_what_was_thought_of_its_answers(
    ada: Client, user: User, other_user: User, conversation: Conversation
) -> None:
    first, silent, third = (add_turn(conversation) for _ in range(3))
    elsewhere = add_turn(conversations.create(user.pk))
    for turn, sentiment in ((first, Sentiment.LIKE), (third, Sentiment.NOT_LIKE), (elsewhere, Sentiment.LIKE)):
        feedback.give(turn, owner_id=user.pk, sentiment=sentiment, comment="So")
    feedback.give(silent, owner_id=other_user.pk, sentiment=Sentiment.LIKE, comment="Not Ada's")

    told = ada.get(f"{CONVERSATIONS}{conversation.pk}/feedback/").json()

    assert [(item["turn"], item["sentiment"], item["comment"]) for item in told["results"]] == [
        (str(third.pk), 1, "So"),
        (str(first.pk), 0, "So"),
    ]
    assert told["next"] is told["previous"] is None


def test_pages_of_feedback_join_and_cost_the_same(ada: Client, user: User, conversation: Conversation) -> None:
    address = f"{CONVERSATIONS}{conversation.pk}/feedback/"
    ada.get(address)  # notes the first use of the key
    for_none = queries(ada, address)
    turns = [add_turn(conversation) for _ in range(105)]
    for turn in turns:
        feedback.give(turn, owner_id=user.pk, sentiment=Sentiment.LIKE, comment="")

    first = ada.get(address).json()
    second = ada.get(first["next"]).json()

    assert [item["turn"] for page in (first, second) for item in page["results"]] == [
        str(turn.pk) for turn in reversed(turns)
    ]
    assert (len(first["results"]), second["next"]) == (100, None)
    assert queries(ada, address) == for_none <= 4


def test_feedback_of_somebody_elses_conversation_is_not_there(bob: Client, turn: Turn) -> None:
    assert bob.get(f"{CONVERSATIONS}{turn.conversation_id}/feedback/").status_code == 404


def test_feedback_goes_with_its_conversation(ada: Client, user: User, turn: Turn) -> None:
    feedback.give(turn, owner_id=user.pk, sentiment=Sentiment.LIKE, comment="")

    assert ada.delete(f"{CONVERSATIONS}{turn.conversation_id}/").status_code == 204
    assert stored() == []


def test_giving_feedback_needs_the_scope_chat_and_from_a_browser_the_csrf_token(user: User, turn: Turn) -> None:
    body = {"turn": str(turn.pk), "sentiment": 0}
    reader = Client(headers={"X-API-Key": create_key(user, scopes=(Scope.READ,)).text})
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    browser.get("/")

    refused = [reader.post(GIVE, body, JSON).status_code, browser.post(GIVE, body, JSON).status_code]
    token = browser.cookies["csrftoken"].value

    assert refused == [403, 403]
    assert browser.post(GIVE, body, JSON, headers={"X-CSRFToken": token}).status_code == 201
