"""The log over HTTP."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from history import log
from history.models import Conversation, Event
from streaming.cursor import Cursor
from streaming.frames import encode
from streaming.view import View
from tests.chat.conftest import CONVERSATIONS, add_turn, queries


@pytest.fixture
def events(conversation: Conversation) -> str:
    """The address of nine events of Ada's."""
    for text in ("One", "Two", "Three"):
        add_turn(conversation, text)
    return f"{CONVERSATIONS}{conversation.pk}/events/"


def test_events_are_what_the_socket_would_have_sent(ada: Client, events: str, conversation: Conversation) -> None:
    view = View(Cursor())
    entries = log.read(conversation.pk, after=0).entries
    sent = [json.loads(encode(frame)) for entry in entries for frame in view.event(entry)]

    answer = ada.get(events)

    assert answer.json() == {"events": sent, "last_seq": 9, "has_more": False}
    assert "\U0001f9ff" in answer.content.decode()


def test_pages_of_the_log_join_without_gap_or_double(ada: Client, events: str) -> None:
    seen: list[int] = []

    has_more = True
    while has_more:
        page = ada.get(f"{events}?after={seen[-1] if seen else 0}&limit=4").json()
        seen += [event["seq"] for event in page["events"]]
        has_more = page["has_more"]

    assert seen == list(range(1, 10))


def test_the_log_can_be_read_from_its_end(ada: Client, events: str) -> None:
    seen: list[int] = []

    has_more = True
    while has_more:
        before = f"&before={seen[-1]}" if seen else ""
        page = ada.get(f"{events}?order=desc&limit=4{before}").json()
        seen += [event["seq"] for event in page["events"]]
        has_more = page["has_more"]
        assert page["last_seq"] == 9

    assert seen == list(range(9, 0, -1))


@pytest.mark.parametrize(
    ("query", "found", "has_more"),
    [
        ("kind=user_message", [1, 4, 7], False),
        ("kind=user_message&limit=3", [1, 4, 7], False),
        ("kind=user_message&limit=2", [1, 4], True),
        ("kind=user_message&order=desc&limit=2", [7, 4], True),
        ("kind=user_message&kind=turn_ended&after=1", [3, 4, 6, 7, 9], False),
        ("kind=turn_ended&kind=user_message&order=desc&after=1&before=8&limit=3", [7, 6, 4], True),
        ("kind=turn_ended&kind=turn_ended", [3, 6, 9], False),
        ("kind=turn_restarted", [], False),
        ("after=3&before=6", [4, 5], False),
        ("after=6&before=3", [], False),
    ],
)
def test_only_what_is_asked_for_is_told(ada: Client, events: str, query: str, found: list[int], has_more: bool) -> None:
    page = ada.get(f"{events}?{query}").json()

    assert [event["seq"] for event in page["events"]] == found
    assert (page["has_more"], page["last_seq"]) == (has_more, 9)


def test_a_kind_that_is_none_is_answered_with_those_there_are(ada: Client, events: str) -> None:
    response = ada.get(f"{events}?kind=user_message&kind=gossip")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert response.json()["detail"] == (
        "kind: There is no such kind. "
        "Choose from user_message, assistant_message, tool_result, turn_restarted, turn_ended, stats, completion_log."
    )


def test_past_the_end_there_is_nothing_and_no_more(ada: Client, events: str) -> None:
    assert ada.get(f"{events}?after=9").json() == {"events": [], "last_seq": 9, "has_more": False}
    assert ada.get(f"{events}?after=999").json() == {"events": [], "last_seq": 9, "has_more": False}


def test_kinds_and_fields_of_a_newer_version_are_passed_through(ada: Client, conversation: Conversation) -> None:
    Event.objects.create(conversation=conversation, seq=1, kind="stats", data={"new": {"deep": [1, None]}})
    Conversation.objects.update(last_seq=1)

    (event,) = ada.get(f"{CONVERSATIONS}{conversation.pk}/events/").json()["events"]

    assert (event["kind"], event["data"], event["turn"]) == ("stats", {"new": {"deep": [1, None]}}, None)


@pytest.mark.parametrize(
    "query",
    [
        "after=-1",
        "after=x",
        "after=1.5",
        "after=%00",
        "after=9999999999999999999",
        "limit=0",
        "limit=501",
        "limit=",
        "before=0",
        "before=x",
        "before=",
        "since=1",
        "after=1&after=2",
        "kind=",
        "kind=%00",
        "order=",
        "order=up",
        "order=asc&order=desc",
    ],
)
def test_a_range_that_makes_no_sense_is_refused(ada: Client, events: str, query: str) -> None:
    response = ada.get(f"{events}?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


def test_a_page_costs_as_many_queries_for_nine_as_for_one(ada: Client, events: str) -> None:
    ada.get(events)  # notes the first use of the key

    assert queries(ada, f"{events}?limit=1") == queries(ada, f"{events}?limit=9") <= 6
