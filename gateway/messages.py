"""The `messages` of a request: what the caller tells the model, what was said before, and what is said now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from gateway.errors import BadParameter
from history.events import CallerResult
from llm.types import AssistantMessage, ImagePart, Message, Part, TextPart, ToolCall, ToolMessage, UserMessage

MOST = 2_048
"""Messages of a request. Those that were said before are stored while the user's other requests wait."""
MOST_CALLS = 128
MOST_PARTS = 512
"""Parts of one message: each is looked at for itself, and goes to the model as one."""
IMAGE = re.compile(r"https://\S+|data:image/[\w.+-]+;base64,[A-Za-z0-9+/]+=*", re.ASCII | re.IGNORECASE)


class ImageUrl(msgspec.Struct, frozen=True):
    """An https address, or the image itself: `data:image/png;base64,…`."""

    url: str | None = None
    detail: str | None = None


class PartIn(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a message: `text`, or, of a user, `image_url`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None


Content: TypeAlias = str | Annotated[tuple[PartIn, ...], Meta(max_length=MOST_PARTS)]


class FunctionIn(msgspec.Struct, frozen=True):
    """What was called."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: str


class CallIn(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made before."""

    id: Annotated[str, Meta(min_length=1)]
    type: Literal["function"] = "function"
    function: FunctionIn


class In(msgspec.Struct, frozen=True, kw_only=True, tag_field="role"):
    """Base of what `messages` holds. A `name` is ignored."""


class SystemIn(In, frozen=True, tag="system"):
    """What the caller tells the model, after what the site tells it."""

    content: Content


class DeveloperIn(In, frozen=True, tag="developer"):
    """The same by its newer name."""

    content: Content


class UserIn(In, frozen=True, kw_only=True, tag="user"):
    """What a person said."""

    content: Content


class AssistantIn(In, frozen=True, kw_only=True, tag="assistant"):
    """What the model said before."""

    content: Content | None = None
    refusal: str | None = None
    tool_calls: Annotated[tuple[CallIn, ...], Meta(max_length=MOST_CALLS)] | None = None


class ToolIn(In, frozen=True, kw_only=True, tag="tool"):
    """What one of the caller's tools answered."""

    tool_call_id: str
    content: Content


MessageIn: TypeAlias = SystemIn | DeveloperIn | UserIn | AssistantIn | ToolIn
MessagesIn: TypeAlias = Annotated[tuple[MessageIn, ...], Meta(min_length=1, max_length=MOST)]


class Said(NamedTuple):
    """What messages come to. `earlier` was said before, and is not known here yet."""

    system: str
    earlier: tuple[Message, ...]
    text: str
    parts: tuple[Part, ...]
    results: tuple[CallerResult, ...]


def said_in(messages: Sequence[MessageIn], *, continues: bool) -> Said:
    """What the messages come to. One who `continues` a conversation may repeat it: only what follows the model's last
    message is new. Raises `BadParameter`."""
    known = list(_read(messages, continues=continues))
    if not continues and not any(isinstance(message, UserMessage) for message in known):
        raise BadParameter("At least one user message is required.", param="messages")
    if not known or isinstance(known[-1], AssistantMessage):
        raise BadParameter("The last message must be a user's or a tool's.", param="messages")
    answered = max((at + 1 for at, each in enumerate(known) if isinstance(each, AssistantMessage)), default=0)
    new = known[answered:]
    results = tuple(
        CallerResult(tool_call_id=message.tool_call_id, content=message.content)
        for message in new
        if isinstance(message, ToolMessage)
    )
    last, system = known[-1], _system_in(messages)
    if isinstance(last, ToolMessage):
        return Said(system, () if continues else tuple(known[:answered]), "", (), results)
    assert isinstance(last, UserMessage)
    if continues and len(new) == len(results) + 1:
        return Said(system, (), last.text, last.parts, results)
    return Said(system, tuple((new if continues else known)[:-1]), last.text, last.parts, ())


def _system_in(messages: Sequence[MessageIn]) -> str:
    """What the caller tells the model, in the order told."""
    told = (
        _text(message.content, where=f"messages[{at}]")
        for at, message in enumerate(messages)
        if isinstance(message, SystemIn | DeveloperIn)
    )
    return "\n\n".join(filter(None, told))


def _read(messages: Sequence[MessageIn], *, continues: bool) -> Iterator[UserMessage | AssistantMessage | ToolMessage]:
    """The messages but for what the caller tells the model, and those that say nothing."""
    waiting: dict[str, str] = {}
    """The calls that may be answered now: their tools by their ids."""
    answered: set[str] = set()
    """Those that were."""
    has_begun = False
    for at, message in enumerate(messages):
        where = f"messages[{at}]"
        match message:
            case UserIn(content=content):
                waiting, answered, has_begun = {}, set(), True
                parts = _parts(content, where=where)
                text = "".join(part.text for part in parts if isinstance(part, TextPart))
                is_more = any(not isinstance(part, TextPart) for part in parts)
                if text or is_more or len(messages) == at + 1:
                    yield UserMessage(text=text, parts=parts if is_more else ())
            case AssistantIn(tool_calls=told):
                calls = tuple(
                    ToolCall(id=c.id, name=c.function.name, arguments=c.function.arguments) for c in told or ()
                )
                waiting, answered, has_begun = {call.id: call.name for call in calls}, set(), True
                text = _text(message.content or message.refusal or "", where=where)
                if text or calls:
                    yield AssistantMessage(text=text, tool_calls=calls)
            case ToolIn(tool_call_id=call_id, content=content):
                if call_id in answered:
                    raise BadParameter("There is an answer to this call already.", param=f"{where}.tool_call_id")
                if call_id not in waiting and (has_begun or not continues):
                    sentence = (
                        "A tool's message must follow the assistant's message with the tool_calls that it answers."
                    )
                    raise BadParameter(sentence, param=f"{where}.tool_call_id")
                answered.add(call_id)
                yield ToolMessage(
                    tool_call_id=call_id, name=waiting.pop(call_id, ""), content=_text(content, where=where)
                )


def _parts(content: Content, *, where: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(text=content),)
    return tuple(_part(part, where=f"{where}.content[{at}]") for at, part in enumerate(content))


def _part(part: PartIn, *, where: str) -> Part:
    match part.type:
        case "text":
            return TextPart(text=part.text or "")
        case "refusal":
            return TextPart(text=part.refusal or "")
        case "image_url":
            return _image(part.image_url or ImageUrl(), where=f"{where}.image_url")
    raise BadParameter(f"Unsupported content part type: {part.type[:100]}", param=f"{where}.type")


def _image(told: ImageUrl, *, where: str) -> ImagePart:
    if not told.url:
        raise BadParameter("image_url content part is missing a url", param=f"{where}.url")
    if not IMAGE.fullmatch(told.url):
        sentence = "An image is an https address, or a data URL: data:image/<type>;base64,<data>."
        raise BadParameter(sentence, param=f"{where}.url")
    scheme, _, rest = told.url.partition(":")  # in capitals it is as good, but not to all who are handed it
    return ImagePart(url=f"{scheme.lower()}:{rest}", detail=told.detail)


def _text(content: Content, *, where: str) -> str:
    """All text of a message that may have nothing else."""
    parts = _parts(content, where=where)
    for at, part in enumerate(parts):
        if not isinstance(part, TextPart):
            raise BadParameter("Only users send images.", param=f"{where}.content[{at}].type")
    return "".join(part.text for part in parts if isinstance(part, TextPart))
