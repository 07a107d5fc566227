"""Taking a queued turn: own it, and gather what its loop needs. Runs in the writer's thread."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from access.profiles import profile_of
from history import context, status
from history.committed import Committed, tell
from history.compaction import Place
from history.conf import chat_settings
from history.models import Status, Turn
from history.options import Options
from llm.registry import Profile
from llm.types import ChatRequest, Sampling, ToolSpec

REPLY_RESERVE = 4_096
"""Tokens of the context window that are left to the reply where the profile sets no bound for it."""


class Claimed(NamedTuple):
    """A turn that is this engine's now."""

    place: Place
    owner_id: int
    profile: Profile
    request: ChatRequest
    last_seq: int


def claim(turn_id: UUID, *, engine: UUID, tools: tuple[ToolSpec, ...]) -> Claimed | None:
    """Own the turn; None if somebody else was first. Raises `UnknownModel` if its profile is gone: then nobody owns
    it, and the caller ends it."""
    with transaction.atomic():
        if not status.claim(turn_id, engine=engine, lease=chat_settings().lease):
            return None
        turn = Turn.objects.select_related("conversation").get(pk=turn_id)
        tell(Committed(turn.conversation_id, turn_id=turn_id, status=Status.RUNNING))
    options = msgspec.convert(turn.options, Options)
    profile = profile_of(options.profile)
    sampling = options.sampling or profile.sampling
    offered = () if options.no_tools else tools
    messages = context.build(
        turn,
        system="\n\n".join(filter(None, (profile.system_prompt, options.system))),
        budget=profile.context_window - _reserve(sampling, offered),
    )
    request = ChatRequest(
        messages=messages,
        tools=offered,
        tool_choice=options.tool_choice,
        sampling=sampling,
        call_id=f"{turn.pk}:{turn.attempt}",
    )
    place = Place(turn.conversation_id, turn.pk, turn.attempt)
    return Claimed(place, turn.owner_id, profile, request, turn.conversation.last_seq)


def _reserve(sampling: Sampling, tools: tuple[ToolSpec, ...]) -> int:
    return (sampling.max_tokens or REPLY_RESERVE) + len(msgspec.json.encode(tools)) // 4
