"""The body of `POST /v1/chat/completions`, and the order that it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from access.principals import Principal
from gateway.errors import BadParameter
from gateway.messages import MessageIn, said_in, system_in
from gateway.offers import profile_of
from history.conf import chat_settings
from history.errors import NotFound
from llm.types import Json
from streaming.orders import Order
from web.parsing import BoundedJsonParser

WHERE = re.compile(r" - at `\$\.?(.*)`$")
UNSUPPORTED = {
    "logprobs": "Log probabilities are not stored.",
    "top_logprobs": "Log probabilities are not stored.",
    "audio": "Answers are text.",
    "functions": "Use tools.",
    "function_call": "Use tool_choice.",
    "web_search_options": "Searching the web is a tool's work.",
}
"""Fields that would change the answer and cannot be honoured."""


class StreamOptions(msgspec.Struct, frozen=True):
    """`include_usage`: a last chunk tells what the request has used."""

    include_usage: bool | None = None


class ChatCompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Fields that are not named here are ignored, null is as good as nothing."""

    model: str
    messages: Annotated[tuple[MessageIn, ...], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    modalities: tuple[str, ...] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    audio: Json = None
    functions: Json = None
    function_call: Json = None
    web_search_options: Json = None


class Asked(NamedTuple):
    """A request that can be taken. `keyed`: it may be sent again, and gets the same turn."""

    order: Order
    conversation_id: UUID | None
    model: str
    streams: bool
    with_usage: bool
    keyed: bool


class RequestParser(BoundedJsonParser):
    """Bodies may be larger here: they bring whole conversations."""

    @property
    def most(self) -> int:
        return chat_settings().gateway_message_bytes


def asked_in(body: Json, *, headers: Mapping[str, str], principal: Principal) -> Asked:
    """What is asked for. Raises `BadParameter`, `UnknownModel`, or `NotFound` for a conversation that cannot be."""
    told = _told(body)
    _refuse_unsupported(told)
    profile = profile_of(principal, model=told.model)
    key = headers.get("Idempotency-Key")
    order = Order(request_id=key, text=said_in(told.messages), model=profile.name, system=system_in(told.messages))
    return Asked(
        order,
        conversation_id=_conversation_in(headers),
        model=told.model,
        streams=bool(told.stream),
        with_usage=bool(told.stream_options and told.stream_options.include_usage),
        keyed=key is not None,
    )


def _told(body: Json) -> ChatCompletionRequest:
    try:
        return msgspec.convert(body, ChatCompletionRequest)
    except msgspec.ValidationError as error:
        sentence = str(error)
        where = WHERE.search(sentence)
        code = "missing_required_parameter" if "missing required field" in sentence else "invalid_value"
        raise BadParameter(sentence, param=where[1] if where else None, code=code) from None


def _refuse_unsupported(told: ChatCompletionRequest) -> None:
    if told.n not in (None, 1):
        raise BadParameter("There is one answer to a request: n must be 1.", param="n")
    if told.modalities not in (None, ("text",)):
        raise BadParameter("Answers are text.", param="modalities", code="unsupported_parameter")
    for name, why in UNSUPPORTED.items():
        value: Any = getattr(told, name)
        if value not in (None, False):
            raise BadParameter(f"{name} is not supported. {why}", param=name, code="unsupported_parameter")


def _conversation_in(headers: Mapping[str, str]) -> UUID | None:
    named = headers.get(chat_settings().gateway_conversation_header)
    try:
        return None if named is None else UUID(named)
    except ValueError:
        raise NotFound from None
