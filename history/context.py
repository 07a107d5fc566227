"""What a model is told of the conversation so far: always valid for a provider, newest kept, within a token budget."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise, repeat
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from django.db.models import Q, QuerySet, Subquery
from msgspec import UNSET

from history import events
from history.compaction import INTERRUPTED
from history.events import Kind
from history.models import Event, Turn
from history.prepared import Row, Select, given
from llm.types import AssistantMessage, ChatRequest, ImagePart, Message, SystemMessage, ToolMessage, UserMessage

Said: TypeAlias = tuple[str, dict[str, object]]
"""Kind and data of an event."""
Answers: TypeAlias = Mapping[str, str]
"""What the caller's own tools have answered, by the id of the call."""
NO_ANSWERS: Answers = {}

IMAGE = 4_000
"""About as many bytes as an image is counted for: a thousand tokens."""

FIRST = 1
BEGINNING: Row = (FIRST - 1, None, None, "", {})
"""What is before the first event."""


def _back(limit: int) -> Select:
    """So many events with their turns, newest first, from the last one of a turn back, or from before a number."""

    def query() -> QuerySet[Any, Any]:
        end = Event.objects.filter(turn_id=given(Event, "turn")).order_by("-seq").values("seq")[:1]
        before = Q(seq__lt=given(Event, "seq", name="before"), seq__lte=Subquery(end))
        rows = Event.objects.filter(before, conversation_id=given(Event, "conversation"), turn__isnull=False)
        rows = rows.exclude(kind__in=events.TELLS)
        return rows.order_by("-seq").values_list("seq", "turn_id", "turn__parent_id", "kind", "data")[:limit]

    return Select(query)


_A_FEW, _MANY = _back(16), _back(256)
"""A few may be all that fits."""


def build(turn: Turn, *, system: str, budget: int, said: Sequence[Said] | None = None) -> tuple[Message, ...]:
    """The messages for the next call of `turn`: system text, the chain of its parents, its own so far; as `fit` cuts
    them. Of the ancestors no more are read than may fit.

    `budget` is in tokens, by `estimate`. `said` are the turn's own events, where they are known.
    """
    head: tuple[Message, ...] = (SystemMessage(text=system),) if system else ()
    entries = events_of([turn.pk]).get(turn.pk, []) if said is None else said
    own = messages_of(entries)
    left = budget - sum(map(estimate, head + own))
    kept: list[tuple[Message, ...]] = []
    is_whole = _has_question(own)
    for exchange in _ancestors(turn, answers=answers_in(entries)):
        left -= sum(map(estimate, exchange))
        kept.append(exchange)
        is_whole = is_whole or _has_question(exchange)
        if left < 0 and is_whole:
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


def messages_of(entries: Iterable[Said], *, answers: Answers = NO_ANSWERS) -> tuple[Message, ...]:
    """One turn's events (kind and data) as messages. Every call is answered right after the message that made it,
    by call number, or, if it is of the caller's own tools, by its id with what the next turn has brought: `answers`. A
    call without a result gets one that says it was interrupted."""
    said: list[Message] = []
    hops: list[events.AssistantMessage] = []
    results: dict[tuple[int, int], events.ToolResult] = {}
    for kind, data in entries:
        if kind == Kind.USER_MESSAGE:
            asked = msgspec.convert(data, events.UserMessage)
            if asked.text or asked.parts or asked.results is UNSET:
                said.append(UserMessage(text=asked.text, parts=asked.parts or ()))
        elif kind == Kind.ASSISTANT_MESSAGE:
            hops.append(msgspec.convert(data, events.AssistantMessage))
        elif kind == Kind.TOOL_RESULT:
            result = msgspec.convert(data, events.ToolResult)
            results[result.hop, result.index] = result
    for hop in hops:
        if hop.text or hop.tool_calls:
            said.append(AssistantMessage(text=hop.text, tool_calls=hop.tool_calls))
        said.extend(_answers(hop, results, answers=answers))
    return tuple(said)


def answers_in(entries: Iterable[Said]) -> Answers:
    """What a turn's message brings along as answers to the parent's calls."""
    for kind, data in entries:
        if kind == Kind.USER_MESSAGE and data.get("results"):
            results = msgspec.convert(data["results"], tuple[events.CallerResult, ...])
            return {result.tool_call_id: result.content for result in results}
    return NO_ANSWERS


def events_of(turn_ids: list[UUID]) -> dict[UUID, list[Said]]:
    """The events of each of these turns, in order."""
    rows = Event.objects.filter(turn_id__in=turn_ids).order_by("turn_id", "seq")
    found: dict[UUID, list[Said]] = {}
    for turn_id, kind, data in rows.values_list("turn_id", "kind", "data"):
        found.setdefault(turn_id, []).append((kind, data))
    return found


def estimate_of(request: ChatRequest) -> int:
    """About how many tokens the prompt of a call is, with its tools."""
    return sum(map(estimate, request.messages)) + len(msgspec.json.encode(request.tools)) // 4


def estimate(message: Message) -> int:
    """About how many tokens a message is: a token per four bytes of UTF-8, and four for the frame around it."""
    match message:
        case AssistantMessage(text=text, tool_calls=calls):
            size = len(text.encode()) + sum(len(call.name) + len(call.arguments.encode()) for call in calls)
        case ToolMessage(content=content):
            size = len(content.encode())
        case UserMessage(text=text, parts=parts):
            size = len(text.encode()) + IMAGE * sum(isinstance(part, ImagePart) for part in parts)
        case _:
            size = len(message.text.encode())
    return size // 4 + 4


def _answers(
    hop: events.AssistantMessage, results: dict[tuple[int, int], events.ToolResult], *, answers: Answers
) -> Iterator[ToolMessage]:
    for index, call in enumerate(hop.tool_calls):
        result = results.get((hop.hop, index))
        told = result.content if result else answers.get(call.id)
        yield ToolMessage(
            tool_call_id=call.id,
            name=call.name,
            content=INTERRUPTED if told is None else told,
            is_error=result.is_error if result else told is None,
        )


def _has_question(exchange: Iterable[Message]) -> bool:
    return any(isinstance(message, UserMessage) for message in exchange)


def _ancestors(turn: Turn, *, answers: Answers) -> Iterator[tuple[Message, ...]]:
    """The exchanges before `turn`, newest first; `answers` are to the parent's calls. They are found by going back in
    the log, for mostly a turn follows the one before it; each stretch that is read begins where the next ancestor ends.
    Nothing is between a turn's events.
    """
    at, parent = turn.parent_id, None
    said: list[Said] = []
    before = sys.maxsize
    stretches = chain((_A_FEW,), repeat(_MANY))
    while at is not None and before > FIRST:
        rows = next(stretches).rows(conversation=turn.conversation_id, turn=at, before=before)
        if not rows or rows[-1][0] == FIRST:
            rows.append(BEGINNING)
        for _, turn_id, its_parent, kind, data in rows:
            if said and turn_id != at:
                said.reverse()
                yield messages_of(said, answers=answers)
                answers = answers_in(said)
                at, said = parent, []
            if turn_id == at:
                said.append((kind, data))
                parent = its_parent
        before = rows[-1][0]
