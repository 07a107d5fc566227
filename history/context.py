"""What a model is told of the conversation so far: always valid for a provider, newest kept, within a token budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import TypeAlias
from uuid import UUID

import msgspec

from history import events
from history.compaction import INTERRUPTED
from history.events import Kind
from history.models import Event, Turn
from llm.types import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage

Said: TypeAlias = tuple[str, dict[str, object]]
"""Kind and data of an event."""

PAGE = 20
"""Turns of which the parents are looked up at a time."""


def build(turn: Turn, *, system: str, budget: int, said: Sequence[Said] | None = None) -> tuple[Message, ...]:
    """The messages for the next call of `turn`: system text, the chain of its parents, its own so far; as `fit` cuts
    them. Of the ancestors no more are read than may fit.

    `budget` is in tokens, by `estimate`. `said` are the turn's own events, where they are known.
    """
    head: tuple[Message, ...] = (SystemMessage(text=system),) if system else ()
    own = messages_of(events_of([turn.pk]).get(turn.pk, ()) if said is None else said)
    left = budget - sum(map(estimate, head + own))
    kept: list[tuple[Message, ...]] = []
    for exchange in _ancestors(turn):
        left -= sum(map(estimate, exchange))
        kept.append(exchange)
        if left < 0:
            break
    return fit((*head, *chain.from_iterable(reversed(kept)), *own), budget=budget)


def fit(messages: Sequence[Message], *, budget: int) -> tuple[Message, ...]:
    """The newest exchanges that are within the budget, each whole: from a user's message to the next. System text and
    the last exchange always stay."""
    begins = [at for at, message in enumerate(messages) if isinstance(message, UserMessage)]
    sizes = list(map(estimate, messages))
    left = budget - sum(sizes)
    head = begins[0] if begins else 0
    for begin, end in pairwise(begins):
        if left >= 0:
            return (*messages[:head], *messages[begin:])
        left += sum(sizes[begin:end])
    return (*messages[:head], *messages[begins[-1] if begins else 0 :])


def messages_of(entries: Iterable[Said]) -> tuple[Message, ...]:
    """One turn's events (kind and data) as messages. Every call is answered right after the message that made it,
    by call number; a call without a result gets one that says it was interrupted."""
    said: list[Message] = []
    hops: list[events.AssistantMessage] = []
    results: dict[tuple[int, int], events.ToolResult] = {}
    for kind, data in entries:
        if kind == Kind.USER_MESSAGE:
            said.append(UserMessage(text=msgspec.convert(data, events.UserMessage).text))
        elif kind == Kind.ASSISTANT_MESSAGE:
            hops.append(msgspec.convert(data, events.AssistantMessage))
        elif kind == Kind.TOOL_RESULT:
            result = msgspec.convert(data, events.ToolResult)
            results[result.hop, result.index] = result
    for hop in hops:
        if hop.text or hop.tool_calls:
            said.append(AssistantMessage(text=hop.text, tool_calls=hop.tool_calls))
        said.extend(_answers(hop, results))
    return tuple(said)


def events_of(turn_ids: list[UUID]) -> dict[UUID, list[Said]]:
    """The events of each of these turns, in order."""
    rows = Event.objects.filter(turn_id__in=turn_ids).order_by("turn_id", "seq")
    found: dict[UUID, list[Said]] = {}
    for turn_id, kind, data in rows.values_list("turn_id", "kind", "data"):
        found.setdefault(turn_id, []).append((kind, data))
    return found


def estimate(message: Message) -> int:
    """About how many tokens a message is: a token per four bytes of UTF-8, and four for the frame around it."""
    match message:
        case AssistantMessage(text=text, tool_calls=calls):
            size = len(text.encode()) + sum(len(call.name) + len(call.arguments.encode()) for call in calls)
        case ToolMessage(content=content):
            size = len(content.encode())
        case _:
            size = len(message.text.encode())
    return size // 4 + 4


def _answers(hop: events.AssistantMessage, results: dict[tuple[int, int], events.ToolResult]) -> Iterator[ToolMessage]:
    for index, call in enumerate(hop.tool_calls):
        result = results.get((hop.hop, index))
        yield ToolMessage(
            tool_call_id=call.id,
            name=call.name,
            content=result.content if result else INTERRUPTED,
            is_error=result.is_error if result else True,
        )


def _ancestors(turn: Turn) -> Iterator[tuple[Message, ...]]:
    """The exchanges before `turn`, newest first; read in ever larger steps, because a few may be all that fits."""
    parents = _parents(turn)
    step = 1
    while ids := list(islice(parents, step)):
        found = events_of(ids)
        yield from (messages_of(found.get(pk, ())) for pk in ids)
        step *= 2


def _parents(turn: Turn) -> Iterator[UUID]:
    """The ids of the turns before `turn`, nearest first."""
    rows = Turn.objects.filter(conversation_id=turn.conversation_id).order_by("-created_at", "-pk")
    parents: dict[UUID, UUID | None] = {}
    at = turn.parent_id
    while at is not None:
        while at not in parents:
            page = rows.values_list("pk", "parent_id")[len(parents) : 2 * len(parents) + PAGE]
            if not page:
                return
            parents.update(page)
        yield at
        at = parents[at]
