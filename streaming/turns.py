"""Starting and stopping turns: short, synchronous, transactional; safe to call from any thread.

Lock order: user, conversation, turn.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.contrib.auth import get_user_model
from django.db import OperationalError, transaction

from access import selectors
from access.principals import Principal, Scope
from access.profiles import profile_for
from history import conversations, stopping
from history.conf import chat_settings
from history.errors import NotFound
from history.events import Kind, UserMessage
from history.locks import transaction_within
from history.log import appending
from history.models import ACTIVE, Conversation, Event, Status, Turn
from history.options import Options
from streaming import engine
from streaming.cursor import Cursor
from streaming.errors import (
    Busy,
    Draining,
    InvalidRequest,
    RequestConflict,
    TextTooLong,
    TooManyTurns,
    TurnActive,
)

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
TITLE = 80
LOCK_TIMEOUT = 2.0
"""Seconds that an order waits for a row that somebody else has locked, before it is refused as `Busy`."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for. `text` may be None with `replaces`: then the old message is asked again."""

    request_id: str | None = None
    text: str | None = None
    model: str | None = None
    replaces: UUID | None = None

    def fingerprint(self) -> str:
        """What makes two requests the same, beside their id."""
        meaning = [self.text, self.model, str(self.replaces) if self.replaces else None]
        return hashlib.sha256(msgspec.json.encode(meaning)).hexdigest()


class Started(NamedTuple):
    """The turn that answers an order. `cursor` is just before the turn's own events.

    `fresh`: this call made it. `ended`: it was over already, so its events are the stored answer.
    """

    turn_id: UUID
    conversation_id: UUID
    cursor: Cursor
    fresh: bool
    ended: bool


def start_turn(principal: Principal, conversation_id: UUID, order: Order) -> Started:
    """Store the message and have a turn run for it; the same request id gets the same turn, for ever.

    Raises `NotFound`, `Forbidden`, `InvalidRequest`, `TextTooLong`, `UnknownModel`, `RequestConflict`, `TurnActive`,
    `Draining`, `Busy` (also when the database cannot be asked) or `TooManyTurns`; then nothing is stored.
    """
    principal.require(Scope.CHAT)
    _check(order)
    try:
        return _start(principal, conversation_id, order)
    except OperationalError as error:
        raise Busy from error


def _start(principal: Principal, conversation_id: UUID, order: Order) -> Started:
    with transaction_within(LOCK_TIMEOUT):
        _lock_user(principal)
        conversation = selectors.conversation(principal, conversation_id)
        earlier = _earlier(principal, conversation, order)
        if earlier is not None:
            return earlier
        profile = profile_for(principal, order.model)
        _admit(principal)
        with appending(conversation.pk) as log:
            active = conversation.turns.filter(status__in=ACTIVE).values_list("pk", flat=True).first()
            if active is not None:
                raise TurnActive(str(active))
            replaced = _replaced(conversation, order)
            text = order.text if order.text is not None else _text_of(replaced)
            turn = Turn.objects.create(
                conversation=conversation,
                owner_id=principal.user_id,
                parent_id=replaced.parent_id if replaced else _newest(conversation),
                replaces=replaced,
                request_id=order.request_id,
                fingerprint=order.fingerprint(),
                options=msgspec.to_builtins(Options(profile=profile.name)),
                profile=profile.name,
                model=profile.model,
            )
            cursor = Cursor(log.last_seq)
            log.append(turn.pk, _user_message(turn, text, order=order))
            log.status = (turn.pk, Status.QUEUED)
        if not conversation.title:
            conversations.set_title_if_empty(conversation.pk, title=_title(text))
        running = engine.current()
        if running is not None:
            transaction.on_commit(partial(running.launch, turn.pk))
    return Started(turn.pk, conversation.pk, cursor, fresh=True, ended=False)


def stop_turn(principal: Principal, turn_id: UUID) -> None:
    """Ask for a turn's end, wherever it runs; nothing happens if it is over. Raises `NotFound`, `Forbidden`."""
    principal.require(Scope.CHAT)
    stopping.stop(selectors.turn(principal, turn_id).pk)


def delete_conversation(principal: Principal, conversation_id: UUID) -> None:
    """Stop what runs in a conversation and delete it with all its events. Raises `NotFound`, `Forbidden`."""
    principal.require(Scope.CHAT)
    conversations.delete(selectors.conversation(principal, conversation_id).pk)


def _lock_user(principal: Principal) -> None:
    """What is counted per user holds until the commit."""
    users = get_user_model()._base_manager.select_for_update(no_key=True)
    if users.filter(pk=principal.user_id).values_list("pk").first() is None:
        raise NotFound


def _check(order: Order) -> None:
    if order.request_id is not None and not REQUEST_ID.fullmatch(order.request_id):
        raise InvalidRequest("A request id has 1 to 128 printable ASCII characters without spaces.")
    if order.text is None:
        if order.replaces is None:
            raise InvalidRequest("A message needs a text.")
        return
    if not order.text.strip():
        raise InvalidRequest("A message needs a text.")
    if len(order.text) > chat_settings().max_text:
        raise TextTooLong(f"A message may have {chat_settings().max_text:,} characters; this one has more.")
    if UNSTORABLE.search(order.text):
        raise InvalidRequest("A message may not contain U+0000 or half of a surrogate pair.")


def _earlier(principal: Principal, conversation: Conversation, order: Order) -> Started | None:
    """The turn that this request id has got already; the lookup comes before every check that could refuse."""
    if order.request_id is None:
        return None
    turn = Turn.objects.filter(owner_id=principal.user_id, request_id=order.request_id).first()
    if turn is None:
        return None
    if turn.conversation_id != conversation.pk or turn.fingerprint != order.fingerprint():
        raise RequestConflict
    first = Event.objects.filter(turn=turn).order_by("seq").values_list("seq", flat=True).first()
    return Started(turn.pk, conversation.pk, Cursor((first or 1) - 1), fresh=False, ended=turn.status not in ACTIVE)


def _admit(principal: Principal) -> None:
    """Refuse early what could not be carried. The user's row is locked, so that the count holds."""
    running = engine.current()
    if running is not None:
        if running.draining:
            raise Draining
        if len(running.turns()) >= chat_settings().max_turns:
            raise Busy
    mine = Turn.objects.filter(owner_id=principal.user_id, status__in=ACTIVE).count()
    if mine >= chat_settings().max_turns_per_user:
        raise TooManyTurns


def _replaced(conversation: Conversation, order: Order) -> Turn | None:
    if order.replaces is None:
        return None
    turn = conversation.turns.filter(pk=order.replaces).first()
    if turn is None:
        raise InvalidRequest("The turn to replace is not in this conversation.")
    return turn


def _newest(conversation: Conversation) -> UUID | None:
    """The last turn of the newest branch, which the new turn follows; the log knows the order, clocks may not."""
    asked = Event.objects.filter(conversation=conversation, kind=Kind.USER_MESSAGE).order_by("-seq")
    return asked.values_list("turn_id", flat=True).first()


def _text_of(turn: Turn | None) -> str:
    data = Event.objects.filter(turn=turn, kind=Kind.USER_MESSAGE).values_list("data", flat=True).first()
    if data is None:
        raise InvalidRequest("The turn to replace has no message that could be asked again.")
    return msgspec.convert(data, UserMessage).text


def _user_message(turn: Turn, text: str, *, order: Order) -> UserMessage:
    return UserMessage(
        text=text,
        request_id=order.request_id,
        parent=str(turn.parent_id) if turn.parent_id else None,
        replaces=str(turn.replaces_id) if turn.replaces_id else None,
        model=turn.profile,
    )


def _title(text: str) -> str:
    line = text.strip().splitlines()[0].strip()
    return line if len(line) <= TITLE else line[: TITLE - 1].rstrip() + "…"
