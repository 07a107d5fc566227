"""The `messages` of a request, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from gateway.errors import BadParameter
from llm.types import Json

TEXTS = ("text",)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a message, by its `type`."""

    type: str
    text: str | None = None
    image_url: Json = None


Content: TypeAlias = str | tuple[Part, ...] | None


class SystemIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="role", tag="system"):
    """What the caller tells the model, after what the site tells it."""

    content: Content


class DeveloperIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="role", tag="developer"):
    """The same by its newer name."""

    content: Content


class UserIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="role", tag="user"):
    """What a person said."""

    content: Content


class AssistantIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    """What the model said before."""

    content: Content = None


class ToolIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="role", tag="tool"):
    """What one of the caller's tools answered."""

    tool_call_id: str
    content: Content


MessageIn: TypeAlias = SystemIn | DeveloperIn | UserIn | AssistantIn | ToolIn


def system_in(messages: Sequence[MessageIn]) -> str:
    """What the caller tells the model, in the order told."""
    told = [
        _text(message.content, where=f"messages[{at}]")
        for at, message in enumerate(messages)
        if isinstance(message, SystemIn | DeveloperIn)
    ]
    return "\n\n".join(filter(None, told))


def said_in(messages: Sequence[MessageIn]) -> str:
    """The last message of a user. Raises `BadParameter` without one."""
    for at, message in reversed(list(enumerate(messages))):
        if isinstance(message, UserIn):
            return _text(message.content, where=f"messages[{at}]")
    raise BadParameter("At least one user message is required.", param="messages")


def _text(content: Content, *, where: str) -> str:
    """All text of a message. Raises `BadParameter` for a part that is something else."""
    if isinstance(content, str):
        return content
    for at, part in enumerate(content or ()):
        if part.type not in TEXTS:
            raise BadParameter(f"Unsupported content part type: {part.type[:100]}", param=f"{where}.content[{at}].type")
    return "".join(part.text or "" for part in content or ())
