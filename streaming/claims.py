"""Taking a queued turn: own it, then gather what its loop needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from access.limits import Payer
from access.profiles import profile_of
from history import context, status
from history.compaction import Place
from history.conf import chat_settings
from history.context import Said
from history.errors import NotFound
from history.models import Turn
from history.options import Options
from history.progress import Progress, progress_of
from llm.registry import Profile
from llm.types import ChatRequest, Sampling, ToolSpec

REPLY_RESERVE = 4_096
"""Tokens of the context window that are left to the reply where the profile sets no bound for it."""


class Claimed(NamedTuple):
    """A turn that is this engine's now, and how far it had come. `budget` is what the messages of one call may have, in
    tokens."""

    place: Place
    payer: Payer
    profile: Profile
    request: ChatRequest
    budget: int
    last_seq: int
    progress: Progress


class Begun(NamedTuple):
    """What is known of a turn by the call that made it, and need not be read again. `last_seq` is its message's."""

    turn: Turn
    said: Sequence[Said]
    last_seq: int


def claim(turn_id: UUID, *, engine: UUID) -> int | None:
    """Own the turn, in this attempt; None if somebody else was first. For the writer's thread: nothing but the change
    itself."""
    return status.claim(turn_id, engine=engine, lease=chat_settings().lease)


def verify(turn_ids: Collection[UUID], *, engine: UUID) -> dict[UUID, int]:
    """Renew what is still this engine's of these turns; the attempts of all that it owns."""
    status.renew(turn_ids, engine=engine, lease=chat_settings().lease)
    return {turn_id: attempt for turn_id, (attempt, _) in status.owned(engine).items()}


def gather(turn_id: UUID, *, attempt: int, tools: tuple[ToolSpec, ...], begun: Begun | None = None) -> Claimed:
    """What the loop of a claimed turn needs. Raises `UnknownModel` if its profile is gone, `NotFound` if it is."""
    turn, events, last_seq = begun if begun is not None and attempt == status.FIRST else _read(turn_id)
    progress = progress_of(events)
    options = msgspec.convert(turn.options, Options)
    profile = profile_of(options.profile)
    sampling = options.sampling or profile.sampling
    offered = () if options.no_tools else tools
    system = "\n\n".join(filter(None, (profile.system_prompt, options.system)))
    budget = profile.context_window - _reserve(sampling, offered)
    request = ChatRequest(
        messages=context.build(turn, system=system, budget=budget, said=progress.said),
        tools=offered,
        tool_choice=options.tool_choice,
        sampling=sampling,
        call_id=f"{turn.pk}:{attempt}",
    )
    place = Place(turn.conversation_id, turn.pk, attempt)
    return Claimed(place, Payer(turn.owner_id, turn.key_id), profile, request, budget, last_seq, progress)


def _read(turn_id: UUID) -> tuple[Turn, Sequence[Said], int]:
    turn = Turn.objects.select_related("conversation").filter(pk=turn_id).first()
    if turn is None:
        raise NotFound
    return turn, context.events_of([turn_id]).get(turn_id, []), turn.conversation.last_seq


def _reserve(sampling: Sampling, tools: tuple[ToolSpec, ...]) -> int:
    return (sampling.max_tokens or REPLY_RESERVE) + len(msgspec.json.encode(tools)) // 4
