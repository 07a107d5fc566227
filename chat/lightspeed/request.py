"""What clients of `streaming_chat/` send, and the order that it makes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from uuid import UUID

from rest_framework import serializers
from rest_framework.request import Request

from access.errors import Forbidden
from access.principals import Principal, Scope
from access.profiles import profile_named
from chat.rest.asking import request_id_of
from chat.rest.serializers import StrictSerializer
from streaming.orders import Order

SSE, TEXT = "application/json", "text/plain"
"""The media types there are. The first means server-sent events with JSON in them."""
OF_TEXT = re.compile(r"(?:text/[\w.+-]+|application/(?:json|(?:x-)?yaml|xml))", re.ASCII)
LABEL = re.compile(r"[\w .+-]{1,100}")


class Words(serializers.CharField):
    """Text as it is. Which characters it may have, the engine says for all doors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, **options)
        self.validators = []

    def to_internal_value(self, data: Any) -> str:
        """That text; a number is none."""
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Attachment(StrictSerializer):
    """Something of text type that belongs to the query."""

    attachment_type = Words()
    content_type = Words()
    content = Words()

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        """A label that is one, and a type that is text."""
        if not LABEL.fullmatch(attrs["attachment_type"]):
            raise serializers.ValidationError("An attachment_type has 1 to 100 letters, digits, spaces and _.+-")
        attrs["content_type"] = attrs["content_type"].partition(";")[0].strip().lower()
        if not OF_TEXT.fullmatch(attrs["content_type"]):
            raise serializers.ValidationError(f"Attachments of type {attrs['content_type'][:100]!r} cannot be read.")
        return attrs


class ChatRequest(StrictSerializer):
    """The body of a request; null stands for what is left out. `generate_topic_summary` is accepted, and ignored."""

    query = Words()
    conversation_id = Words(required=False, allow_null=True)
    provider = Words(required=False, allow_null=True)
    model = Words(required=False, allow_null=True)
    system_prompt = Words(required=False, allow_null=True)
    attachments = Attachment(many=True, required=False, allow_null=True)
    no_tools = serializers.BooleanField(required=False, allow_null=True)
    generate_topic_summary = serializers.BooleanField(required=False, allow_null=True)
    media_type = Words(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """What lightspeed says of values that do not fit."""
        if attrs.get("model") and not attrs.get("provider"):
            raise serializers.ValidationError("Provider must be specified if model is specified")
        if attrs.get("provider") and not attrs.get("model"):
            raise serializers.ValidationError("Model must be specified if provider is specified")
        if attrs.get("media_type") not in (None, SSE, TEXT):
            raise serializers.ValidationError(f"media_type must be either {SSE!r} or {TEXT!r}")
        if (told := attrs.get("conversation_id")) is not None:
            attrs["conversation_id"] = id_in(told, what="conversation")
        return attrs


class InterruptRequest(StrictSerializer):
    """Which turn to stop: the `request_id` of its start."""

    request_id = Words()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ours are UUIDs."""
        return {"request_id": id_in(attrs["request_id"], what="request")}


class Asked(NamedTuple):
    """A request that can be taken. `plain`: as text, not as server-sent events."""

    conversation_id: UUID | None
    order: Order
    plain: bool


def asked_in(request: Request, *, principal: Principal) -> Asked:
    """What is asked for. Raises `Forbidden`, `UnknownModel`, or DRF's `ValidationError`."""
    body = ChatRequest(data=request.data)
    body.is_valid(raise_exception=True)
    told = body.validated_data
    if told.get("system_prompt") and Scope.ADMIN not in principal.scopes:
        raise Forbidden("A system prompt of one's own needs the scope admin.")
    order = Order(
        request_id=request_id_of(request),
        text=with_attachments(told["query"], told.get("attachments") or ()),
        model=_profile(told, principal=principal),
        system=told.get("system_prompt") or "",
        no_tools=bool(told.get("no_tools")),
    )
    return Asked(told.get("conversation_id"), order, plain=told.get("media_type") == TEXT)


def _profile(told: dict[str, Any], *, principal: Principal) -> str | None:
    if not told.get("model"):
        return None
    return profile_named(principal, provider=told["provider"], model=told["model"]).name


def with_attachments(query: str, attachments: Any) -> str:
    """The message: the query, and each attachment in a fence that is longer than any in it."""
    parts = [query]
    for number, attachment in enumerate(attachments, 1):
        content = attachment["content"]
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
        line_end = "" if content.endswith("\n") else "\n"
        about = f"{attachment['attachment_type']} ({attachment['content_type']})"
        parts.append(f"Attachment {number}: {about}\n{fence}\n{content}{line_end}{fence}")
    return "\n\n".join(parts)


def id_in(told: str, *, what: str) -> UUID:
    """The id that this is."""
    try:
        return UUID(told)
    except ValueError:
        raise serializers.ValidationError(f"Improper {what} ID {told[:100]!r}") from None
