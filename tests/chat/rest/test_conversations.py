"""The list of a person's conversations, and each of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from history import conversations, log
from history.errors import NotFound
from history.models import Conversation, Event, Status, Turn
from tests.chat.conftest import CONVERSATIONS, add_turn, begin_turn, queries

JSON = "application/json"


def test_a_new_conversation_is_empty_untitled_and_ones_own(ada: Client, user: User) -> None:
    response = ada.post(CONVERSATIONS, {}, JSON)

    made = Conversation.objects.get()
    assert response.status_code == 201
    assert response["Location"] == f"{CONVERSATIONS}{made.pk}/"
    assert response.json() | {"created_at": "", "updated_at": ""} == {
        "id": str(made.pk),
        "title": "",
        "created_at": "",
        "updated_at": "",
        "archived": False,
        "active_turn": None,
    }
    assert (made.owner, made.last_seq) == (user, 0)


def test_times_are_utc_with_milliseconds_as_in_frames(ada: Client, conversation: Conversation) -> None:
    shown = ada.get(f"{CONVERSATIONS}{conversation.pk}/").json()

    assert shown["created_at"] == conversation.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_the_list_shows_ones_own_with_the_newest_message_first(ada: Client, user: User, other_user: User) -> None:
    first, second, third = (conversations.create(user.pk) for _ in range(3))
    conversations.create(other_user.pk)
    add_turn(second)

    listed = ada.get(CONVERSATIONS).json()

    assert [item["id"] for item in listed["results"]] == [str(found.pk) for found in (second, third, first)]
    assert listed["next"] is listed["previous"] is None


def test_renaming_leaves_the_order_alone(ada: Client, user: User) -> None:
    old, new = conversations.create(user.pk), conversations.create(user.pk)

    ada.patch(f"{CONVERSATIONS}{old.pk}/", {"title": "Renamed"}, JSON)

    listed = ada.get(CONVERSATIONS).json()["results"]
    assert [(item["id"], item["title"]) for item in listed] == [(str(new.pk), ""), (str(old.pk), "Renamed")]


def test_pages_of_the_list_join_without_gap_or_double_and_link_without_host(ada: Client, user: User) -> None:
    made = [str(conversations.create(user.pk).pk) for _ in range(65)]
    pages: list[dict[str, Any]] = [ada.get(CONVERSATIONS).json()]

    while pages[-1]["next"]:
        assert pages[-1]["next"].startswith(f"{CONVERSATIONS}?cursor=")
        pages.append(ada.get(pages[-1]["next"]).json())

    assert [len(page["results"]) for page in pages] == [30, 30, 5]
    assert [item["id"] for page in pages for item in page["results"]] == made[::-1]
    assert ada.get(pages[1]["previous"]).json()["results"] == pages[0]["results"]


@pytest.mark.parametrize("cursor", ["x", "cD1ub3RhdGltZQ==", "cD0yMDI2LTk5LTk5", "bz0tMQ==", "/w=="])
def test_a_page_that_never_was_is_refused(ada: Client, cursor: str) -> None:
    response = ada.get(f"{CONVERSATIONS}?cursor={cursor}")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")


def titles(client: Client, query: str) -> list[str]:
    """The titles that a search finds, of all pages."""
    found: list[str] = []
    address: str | None = f"{CONVERSATIONS}?{query}"
    while address:
        page = client.get(address).json()
        found += [item["title"] for item in page["results"]]
        address = page["next"]
    return found


def test_conversations_are_found_by_words_in_their_title_on_every_page(
    ada: Client, user: User, other_user: User
) -> None:
    for number in range(210):
        made = conversations.create(user.pk)
        conversations.rename(made.pk, title=f"Tax return {number}" if number % 3 else f"Holidays {number}")
    conversations.rename(conversations.create(other_user.pk).pk, title="Tax return of Bob")

    found = titles(ada, "search=tax RETURN")

    assert found == [f"Tax return {number}" for number in reversed(range(210)) if number % 3]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("%", ["100 % sure"]),
        ("_", ["snake_case"]),
        (".", ["a.b (c) [d] *e* \\f"]),
        ("(c) [D] *", ["a.b (c) [d] *e* \\f"]),
        ("\\", ["a.b (c) [d] *e* \\f"]),
        ("'; --", []),
        ("^a", []),
        ("über", ["ÜBER Ψυχή"]),
        ("ΨΥΧΉ", ["ÜBER Ψυχή"]),
        (" sure ", ["100 % sure"]),
        ("\U0001f9ff", ["\U0001f9ff"]),
        ("", ["\U0001f9ff", "ÜBER Ψυχή", "a.b (c) [d] *e* \\f", "snake_case", "100 % sure"]),
    ],
)
def test_a_search_takes_words_literally_but_for_their_capitals(
    ada: Client, user: User, words: str, found: list[str]
) -> None:
    for title in ("100 % sure", "snake_case", "a.b (c) [d] *e* \\f", "ÜBER Ψυχή", "\U0001f9ff"):
        conversations.rename(conversations.create(user.pk).pk, title=title)

    assert titles(ada, urlencode({"search": words})) == found


@pytest.mark.parametrize("query", ["search=a%00b", f"search={'x' * 201}", "search=a&search=b", "title=x", "page=2"])
def test_a_search_that_makes_no_sense_is_refused(ada: Client, query: str) -> None:
    response = ada.get(f"{CONVERSATIONS}?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


def test_the_list_costs_as_many_queries_for_thirty_as_for_one(ada: Client, user: User) -> None:
    begin_turn(conversations.create(user.pk))
    ada.get(CONVERSATIONS)  # notes the first use of the key
    for_one = queries(ada, CONVERSATIONS)
    for _ in range(29):
        begin_turn(conversations.create(user.pk))

    for_thirty = queries(ada, CONVERSATIONS)

    assert for_one == for_thirty <= 3
    assert all(item["active_turn"] for item in ada.get(CONVERSATIONS).json()["results"])


def test_the_turn_being_answered_is_shown_until_it_ends(ada: Client, conversation: Conversation) -> None:
    turn = begin_turn(conversation)

    during = ada.get(f"{CONVERSATIONS}{conversation.pk}/").json()
    Turn.objects.update(status=Status.COMPLETED)
    after = ada.get(f"{CONVERSATIONS}{conversation.pk}/").json()

    assert (during["active_turn"], after["active_turn"]) == (str(turn.pk), None)


def test_a_conversation_can_be_renamed(ada: Client, conversation: Conversation) -> None:
    response = ada.patch(f"{CONVERSATIONS}{conversation.pk}/", {"title": "  Über \U0001f9ff שלום  "}, JSON)

    conversation.refresh_from_db()
    assert response.status_code == 200
    assert response.json()["title"] == conversation.title == "Über \U0001f9ff שלום"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"title": ""}',
        b'{"title": "   "}',
        b'{"title": null}',
        b'{"title": ["x"]}',
        b'{"title": "' + b"x" * 201 + b'"}',
        rb'{"title": "a\u0000b"}',
        rb'{"title": "a\ud83d"}',
        b'{"title": "a\xff"}',
        b'{"title": "x", "owner": 1}',
        b'["title"]',
        b'"title"',
        b'{"title": NaN}',
        b"{",
    ],
)
def test_a_title_of_the_wrong_shape_is_refused_and_changes_nothing(
    ada: Client, conversation: Conversation, body: bytes
) -> None:
    conversations.rename(conversation.pk, title="Before")

    response = ada.patch(f"{CONVERSATIONS}{conversation.pk}/", body, JSON)

    conversation.refresh_from_db()
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert conversation.title == "Before"


def test_a_deleted_conversation_is_gone_with_everything_in_it(ada: Client, conversation: Conversation) -> None:
    first = add_turn(conversation)
    second = add_turn(conversation)
    Turn.objects.filter(pk=second.pk).update(parent=first, replaces=first)

    response = ada.delete(f"{CONVERSATIONS}{conversation.pk}/")

    assert (response.status_code, response.content) == (204, b"")
    assert [model.objects.count() for model in (Conversation, Turn, Event)] == [0, 0, 0]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.STOPPING])
def test_a_conversation_can_be_deleted_while_it_is_being_answered(
    ada: Client, conversation: Conversation, status: Status
) -> None:
    begin_turn(conversation, status)

    response = ada.delete(f"{CONVERSATIONS}{conversation.pk}/")

    assert response.status_code == 204
    with pytest.raises(NotFound):
        log.position(conversation.pk)


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("patch", ""), ("delete", ""), ("get", "events/")])
def test_what_is_somebody_elses_answers_byte_for_byte_like_what_is_not_there(
    bob: Client, conversation: Conversation, method: str, path: str
) -> None:
    def ask(conversation_id: UUID) -> Any:
        return bob.generic(method, f"{CONVERSATIONS}{conversation_id}/{path}", b'{"title": "Mine"}', JSON)

    foreign, missing = ask(conversation.pk), ask(uuid4())

    conversation.refresh_from_db()
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content
    assert dict(foreign.headers) == dict(missing.headers)
    assert conversation.title == ""
