"""What models were asked and have answered, word for word but for secrets and the bytes of images: kept apart from the
log, for a while."""

from __future__ import annotations

import zlib
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from history.events import AssistantMessage
from history.known_secrets import known_secrets
from history.models import CompletionContent, Conversation
from llm.redaction import hidden
from llm.types import ChatRequest, Message


class Exchange(msgspec.Struct, frozen=True):
    """A call's request, and what came of it."""

    request: ChatRequest
    answer: AssistantMessage | None


def packed(exchange: Exchange) -> bytes:
    """An exchange without secrets and without the bytes of images, compressed. Takes a while where it is long: not for
    the event loop."""
    request, answer = exchange.request, exchange.answer
    content = {
        "messages": [_message(message) for message in request.messages],
        "tools": msgspec.to_builtins(request.tools),
        "parameters": {
            **msgspec.to_builtins(request.sampling),
            "tool_choice": request.tool or request.tool_choice,
        },
        "response": None if answer is None else _response(answer),
    }
    return zlib.compress(msgspec.json.encode(hidden(content, secrets=known_secrets())))


def store(conversation_id: UUID, *, seq: int, data: bytes) -> None:
    """Keep the content of the call that event `seq` tells of; in the transaction that appends that."""
    CompletionContent.objects.create(conversation_id=conversation_id, seq=seq, data=data)


def content_of(conversation_id: UUID, *, seq: int) -> dict[str, Any] | None:
    """What was kept of that call; None if nothing was, or not any more."""
    row = CompletionContent.objects.filter(conversation_id=conversation_id, seq=seq).values_list("data", flat=True)
    data = row.first()
    return None if data is None else msgspec.json.decode(zlib.decompress(data))


def purge(*, older: float, at_once: int = 500) -> int:
    """Delete what has been kept for so many seconds, and what is of no conversation any more; how many that were."""
    old = CompletionContent.objects.filter(at__lt=Now() - timedelta(seconds=older))
    of_nobody = CompletionContent.objects.filter(
        ~Exists(Conversation.objects.filter(pk=OuterRef("conversation_id"))),
    )
    purged = 0
    for due in (old, of_nobody):
        while gone := CompletionContent.objects.filter(
            pk__in=list(due.values_list("pk", flat=True)[:at_once])
        ).delete()[0]:
            purged += gone
    return purged


def _message(message: Message) -> dict[str, Any]:
    """Of an image that is in it there is only what kind it is, and how long: who reads a call cannot read that."""
    told: dict[str, Any] = msgspec.to_builtins(message)
    for part in told.get("parts", ()):
        kind, is_encoded, data = part.get("url", "").partition(",")
        if is_encoded and kind.lower().startswith("data:"):
            part["url"] = f"{kind},[{len(data)} characters]"
    return told


def _response(answer: AssistantMessage) -> dict[str, Any]:
    told = ("text", "reasoning", "tool_calls", "finish_reason", "usage")
    return {name: msgspec.to_builtins(getattr(answer, name)) for name in told}
