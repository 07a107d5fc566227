"""What models were asked and have answered: kept without secrets, for a while."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from history import compaction, contents, conversations
from history.contents import Exchange, content_of
from history.events import AssistantMessage
from history.models import CompletionContent, Conversation, Event, Turn
from llm.types import (
    ChatRequest,
    ImagePart,
    Sampling,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from tests.history.stage import entries, running, said
from tests.history.test_calls import call

REQUEST = ChatRequest(
    messages=(
        SystemMessage(text="Never say sk-canary-0123456789."),
        UserMessage(text="Wie groß ist 北京?"),
        ToolMessage(tool_call_id="c", name="look", content='{"token": "canary"}'),
    ),
    tools=(ToolSpec(name="look", description="Look.", parameters={"type": "object"}),),
    sampling=Sampling(temperature=0.5),
)
ANSWER = AssistantMessage(
    hop=0,
    text="My key is configured-canary.",
    tool_calls=(ToolCall(id="c", name="look", arguments='{"password": "canary"}'),),
    finish_reason="tool_calls",
)


def kept(user: User) -> CompletionContent:
    """The content of a call in a conversation of its own."""
    place = running(user)
    content = contents.packed(Exchange(REQUEST, ANSWER))
    compaction.end_hop(place, said("a", calls=1), call=call(attempt=1, hop=0, content=content))
    return CompletionContent.objects.get(conversation_id=place.conversation_id)


@pytest.mark.django_db
def test_what_was_asked_and_answered_is_kept_apart_compressed_and_without_secrets(user: User, settings: Any) -> None:
    """A0.14, A0.15, A0.16."""
    settings.CHAT = {"PROVIDER_KEYS": {"KEY": "configured-canary"}}

    row = kept(user)

    content = content_of(row.conversation_id, seq=row.seq)
    assert content is not None
    assert content["messages"][1] == {"role": "user", "text": "Wie groß ist 北京?"}
    assert content["parameters"] == {"temperature": 0.5, "tool_choice": "auto"}
    assert content["tools"][0]["name"] == "look"
    assert (content["response"]["finish_reason"], content["response"]["tool_calls"][0]["name"]) == (
        "tool_calls",
        "look",
    )
    assert "canary" not in str(content)
    _, kind, data = entries(row.conversation_id)[row.seq - 1]
    assert (kind, data["has_content"]) == ("completion_log", True)
    assert "messages" not in data


def test_of_an_image_its_kind_and_length_are_kept_not_its_bytes() -> None:
    """Megabytes of them, in every call of a conversation."""
    data = f"AIza{'A' * 1_234_563}"  # which looks like a secret: nobody needs to look
    url, address = f"DATA:image/png;base64,{data}", "https://example.org/a,b.png"
    parts = (TextPart(text="data:x,"), ImagePart(url=url, detail="low"), ImagePart(url=address))
    request = ChatRequest(messages=(UserMessage(text="data:x,", parts=parts), *REQUEST.messages))

    content = msgspec.json.decode(zlib.decompress(contents.packed(Exchange(request, ANSWER))))

    text, image, linked = content["messages"][0]["parts"]
    assert text == {"type": "text", "text": "data:x,"}
    assert image == {"type": "image", "url": "DATA:image/png;base64,[1234567 characters]", "detail": "low"}
    assert linked["url"] == address


@pytest.mark.django_db
def test_contents_are_kept_for_as_long_as_is_said_and_the_log_for_longer(user: User, settings: Any) -> None:
    settings.CHAT = {"COMPLETION_LOG_RETENTION": 3_600.0}
    old, young = kept(user), kept(user)
    CompletionContent.objects.filter(pk=old.pk).update(at=datetime.now(UTC) - timedelta(seconds=3_700))

    call_command("purge_completion_logs")

    assert list(CompletionContent.objects.values_list("pk", flat=True)) == [young.pk]
    assert content_of(old.conversation_id, seq=old.seq) is None
    assert [kind for _, kind, _ in entries(old.conversation_id)][-1] == "completion_log"


@pytest.mark.django_db
def test_contents_go_with_their_conversation_also_where_somebody_who_knows_none_has_deleted_it(user: User) -> None:
    first, second, third = kept(user), kept(user), kept(user)

    conversations.delete(first.conversation_id)
    for rows in (Event, Turn):
        rows.objects.filter(conversation_id=second.conversation_id).delete()
    Conversation.objects.filter(pk=second.conversation_id)._raw_delete("default")
    remaining = set(CompletionContent.objects.values_list("pk", flat=True))
    purged = contents.purge(older=3_600.0, at_once=1)

    assert remaining == {second.pk, third.pk}
    assert purged == 1
    assert CompletionContent.objects.get().pk == third.pk
