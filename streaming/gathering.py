"""What the loop of a turn needs, gathered: for one that begins, and for one that is gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from access.limits import Payer, accounts_by_day
from access.profiles import profile_of
from history import context, status
from history.compaction import Place
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
    tokens; `callers` are the tools that are not ours to run; `accounts` are those of its payer with limits by day."""

    place: Place
    payer: Payer
    accounts: tuple[int, ...]
    profile: Profile
    request: ChatRequest
    callers: frozenset[str]
    budget: int
    last_seq: int
    progress: Progress


class Begun(NamedTuple):
    """What is known of a turn by the call that made it, and need not be read again. `last_seq` is its message's."""

    turn: Turn
    said: Sequence[Said]
    last_seq: int


def gather(turn_id: UUID, *, attempt: int, tools: tuple[ToolSpec, ...], begun: Begun | None = None) -> Claimed:
    """What the loop of a turn needs, which is this engine's in this attempt. Raises `UnknownModel` if its profile is
    gone, `NotFound` if it is."""
    turn, events, last_seq = begun if begun is not None and attempt == status.FIRST else _read(turn_id)
    progress = progress_of(events)
    options = msgspec.convert(turn.options, Options)
    profile = profile_of(options.profile)
    sampling = profile.sampled(options.sampling)
    callers = frozenset(tool.name for tool in options.tools)
    ours = () if options.no_tools else profile.offered(tools)
    offered = (*(tool for tool in ours if tool.name not in callers), *options.tools)
    system = "\n\n".join(filter(None, (profile.system_prompt, options.system)))
    budget = profile.context_window - _reserve(sampling, offered)
    request = ChatRequest(
        messages=context.build(turn, system=system, budget=budget, said=progress.said),
        tools=offered,
        tool_choice=options.tool_choice,
        tool=options.tool,
        sampling=sampling,
        call_id=f"{turn.pk}:{attempt}",
    )
    place, payer = Place(turn.conversation_id, turn.pk, attempt), Payer(turn.owner_id, turn.key_id)
    return Claimed(place, payer, accounts_by_day(payer), profile, request, callers, budget, last_seq, progress)


def _read(turn_id: UUID) -> tuple[Turn, Sequence[Said], int]:
    turn = Turn.objects.select_related("conversation").filter(pk=turn_id).first()
    if turn is None:
        raise NotFound
    return turn, context.events_of([turn_id]).get(turn_id, []), turn.conversation.last_seq


def _reserve(sampling: Sampling, tools: tuple[ToolSpec, ...]) -> int:
    return (sampling.max_tokens or REPLY_RESERVE) + len(msgspec.json.encode(tools)) // 4
