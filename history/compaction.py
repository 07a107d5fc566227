"""How a hop and a turn end in the log: the draft's batches give way, in one transaction, to the events that remain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import IntegrityError
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Length

from history import status
from history.batches import drafted
from history.calls import Asked, Call, usage_of
from history.calls import tell as tell_call
from history.committed import Committed, tell
from history.draft import Draft
from history.errors import Fenced, NotFound
from history.events import AssistantMessage, Kind, Stats, ToolResult, TurnEnded, TurnError
from history.log import Appending, appending, appending_to, position
from history.models import ACTIVE, DeltaBatch, Event, Status, Turn
from llm.types import total_of

INTERRUPTED = "Interrupted before it finished. It may have taken effect."


class Place(msgspec.Struct, frozen=True):
    """Which attempt of which turn writes."""

    conversation_id: UUID
    turn_id: UUID
    attempt: int


class BrokenOff(NamedTuple):
    """A call of a turn that is given back, and its conversation."""

    conversation_id: UUID
    call: Call


def end_hop(place: Place, message: AssistantMessage, *, call: Call | None = None) -> None:
    """The model has spoken, in that call, and asks for tools: its message replaces the draft. Raises `Fenced`,
    `NotFound`."""
    once = _once(place, kind=Kind.ASSISTANT_MESSAGE, hop=message.hop)
    with once, appending(place.conversation_id, lock_timeout=status.LOCK_TIMEOUT) as log:
        status.fence(place.turn_id, attempt=place.attempt)
        log.append(place.turn_id, message)
        tell_call(log, place.turn_id, call)
        _batches(place, hop=message.hop).delete()


def add_result(place: Place, result: ToolResult) -> None:
    """A tool has answered. Raises `Fenced`, `NotFound`."""
    once = _once(place, kind=Kind.TOOL_RESULT, hop=result.hop, index=result.index)
    with once, appending(place.conversation_id, lock_timeout=status.LOCK_TIMEOUT) as log:
        status.fence(place.turn_id, attempt=place.attempt)
        log.append(place.turn_id, result)


def end_turn(place: Place, *, message: AssistantMessage | None, ended: TurnEnded, call: Call | None = None) -> None:
    """The turn is over: last message, last call, end and status in one transaction. Raises `Fenced`, `NotFound`."""
    with appending(place.conversation_id, lock_timeout=status.LOCK_TIMEOUT) as log:
        status.fence(place.turn_id, attempt=place.attempt)
        if message is not None:
            log.append(place.turn_id, message)
        _finish(log, place, ended, stats=tell_call(log, place.turn_id, call))


def release(attempts: Mapping[UUID, int], *, engine: UUID, lease: float, calls: Mapping[UUID, BrokenOff]) -> set[UUID]:
    """Give back these turns of an engine, and tell of the calls of theirs, by turn, that were broken off: see
    `history.status.release`. Returns which are; one whose conversation somebody has locked is left out as well."""
    with appending_to([each.conversation_id for each in calls.values()], lock_timeout=status.LOCK_TIMEOUT) as logs:
        locked = {turn_id for turn_id, each in calls.items() if each.conversation_id not in logs}
        free = {turn_id: attempt for turn_id, attempt in attempts.items() if turn_id not in locked}
        released = status.release(free, engine=engine, lease=lease)
        for turn_id in released & calls.keys():
            conversation_id, call = calls[turn_id]
            tell_call(logs[conversation_id], turn_id, call)
    return released


def cancel_queued(conversation_id: UUID, *, turn_id: UUID) -> bool:
    """Edge g, queued → cancelled: a turn that nobody has begun ends at once. False if somebody has."""
    with appending(conversation_id, lock_timeout=status.ORDER_LOCK_TIMEOUT) as log:
        try:
            status.fence(turn_id, attempt=status.NOT_BEGUN, still=Q(status=Status.QUEUED))
        except Fenced:
            return False
        _finish(log, Place(conversation_id, turn_id, status.NOT_BEGUN), TurnEnded(status="cancelled"))
    return True


def end_lapsed(place: Place, *, error: TurnError, still: Q, asked: Asked | None = None) -> None:
    """End a turn whose process is gone, with what it had said: stored batches become its last message, calls without
    a result get one that says so. `asked` is what it asked, unless it had been released. Raises `Fenced` if it is not
    gone after all, `NotFound`."""
    with appending(place.conversation_id, lock_timeout=status.LOCK_TIMEOUT) as log:
        status.fence(place.turn_id, attempt=place.attempt, still=still)  # from here on nobody renews it
        call = lost_call(place, asked) if asked is not None else None
        _end_early(log, place, error, call=call)


def end_broken(turn_id: UUID, *, engine: UUID, error: TurnError, call: Call | None = None) -> None:
    """End a turn of this engine whose own task has failed, with what is stored of it. Nothing happens if it has ended
    already, is gone, or was never claimed: then it is still queued. The writer does this, so it waits for no lock for
    long."""
    row = Turn.objects.filter(pk=turn_id, engine=engine, status__in=ACTIVE).values_list("conversation_id", "attempt")
    for conversation_id, attempt in row:
        place = Place(conversation_id, turn_id, attempt)
        with suppress(Fenced, NotFound), appending(conversation_id, lock_timeout=status.LOCK_TIMEOUT) as log:
            status.fence(turn_id, attempt=attempt)
            _end_early(log, place, error, call=call)


def lost_call(place: Place, asked: Asked) -> Call | None:
    """The call that was lost with a process, if it was asking the model; in its tools it was not. For the transaction
    that ends the turn or takes it over."""
    said = spoken(place.turn_id)
    if unanswered(said):
        return None
    hop = sum(isinstance(each, AssistantMessage) for each in said)
    batches = _batches(place, hop=hop).aggregate(length=Sum(Length("text")))
    return asked.lost(attempt=place.attempt, hop=hop, said=batches["length"] or 0)


def spoken(turn_id: UUID) -> list[AssistantMessage | ToolResult]:
    """What is stored of a turn's model and tools, in order."""
    types = {Kind.ASSISTANT_MESSAGE: AssistantMessage, Kind.TOOL_RESULT: ToolResult}
    rows = Event.objects.filter(turn_id=turn_id, kind__in=types).order_by("seq").values_list("kind", "data")
    return [msgspec.convert(data, types[Kind(kind)]) for kind, data in rows]


def unanswered(said: Iterable[AssistantMessage | ToolResult]) -> Sequence[ToolResult]:
    """A result for every call among these that has none."""
    missing: dict[tuple[int, int], ToolResult] = {}
    for each in said:
        if isinstance(each, ToolResult):
            missing.pop((each.hop, each.index), None)
            continue
        for index, call in enumerate(each.tool_calls):
            missing[each.hop, index] = ToolResult(
                hop=each.hop,
                index=index,
                tool_call_id=call.id,
                name=call.name,
                content=INTERRUPTED,
                is_error=True,
            )
    return list(missing.values())


@contextmanager
def _once(place: Place, **event: object) -> Iterator[None]:
    """A write that may have been committed before, without our hearing of it: then all is well, but nobody was told."""
    try:
        yield
    except IntegrityError:
        if not Event.objects.filter(turn_id=place.turn_id, **event).exists():
            raise
        tell(Committed(place.conversation_id, last_seq=position(place.conversation_id)))


def _end_early(log: Appending, place: Place, error: TurnError, *, call: Call | None) -> None:
    """What is stored becomes the last message, and open calls are answered; a turn that was being stopped is cancelled,
    any other has failed."""
    stopping = Turn.objects.filter(pk=place.turn_id, status=Status.STOPPING).exists()
    said = spoken(place.turn_id)
    usage = total_of(each.usage for each in said if isinstance(each, AssistantMessage))
    for result in unanswered(said):
        log.append(place.turn_id, result)
    message = _stored_message(place)
    if message is not None:
        log.append(place.turn_id, message)
    cancelled = TurnEnded(status="cancelled", usage=usage, finish_reason="cancelled")
    failed = TurnEnded(status="failed", error=error, usage=usage)
    _finish(log, place, cancelled if stopping else failed, stats=tell_call(log, place.turn_id, call))


def _finish(log: Appending, place: Place, ended: TurnEnded, *, stats: Stats | None = None) -> None:
    """What the turn has used is what its calls have, by the newest snapshot, unless its messages say more: calls that
    a process of the version before made are not in it."""
    if stats is not None and stats.turn_id == str(place.turn_id):
        used = usage_of(stats.turn)
        if ended.usage is None or used.total >= ended.usage.total:
            ended = msgspec.structs.replace(ended, usage=used, cost=stats.turn.cost)
    log.append(place.turn_id, ended)
    log.status = (place.turn_id, ended.status)
    status.end(place.turn_id, attempt=place.attempt, ended=ended)
    DeltaBatch.objects.filter(turn_id=place.turn_id).delete()


def _batches(place: Place, *, hop: int) -> QuerySet[DeltaBatch]:
    return DeltaBatch.objects.filter(turn_id=place.turn_id, attempt=place.attempt, hop=hop)


def _stored_message(place: Place) -> AssistantMessage | None:
    batches = list(DeltaBatch.objects.filter(turn_id=place.turn_id, attempt=place.attempt).order_by("hop", "start"))
    if not batches:
        return None
    hop = batches[-1].hop
    draft = Draft(place.conversation_id, turn_id=place.turn_id, attempt=place.attempt, hop=hop, after_seq=0)
    drafted(draft, (batch for batch in batches if batch.hop == hop))
    model = Turn.objects.values_list("model", flat=True).get(pk=place.turn_id)
    return msgspec.structs.replace(draft.message("interrupted"), model=model)
