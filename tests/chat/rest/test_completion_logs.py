"""Completion logs over HTTP: filtered, in pages, one with its content, as a file."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from history import calls, contents
from history.contents import Exchange
from history.events import AssistantMessage, TurnError
from history.log import appending
from history.models import Conversation, Turn
from llm.types import ChatRequest, Usage, UserMessage
from tests.asgi import ask
from tests.chat.conftest import CONVERSATIONS, add_turn
from tests.chat.rest.test_streams import key_of
from tests.history.test_calls import call

SAID = AssistantMessage(hop=0, text="Grüß dich 👀")
ASKED = Exchange(ChatRequest(messages=(UserMessage(text="Hallo?"),)), SAID)


@pytest.fixture
def turn_id(conversation: Conversation) -> UUID:
    return add_turn(conversation).pk


@pytest.fixture
def address(conversation: Conversation, turn_id: UUID) -> str:
    """That of four logs: in two roles, of two models, one of which has failed."""
    packed = contents.packed(ASKED)
    failed = {"outcome": "failed", "usage": Usage(), "error": TurnError(code="unavailable", message="Gone.")}
    with appending(conversation.pk) as log:
        calls.tell(log, turn_id, call(attempt=1, hop=0, model="a/b", content=packed))
        calls.tell(log, turn_id, call(attempt=1, hop=1, model="a/b", **failed))
        calls.tell(log, None, call(usage_id="title", model="a/b"))
        calls.tell(log, uuid_of_another(conversation), call(attempt=1, hop=0, model="c"))
    return f"{CONVERSATIONS}{conversation.pk}/completion-logs/"


def uuid_of_another(conversation: Conversation) -> UUID:
    return Turn.objects.create(conversation=conversation, owner_id=conversation.owner_id, status="completed").pk


def allow(user: User) -> None:
    user.user_permissions.add(Permission.objects.get(codename="view_completioncontent"))


def found(client: Client, address: str) -> list[int]:
    return [log["id"] for log in client.get(address).json()["results"]]


def test_logs_are_listed_newest_first_and_filtered_by_what_they_are_about(
    ada: Client, address: str, turn_id: UUID
) -> None:
    """A0.2: same model, two roles."""
    answer = ada.get(address).json()

    first, failed, title, other = reversed(answer["results"])
    assert (first["model"], first["usage"], first["turn"]) == (
        "a/b",
        {"prompt": 10, "completion": 4, "cached": 2, "reasoning": 1},
        str(turn_id),
    )
    assert first["filename"].startswith("a__b-")
    assert (failed["error"], failed["usage"]["prompt"]) == ({"code": "unavailable", "message": "Gone."}, 0)
    assert (title["turn"], title["hop"], answer["next"]) == (None, None, None)
    assert found(ada, f"{address}?usage_id=title") == [title["id"]]
    assert found(ada, f"{address}?model=c") == [other["id"]]
    assert found(ada, f"{address}?outcome=failed&model=a/b") == [failed["id"]]
    assert found(ada, f"{address}?turn={turn_id}") == [failed["id"], first["id"]]
    assert ada.get(f"{address}?outcome=lucky").status_code == 400


def test_pages_of_logs_join_without_gap_or_double(ada: Client, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.rest.completion_logs.LogPages.page_size", 3)

    first = ada.get(address).json()
    second = ada.get(first["next"]).json()

    assert [len(page["results"]) for page in (first, second)] == [3, 1]
    assert second["next"] is None
    assert len({log["id"] for page in (first, second) for log in page["results"]}) == 4


def test_the_content_is_for_those_who_may_read_it(ada: Client, user: User, address: str) -> None:
    one = f"{address}{found(ada, address)[-1]}/"

    plain, refused = ada.get(one), ada.get(f"{one}?download=1")
    allow(user)
    whole, file = ada.get(one), ada.get(f"{one}?download=1")

    assert "content" not in plain.json()
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert whole.json()["content"]["messages"] == [{"role": "user", "text": "Hallo?"}]
    assert whole.json()["content"]["response"]["text"] == "Grüß dich 👀"
    assert file.json() == whole.json()
    assert file["Content-Disposition"] == f'attachment; filename="{whole.json()["filename"]}"'
    assert "Grüß dich 👀" in file.content.decode()


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Who is noted as having read what."""
    return [record.getMessage() for record in caplog.records if record.name == "access.contents"]


def test_whoever_reads_a_content_is_noted_and_nobody_else(
    ada: Client, user: User, conversation: Conversation, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S8."""
    caplog.set_level("INFO")
    without, *_, first = found(ada, address)
    ada.get(f"{address}{first}/")
    allow(user)
    ada.get(f"{address}{without}/")
    before = notes(caplog)

    ada.get(f"{address}{first}/")

    assert before == []
    assert notes(caplog) == [f"user {user.pk} reads completion log {first} of conversation {conversation.pk}"]


def test_of_a_log_without_content_nothing_is_kept(ada: Client, user: User, address: str) -> None:
    allow(user)

    assert ada.get(f"{address}{found(ada, address)[0]}/").json()["content"] is None


def test_what_is_no_log_is_not_found(ada: Client, address: str) -> None:
    for seq in (1, 999, 10**30):
        assert ada.get(f"{address}{seq}/").status_code == 404


def test_foreign_logs_are_as_good_as_missing(ada: Client, bob: Client, address: str, other_user: User) -> None:
    allow(other_user)
    one = f"{address}{found(ada, address)[-1]}/"

    for foreign in (address, one, f"{one}?download=1"):
        missing = foreign.replace(address.split("/")[4], str(uuid4()))
        assert bob.get(foreign).status_code == 404
        assert bob.get(foreign).content == bob.get(missing).content


async def test_a_stream_with_contents_needs_the_permission(stage: Any) -> None:
    on = await stage([])
    address = f"{CONVERSATIONS}{on.conversation_id}/stream/"

    refused = await ask("GET", f"{address}?logs=content", headers=await key_of(on))
    wrong = await ask("GET", f"{address}?logs=all", headers=await key_of(on))

    assert (refused.status, wrong.status) == (403, 400)
