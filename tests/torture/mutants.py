"""The site with one thing done wrong, by name: mutants that torture must catch, as `hunt.py` tries."""

from __future__ import annotations

import os
import time
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Max, Q
from django.db.models.functions import Now

import tests.torture.stage  # noqa: F401 -- they run on it
from config.asgi import application as application  # sets Django up, which the imports below need
from history import batches, calls, committed, compaction, log, status, takeover
from history.conf import chat_settings
from history.events import TurnEnded, TurnRestarted
from history.models import ACTIVE, Conversation, Event, Turn
from history.progress import progress_of
from llm.openai_answer import Answer
from llm.retries import RetriedReply
from llm.types import Delta
from streaming import gathering, turns
from streaming.doorbell import Doorbell
from streaming.drive import Drive
from streaming.engine import Engine
from streaming.hub import Hub
from streaming.keeper import Keeper
from streaming.orders import Order
from streaming.play import Hop
from streaming.pulse import Pulse, elapsed
from streaming.states import States
from streaming.tasks import Tasks
from tests.torture.cluster import MUTANT
from tests.torture.putting import put
from tools.toolbox import Toolbox


def no_fence() -> None:
    """A process that lost a turn writes all the same."""
    put(status, "fence", lambda turn_id, **which: None)
    put(status, "end", partial(_end, status.end))
    put(Pulse, "feel", _without_doubt)
    put(Pulse, "is_sure", lambda self: True)


def _end(end: Callable[..., None], turn_id: UUID, *, attempt: int, **options: Any) -> None:
    newest = Turn.objects.filter(pk=turn_id).values_list("attempt", flat=True).get()
    end(turn_id, attempt=newest, **options)


def _without_doubt(self: Pulse) -> None:
    self._felt_at = elapsed()


def no_position_query() -> None:
    """A ring that was lost is lost."""
    put(Hub, "keep_positions", _for_ever)


def hears_nothing() -> None:
    """The doorbell rings, and nobody listens."""
    put(Engine, "_heard", lambda self, ring: None)


def does_not_heal() -> None:
    """The connection to the doorbell is never made anew."""
    listen = Doorbell._listen

    async def once(self: Doorbell) -> None:
        with suppress(Exception):
            await listen(self)
        await Future()

    put(Doorbell, "_listen", once)


def renews_all() -> None:
    """Leases of all turns are prolonged, whoever lives."""
    renewed = Pulse.renewed

    def renew(self: Pulse, began: float) -> None:
        lease = timedelta(seconds=chat_settings().lease)
        Turn.objects.filter(status__in=ACTIVE).update(lease_expires_at=Now() + lease)
        renewed(self, began)

    put(Pulse, "renewed", renew)


def publishes_before_commit() -> None:
    """What is appended is told before it is committed, which takes a moment."""

    def tell(change: committed.Committed) -> None:
        committed._tell_all(change)
        time.sleep(0.2)

    put(log, "tell", tell)


def batches_after_compaction() -> None:
    """The writer goes on storing drafts that have become messages."""
    statement = batches._statement
    put(Drive, "_compacting", lambda self, write: write)
    put(Drive, "_close", lambda self: None)
    put(batches, "_statement", lambda: statement().replace(" WHERE EXISTS", " WHERE TRUE OR EXISTS"))


def takes_from_the_living() -> None:
    """No lease is looked at before a turn is taken over."""
    put(status, "LAPSED", Q(engine__isnull=False))


def forgets_results() -> None:
    """Who takes a turn over runs the tools of its hop once more, the finished ones too."""
    put(Toolbox, "is_idempotent", lambda self, name: True)
    put(gathering, "progress_of", lambda events: progress_of(events)._replace(results={}))


def repeats_any_tool() -> None:
    """Tools that were running run again, whatever harm that does."""
    put(Toolbox, "is_idempotent", lambda self, name: True)


def ignores_request_ids() -> None:
    """A request that comes again gets another turn."""
    store = turns._store

    def without_id(principal: Any, order: Order, **options: Any) -> Turn:
        return store(principal, msgspec.structs.replace(order, request_id=None), **options)

    put(turns, "earlier", lambda *args, **options: None)
    put(turns, "_store", without_id)


def keeps_the_attempt() -> None:
    """Who takes a turn over goes on in the same attempt, and fences nobody out."""
    take_over = takeover.take_over

    def in_the_same(turn: status.Abandoned, **options: Any) -> int:
        take_over(turn, **options)
        Turn.objects.filter(pk=turn.turn_id).update(attempt=turn.attempt)
        return turn.attempt

    put(takeover, "take_over", in_the_same)


def ignores_stops_from_elsewhere() -> None:
    """A stop is heard only by the process that it was sent to."""
    owned = status.owned
    put(Engine, "_heard", lambda self, ring: self.hub.hear(ring))
    put(status, "owned", lambda engine: {pk: (attempt, "running") for pk, (attempt, _) in owned(engine).items()})


def withdraws_nothing() -> None:
    """Who takes a turn over says nothing of it."""
    append = log.Appending.append

    def silently(self: log.Appending, turn_id: UUID | None, data: Any) -> int:
        return self.last_seq if isinstance(data, TurnRestarted) else append(self, turn_id, data)

    put(log.Appending, "append", silently)


def stores_no_drafts() -> None:
    """Text is stored when its hop has ended, not before."""
    put(batches, "insert", lambda fresh: None)


def says_nothing_when_idle() -> None:
    """No heartbeats."""
    put(Hub, "keep_time", _for_ever)


def leaves_without_a_word() -> None:
    """SIGTERM ends the process, and whatever it was doing."""
    put(Hub, "close", lambda self: None)
    put(Tasks, "end", _at_once)


def numbers_by_counting() -> None:
    """Who appends looks for the greatest number there is, and locks nothing."""
    put(log, "_ANYBODYS", Unlocked)
    put(log, "_OWNERS", Unlocked)


class Unlocked:
    """The beginning of an append, without the lock on the conversation."""

    @staticmethod
    def first(*, id: UUID, owner: Any = None) -> Any:
        rows = Conversation.objects.filter(Q(pk=id), Q() if owner is None else Q(owner_id=owner))
        events = Event.objects.filter(conversation_id=id)
        asked = events.filter(kind="user_message").order_by("-seq").values_list("turn_id", flat=True).first()
        greatest = events.aggregate(greatest=Max("seq"))["greatest"] or 0
        row = rows.values_list("pk", "title", "ephemeral", Now()).first()
        return row and (row[0], greatest, *row[1:], asked)


def retries_after_content() -> None:
    """A provider that breaks off in mid-answer is asked again."""
    put(RetriedReply, "__anext__", lambda self: self._first())


def truncated_is_completed() -> None:
    """An answer that just ends is as good as any."""
    end = Answer.end

    def as_if_finished(self: Answer) -> list[Delta]:
        self.finish_reason = self.finish_reason or "stop"
        return end(self)

    put(Answer, "end", as_if_finished)


def no_limit_of_rounds() -> None:
    """A model may call tools as often as it likes."""
    begin = Hop.__init__

    def never_last(self: Hop, number: int, **options: Any) -> None:
        begin(self, number, **{**options, "last": False})

    put(Hop, "__init__", never_last)


def ends_what_it_takes_over() -> None:
    """A turn whose process is gone is done, whatever was said of it."""

    def go_on(self: Keeper, turn: status.Abandoned) -> None:
        place = compaction.Place(turn.conversation_id, turn.turn_id, turn.attempt)
        with log.appending(turn.conversation_id) as held:
            message = compaction._stored_message(place)
            if message is not None:
                held.append(turn.turn_id, message)
            compaction._finish(held, place, TurnEnded(status="completed"))

    put(Keeper, "_go_on", go_on)


def tells_no_lost_calls() -> None:
    """What was asked by a process that is gone is forgotten."""
    put(compaction, "lost_call", lambda place, asked: None)
    put(takeover, "lost_call", lambda place, asked: None)


def adds_to_nothing() -> None:
    """Every snapshot is of one call."""
    put(calls, "newest", lambda conversation_id: None)


def never_looks_beside() -> None:
    """Who is there hears nothing of another title, or that a turn is over, but in the log."""
    put(States, "keep", _for_ever)


async def _for_ever(self: object) -> None:
    await Future()


async def _at_once(self: Tasks, *, patience: float) -> None:
    self.is_ending = True


ALL = "all"
"""The name of the product in which everything is wrong."""
MUTANTS: dict[str, Callable[[], None]] = {
    mutate.__name__: mutate
    for mutate in (
        no_fence,
        no_position_query,
        hears_nothing,
        does_not_heal,
        renews_all,
        publishes_before_commit,
        batches_after_compaction,
        takes_from_the_living,
        forgets_results,
        repeats_any_tool,
        ignores_request_ids,
        keeps_the_attempt,
        ignores_stops_from_elsewhere,
        withdraws_nothing,
        stores_no_drafts,
        says_nothing_when_idle,
        leaves_without_a_word,
        numbers_by_counting,
        retries_after_content,
        truncated_is_completed,
        no_limit_of_rounds,
        ends_what_it_takes_over,
        tells_no_lost_calls,
        adds_to_nothing,
        never_looks_beside,
    )
}

for mutate in MUTANTS.values() if os.environ[MUTANT] == ALL else (MUTANTS[os.environ[MUTANT]],):
    mutate()
