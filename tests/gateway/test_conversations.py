"""Conversations of the gateway's: one for each request, until a header says which to go on with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import openai
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import timezone

from history import conversations
from history.models import Conversation, Event, Turn
from llm import types as llm
from llm.scripted import says
from tests.chat.conftest import CONVERSATIONS, add_turn, begin_turn
from tests.gateway.conftest import SAY_HI, Door

HEADER = "X-Verbatim-Conversation-ID"
MORE: Any = [{"role": "user", "content": "More"}]


async def opened(at: Door, messages: Any = SAY_HI, **headers: str) -> str:
    """The conversation of an answer."""
    raw = await at.client.chat.completions.with_raw_response.create(
        model="demo", messages=messages, extra_headers=headers
    )
    return str(raw.headers[HEADER])


async def test_each_request_has_a_conversation_of_its_own_which_is_not_among_a_persons(door: Any) -> None:
    at = await door([says("One."), says("Two.")])

    first, second = await opened(at), await opened(at)

    client = Client(headers=at.headers)
    listed = await sync_to_async(client.get)(CONVERSATIONS)
    one = await sync_to_async(client.get)(f"{CONVERSATIONS}{first}/")
    assert first != second
    assert [each["id"] for each in listed.json()["results"]] == [str(at.on.conversation_id)]
    assert (one.status_code, one.json()["title"]) == (200, "Hi")
    assert await Conversation.objects.filter(ephemeral=True).acount() == 2


@pytest.mark.parametrize(
    "messages",
    [
        MORE,
        [*SAY_HI, {"role": "assistant", "content": "One."}, *MORE],
        [{"role": "system", "content": ""}, *SAY_HI, {"role": "assistant", "content": "One, edited."}, *MORE],
    ],
)
async def test_sent_back_it_goes_on_and_only_what_is_new_is_appended(door: Any, messages: Any) -> None:
    """A3.4."""
    at = await door([says("One."), says("Two.")])

    first = await opened(at)
    second = await opened(at, messages, **{HEADER: first})

    assert second == first
    assert at.on.model.requests[1].messages == (
        llm.UserMessage(text="Hi"),
        llm.AssistantMessage(text="One."),
        llm.UserMessage(text="More"),
    )
    assert await Turn.objects.filter(conversation_id=first).acount() == 2
    assert await Conversation.objects.filter(pk=first, ephemeral=False).aexists()


async def test_two_new_messages_at_once_are_both_told(door: Any) -> None:
    at = await door([says("One."), says("Two.")])
    first = await opened(at)

    await opened(at, [*MORE, {"role": "user", "content": "And more"}], **{HEADER: first})

    assert [message.text for message in at.on.model.requests[1].messages] == ["Hi", "One.", "More", "And more"]


async def test_a_conversation_of_the_page_can_be_gone_on_with(door: Any) -> None:
    at = await door([says("Hello again.")])

    same = await opened(at, **{HEADER: str(at.on.conversation_id)})

    assert same == str(at.on.conversation_id)
    assert await Event.objects.filter(conversation_id=same, kind="turn_ended").acount() == 1


async def test_the_header_has_the_name_that_the_site_gives_it(door: Any) -> None:
    """A3.4, for clients of another server."""
    name = "X-OpenHands-ServerConversation-ID"
    at = await door([says("One."), says("Two.")])

    with override_settings(CHAT={"GATEWAY_CONVERSATION_HEADER": name}):
        raw = await at.client.chat.completions.with_raw_response.create(model="demo", messages=SAY_HI)
        again = await at.client.chat.completions.with_raw_response.create(
            model="demo", messages=MORE, extra_headers={name: raw.headers[name]}
        )

    assert again.headers[name] == raw.headers[name]
    assert HEADER not in raw.headers


async def test_while_an_answer_is_in_progress_another_is_refused(door: Any) -> None:
    at = await door()
    busy = await sync_to_async(conversations.create)(at.on.user.pk)
    turn = await sync_to_async(begin_turn)(busy)

    with pytest.raises(openai.ConflictError) as refused:
        await opened(at, **{HEADER: str(busy.pk)})
    await Turn.objects.filter(pk=turn.pk).aupdate(status="completed")

    assert (refused.value.code, str(turn.pk) in refused.value.message) == ("turn_active", True)


def aged(user: User, *, hours: float, **fields: Any) -> Conversation:
    conversation = conversations.create(user.pk, **fields)
    add_turn(conversation)
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=timezone.now() - timedelta(hours=hours))
    return conversation


def test_what_was_made_for_one_request_is_purged_after_a_day_and_nothing_else(user: User) -> None:
    """A3.11."""
    old, older = (aged(user, hours=hours, ephemeral=True) for hours in (24.1, 100))
    young, kept = aged(user, hours=23.9, ephemeral=True), aged(user, hours=1000)
    busy = aged(user, hours=100, ephemeral=True)
    Turn.objects.filter(conversation=busy).update(status="running")

    call_command("purge_ephemeral")

    left = set(Conversation.objects.values_list("pk", flat=True))
    assert left == {young.pk, kept.pk, busy.pk}
    assert not Event.objects.filter(conversation__in=[old.pk, older.pk]).exists()


def test_the_site_says_how_long_they_are_kept(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    for hours in (2, 3, 4):
        aged(user, hours=hours, ephemeral=True)

    with override_settings(CHAT={"EPHEMERAL_RETENTION": 2.5 * 3600}):
        call_command("purge_ephemeral")

    assert capsys.readouterr().out == "2 conversations deleted.\n"
    assert Conversation.objects.count() == 1


async def test_a_client_that_always_sends_the_whole_past_has_one_conversation_a_request_until_they_are_purged(
    door: Any,
) -> None:
    """A3.11: and until then each of its requests may be sent again."""
    at = await door([says("One."), says("Two."), says("Two, anew.")])
    past: Any = [*SAY_HI, {"role": "assistant", "content": "One."}, *MORE]
    keyed = {"Idempotency-Key": "second"}

    first = await opened(at)
    second = await opened(at, past, **keyed)
    again = await opened(at, past, **keyed)
    long_ago = timezone.now() - timedelta(hours=25)
    await Conversation.objects.filter(pk__in=[first, second]).aupdate(updated_at=long_ago)
    await sync_to_async(call_command)("purge_ephemeral")
    anew = await opened(at, past, **keyed)

    assert again == second
    assert first != second != anew
    assert len(at.on.model.requests) == 3
    assert [str(pk) async for pk in Conversation.objects.filter(ephemeral=True).values_list("pk", flat=True)] == [anew]
