"""The body of `POST /v1/chat/completions`, and the order that it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.errors import BadParameter, Fault
from gateway.messages import MessagesIn, said_in
from gateway.offers import naming, profile_in
from gateway.tools import ChoiceIn, ToolsIn, choice_in, tools_in
from history.conf import chat_settings
from history.errors import NotFound
from llm.shapes import ready
from llm.types import Json, Sampling
from streaming.errors import InvalidRequest
from streaming.orders import Order
from web.parsing import BoundedJsonParser

NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""As JSON has it: an escape, but for one whose backslash is escaped itself."""
ON_DISCONNECT = "X-Verbatim-On-Disconnect"
SENTENCE = 500
"""How much is said of a field that is wrong: the sentence repeats its value."""
WHERE = " - at `$"
WHOLE = ("max_tokens", "max_completion_tokens", "seed", "n", "top_logprobs")
"""The integers. 5.0 is one too, as JSON Schema has it."""
EXACT = 2**53
"""From here on a number with a point may stand for its neighbours as well."""
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
    messages: MessagesIn
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: ToolsIn | None = None
    tool_choice: ChoiceIn | None = None
    parallel_tool_calls: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    stop: str | Annotated[tuple[str, ...], Meta(max_length=4)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Json] | None = None
    n: int | None = None
    modalities: tuple[str, ...] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    audio: Json = None
    functions: Json = None
    function_call: Json = None
    web_search_options: Json = None


ready(ChatCompletionRequest)


class Asked(NamedTuple):
    """A request that can be taken. `keyed`: it may be sent again, and gets the same turn.
    `leaving_stops`: the turn is to be stopped if the caller leaves."""

    order: Order
    conversation_id: UUID | None
    model: str
    streams: bool
    with_usage: bool
    keyed: bool
    leaving_stops: bool

    @property
    def callers(self) -> frozenset[str]:
        """The names of the caller's own tools."""
        return frozenset(tool.name for tool in self.order.tools)


class RequestParser(BoundedJsonParser):
    """Bodies may be larger here: they bring whole conversations. What no database stores is refused wherever it is."""

    @property
    def most(self) -> int:
        return chat_settings().gateway_message_bytes

    def decode(self, body: bytes) -> Json:
        if NUL.search(body):
            raise InvalidRequest("A request may not contain U+0000.")
        return super().decode(body)


def asked_in(body: Json, *, headers: Mapping[str, str]) -> Asked:
    """What is asked for. Raises `BadParameter`, `UnknownModel` for what is no model's id, or `NotFound` for a
    conversation that cannot be."""
    told = _told(body)
    _refuse_unsupported(told)
    with naming(told.model):
        profile = profile_in(told.model)
    key, conversation_id = headers.get("Idempotency-Key"), _conversation_in(headers)
    said = said_in(told.messages, continues=conversation_id is not None)
    tools = tools_in(told.tools or ())
    tool_choice, tool = choice_in(told.tool_choice, tools=tools)
    order = Order(
        request_id=key,
        text=said.text,
        model=profile,
        system=said.system,
        parts=said.parts,
        results=said.results,
        earlier=said.earlier,
        sampling=_sampling(told),
        tools=tools,
        tool_choice=tool_choice,
        tool=tool,
        ephemeral=True,
    )
    return Asked(
        order,
        conversation_id=conversation_id,
        model=told.model,
        streams=bool(told.stream),
        with_usage=bool(told.stream_options and told.stream_options.include_usage),
        keyed=key is not None,
        leaving_stops=_leaving_stops(headers),
    )


def _told(body: Json) -> ChatCompletionRequest:
    if isinstance(body, dict):
        body = body | {name: int(body[name]) for name in WHOLE if _is_whole(body.get(name))}
    try:
        return msgspec.convert(body, ChatCompletionRequest)
    except msgspec.ValidationError as error:
        sentence = str(error)
        told, _, where = sentence.rpartition(WHERE)  # the last: a value that is repeated before may look like it
        code: Fault = "missing_required_parameter" if "missing required field" in sentence else "invalid_value"
        raise BadParameter(sentence[:SENTENCE], param=where.strip(".`") if told else None, code=code) from None


def _is_whole(value: Json) -> bool:
    """Whether it is a whole number with a point."""
    return isinstance(value, float) and value.is_integer() and abs(value) < EXACT


def _sampling(told: ChatCompletionRequest) -> Sampling | None:
    """How the caller wants the words to be chosen, as far as it says."""
    sampling = Sampling(
        temperature=told.temperature,
        top_p=told.top_p,
        max_tokens=told.max_completion_tokens or told.max_tokens,
        seed=told.seed,
        stop=(told.stop,) if isinstance(told.stop, str) else told.stop or None,
        presence_penalty=told.presence_penalty,
        frequency_penalty=told.frequency_penalty,
        logit_bias=told.logit_bias,
        reasoning_effort=told.reasoning_effort,
        response_format=told.response_format,
        parallel_tool_calls=told.parallel_tool_calls,
    )
    return sampling if sampling != Sampling() else None


def _refuse_unsupported(told: ChatCompletionRequest) -> None:
    if told.n not in (None, 1):
        raise BadParameter("There is one answer to a request: n must be 1.", param="n")
    if told.modalities not in (None, ("text",)):
        raise BadParameter("Answers are text.", param="modalities", code="unsupported_parameter")
    for name, why in UNSUPPORTED.items():
        value: Any = getattr(told, name)
        if value not in (None, False):
            raise BadParameter(f"{name} is not supported. {why}", param=name, code="unsupported_parameter")


def _leaving_stops(headers: Mapping[str, str]) -> bool:
    told = headers.get(ON_DISCONNECT, "continue").strip().lower()
    if told not in ("continue", "cancel"):
        raise BadParameter(f"{ON_DISCONNECT} is continue or cancel.", param=ON_DISCONNECT)
    return told == "cancel"


def _conversation_in(headers: Mapping[str, str]) -> UUID | None:
    named = headers.get(chat_settings().gateway_conversation_header)
    try:
        return None if named is None else UUID(named)
    except ValueError:
        raise NotFound from None
