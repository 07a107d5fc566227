"""What somebody hears who has asked for as much as they may."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings

from history.models import Conversation, Turn
from tests.chat.conftest import add_turn

JSON = "application/json"


@pytest.mark.parametrize(
    ("limits", "sentence", "at_least"),
    [
        ({"TURNS_PER_MINUTE_PER_USER": 1}, "You have asked 1 time within a minute", 55),
        ({"TURNS_PER_MINUTE_PER_KEY": 0}, "This API key has asked 0 times within a minute", 55),
        ({"TOKENS_PER_DAY_PER_USER": 0}, "You have used up today's tokens", 1),
        ({"MAX_TURNS_PER_USER": 0}, "You have 0 answers in progress", 5),
    ],
)
def test_a_refusal_says_which_limit_it_is_and_when_to_come_back(
    ada: Client, conversation: Conversation, limits: dict[str, int], sentence: str, at_least: int
) -> None:
    turn = add_turn(conversation)

    with override_settings(CHAT=limits):
        refused = ada.post(f"/api/v1/turns/{turn.pk}/retry/", {}, JSON)

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["detail"].startswith(sentence)
    assert at_least <= int(refused["Retry-After"]) <= 86_400
    assert Turn.objects.count() == 1


def test_a_request_that_was_taken_is_answered_also_when_no_more_are(ada: Client, conversation: Conversation) -> None:
    turn = add_turn(conversation)
    address, same = f"/api/v1/turns/{turn.pk}/retry/", {"Idempotency-Key": "the-one"}

    with override_settings(CHAT={"TURNS_PER_MINUTE_PER_USER": 2}):
        first = ada.post(address, {}, JSON, headers=same)
        again = ada.post(address, {}, JSON, headers=same)
        other = ada.post(address, {}, JSON)

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 429)
    assert first.json()["id"] == again.json()["id"]
