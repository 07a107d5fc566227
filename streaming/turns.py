"""Starting and stopping turns: short, synchronous, transactional; safe to call from any thread.

Lock order: user, conversation, turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec
from django.contrib.auth import get_user_model
from django.db import transaction
from msgspec import UNSET

from access import limits, selectors
from access.principals import Principal, Scope
from access.profiles import profile_for
from history import conversations, imports, status, stopping
from history.conf import chat_settings
from history.connections import AWAY
from history.errors import NotFound
from history.events import Kind, UserMessage
from history.locks import transaction_within
from history.log import Appending, appending_for
from history.models import ACTIVE, Event, Turn
from history.prepared import Select, given
from llm.registry import Profile
from streaming import engine
from streaming.cursor import Cursor
from streaming.engine import Engine
from streaming.errors import Busy, Draining, InvalidRequest, TurnActive
from streaming.gathering import Begun
from streaming.orders import Order, check
from streaming.repeats import Again, earlier

TITLE = 80

_LOCK_USER = Select(
    lambda: (
        get_user_model()
        ._base_manager.filter(pk=given(get_user_model(), "pk"))
        .select_for_update(no_key=True)
        .values_list("pk")
    )
)


class Started(NamedTuple):
    """The turn that answers an order.

    `begin` is just before the turn's own events; `resume` is where the caller had been, if the order said so. `fresh`:
    this call made the turn. `ended`: it was over already, so its events are the stored answer.
    """

    turn_id: UUID
    conversation_id: UUID
    begin: Cursor
    resume: Cursor | None = None
    fresh: bool = False
    ended: bool = False

    @property
    def cached(self) -> bool:
        """Whether the answer was there before it was asked for."""
        return self.ended and not self.fresh


def start_turn(
    principal: Principal,
    conversation_id: UUID | None,
    order: Order,
    *,
    again: Again = Again(),  # noqa: B008
) -> Started:
    """Store the message and have a turn run for it; a request that was made before gets the same turn, for ever.

    Without a conversation it opens one. Raises `NotFound`, `Forbidden`, `InvalidRequest`, `TextTooLong`,
    `UnknownModel`, `RequestConflict`, `TurnActive`, `Draining`, `Busy` (also when the database cannot be asked) or
    `RateLimited`; then nothing is stored.
    """
    principal.require(Scope.CHAT)
    check(order)
    turn_id = uuid4()
    here = engine.current()
    expecting = here.tasks.expecting(turn_id) if here else nullcontext()
    with _ordering(), expecting, transaction_within(status.ORDER_LOCK_TIMEOUT):
        _lock_user(principal)
        found = earlier(principal, conversation_id, order, again=again)
        if found is None:
            return _start(principal, conversation_id, order, turn_id=turn_id, here=here)
        turn = found.turn
        ended = turn.status not in ACTIVE
        return Started(turn.pk, turn.conversation_id, found.begin, found.resume, ended=ended)


def stop_turn(principal: Principal, turn_id: UUID) -> bool:
    """Ask for a turn's end, wherever it runs. False if it is over or being stopped. Raises `NotFound`, `Forbidden`,
    `Busy`."""
    principal.require(Scope.CHAT)
    with _ordering():
        return stopping.stop(selectors.turn(principal, turn_id).pk)


def delete_conversation(principal: Principal, conversation_id: UUID) -> None:
    """Stop what runs in a conversation and delete it with all its events. Raises `NotFound`, `Forbidden`, `Busy`."""
    principal.require(Scope.CHAT)
    with _ordering():
        conversations.delete(selectors.conversation(principal, conversation_id).pk)


@contextmanager
def _ordering() -> Iterator[None]:
    """Refuse as `Busy` what cannot be done now: the database is away, or somebody holds a lock for long."""
    try:
        yield
    except AWAY as error:
        raise Busy from error


def _start(
    principal: Principal, conversation_id: UUID | None, order: Order, *, turn_id: UUID, here: Engine | None
) -> Started:
    """Where an engine is, the turn is its own from the commit on; nobody else needs to claim it."""
    profile = profile_for(principal, order.model)
    _check_capacity(here)
    running = limits.admit(principal)
    if conversation_id is None:
        conversation_id = conversations.create(principal.user_id, ephemeral=order.ephemeral).pk
    else:
        order = msgspec.structs.replace(order, ephemeral=False)
    with appending_for(conversation_id, owner_id=principal.user_id) as log:
        if conversation_id in running:
            raise TurnActive(str(running[conversation_id]))
        log.ephemeral = order.ephemeral
        turn = _store(principal, order, turn_id=turn_id, here=here, log=log, profile=profile)
        begin = Cursor(log.last_seq - 1)
        if here is not None:  # launched first, told second: whoever hears of it may stop it
            begun = Begun(turn, [(entry.kind, entry.data) for entry in log.entries()[-1:]], log.last_seq)
            transaction.on_commit(partial(here.tasks.launch, turn_id, attempt=status.FIRST, begun=begun))
    return Started(turn_id, conversation_id, begin, fresh=True)


def _store(
    principal: Principal, order: Order, *, turn_id: UUID, here: Engine | None, log: Appending, profile: Profile
) -> Turn:
    replaced = _replaced(log.conversation_id, order)
    said = _said_by(replaced) if order.text is None else _said_in(order)
    parent_id = replaced.parent_id if replaced else log.asked
    _check_results(parent_id, order)
    if order.earlier:
        parent_id = imports.append(log, order.earlier, owner_id=principal.user_id, key_id=principal.key_id)
    turn = Turn(
        pk=turn_id,
        conversation_id=log.conversation_id,
        owner_id=principal.user_id,
        key_id=principal.key_id,
        parent_id=parent_id,
        replaces=replaced,
        request_id=order.request_id,
        fingerprint=order.fingerprint(),
        options=msgspec.to_builtins(msgspec.structs.replace(order.options, profile=profile.name)),
        profile=profile.name,
        model=profile.model,
    )
    status.create(turn, engine=here.id if here else None, lease=chat_settings().lease)
    log.append(turn_id, _user_message(turn, said))
    log.status = (turn_id, turn.status)
    log.title = log.title or _title(_first_text(log))
    return turn


def _lock_user(principal: Principal) -> None:
    """What is counted per user holds until the commit."""
    if _LOCK_USER.first(pk=principal.user_id) is None:
        raise NotFound


def _check_capacity(here: Engine | None) -> None:
    """Refuse early what this process could not carry."""
    if here is None:
        return
    if here.draining:
        raise Draining
    if here.tasks.room() <= 0:
        raise Busy


def _replaced(conversation_id: UUID, order: Order) -> Turn | None:
    if order.replaces is None:
        return None
    turn = Turn.objects.filter(conversation_id=conversation_id, pk=order.replaces).first()
    if turn is None:
        raise InvalidRequest("The turn to replace is not in this conversation.")
    return turn


def _said_in(order: Order) -> UserMessage:
    return UserMessage(text=order.text or "", parts=order.parts or UNSET, results=order.results or UNSET)


def _said_by(turn: Turn | None) -> UserMessage:
    """The message of a turn, to be asked again."""
    data = Event.objects.filter(turn=turn, kind=Kind.USER_MESSAGE).values_list("data", flat=True).first()
    if data is None:
        raise InvalidRequest("The turn to replace has no message that could be asked again.")
    return msgspec.convert(data, UserMessage)


def _check_results(parent_id: UUID | None, order: Order) -> None:
    """Each of them answers a call of the turn before."""
    answered = order.answered()
    if not answered:
        return
    known: set[str] = set()
    if parent_id is not None:
        messages = Event.objects.filter(turn_id=parent_id, kind=Kind.ASSISTANT_MESSAGE).order_by("-seq")
        data = messages.values_list("data", flat=True).first() or {}
        known = {call["id"] for call in data.get("tool_calls", ())}
    for call_id in answered:
        if call_id not in known:
            raise InvalidRequest(f"There is no call {call_id[:100]!r} in the answer before that waits.")


def _user_message(turn: Turn, said: UserMessage) -> UserMessage:
    return msgspec.structs.replace(
        said,
        request_id=turn.request_id,
        parent=str(turn.parent_id) if turn.parent_id else None,
        replaces=str(turn.replaces_id) if turn.replaces_id else None,
        model=turn.profile,
    )


def _first_text(log: Appending) -> str:
    """What was said first of what is being appended."""
    return next((text for row in log.rows if (text := row.data.get("text"))), "")


def _title(text: str) -> str:
    line = next(iter(text.strip().splitlines()), "").strip()
    return line if len(line) <= TITLE else line[: TITLE - 1].rstrip() + "…"
