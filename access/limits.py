"""What one user, and one API key, may ask for: turns at a time and per minute, tokens and cost per day.

All of it is counted in the database. Turns are counted where they are, under the lock on their owner's row. A model
call first holds the most that it may use; what it did use takes the place of that when it ends. A call is let through
while anything is left, so a day's limit is overshot by one call at most, however many processes there are. What a
process held that died is settled by whoever goes on with its turns (`access/holds.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import starmap
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Case, F, Q, QuerySet, When
from django.db.models.functions import Now
from django.utils import timezone

from access import holds
from access.errors import QuotaExceeded, RateLimited
from access.holds import Amount, spending
from access.models import ApiKey, Hold, Spending
from access.principals import Principal, UserId
from history.conf import chat_settings
from history.locks import transaction_within
from history.models import ACTIVE, IS_ACTIVE, Turn
from history.prepared import Select, given
from history.status import LOCK_TIMEOUT

MINUTE = timedelta(minutes=1)
IS_RECENT = Q(created_at__gt=Now() - MINUTE, origin=Turn.Origin.LIVE.value)
SOON = 5
"""Seconds after which to ask again when an answer in progress has to end first."""


class Payer(NamedTuple):
    """On whose account a turn goes: a user's and, if one was used, an API key's."""

    owner_id: UserId
    key_id: int | None = None


class Limits(NamedTuple):
    """What one account may; None: as much as it likes. `account` is the `key_id` of its spending."""

    who: str
    account: int
    turns: int | None
    per_minute: int | None
    tokens: int | None
    cost: Decimal | None

    @property
    def by_day(self) -> bool:
        """Whether calls must be counted."""
        return self.tokens is not None or self.cost is not None

    def those_of(self, turns: Iterable[Counted]) -> list[Counted]:
        """Those of a user's turns that count for this account."""
        return [turn for turn in turns if self.account in (0, turn.key_id)]


class Counted(NamedTuple):
    """A turn that counts, because it is active or because it is of the last minute."""

    id: UUID
    conversation_id: UUID
    key_id: int | None
    status: str
    recent: datetime | None = None
    """When it was made, if that was within the last minute, and that counts."""


def _counted(which: Q) -> QuerySet[Any, Any]:
    turns = Turn.objects.filter(which, owner_id=given(Turn, "owner"))
    return turns.order_by("-created_at").values_list("pk", "conversation_id", "key_id", "status")


_ACTIVE = Select(lambda: _counted(IS_ACTIVE))
_ACTIVE_OR_RECENT = Select(
    lambda: _counted(IS_ACTIVE | IS_RECENT).annotate(recent=Case(When(IS_RECENT, then="created_at")))
)


_OF_KEY = Select(
    lambda: ApiKey.objects.filter(pk=given(ApiKey, "pk")).values_list(
        "max_turns", "turns_per_minute", "tokens_per_day", "cost_per_day"
    )
)


def limits_of(payer: Payer) -> tuple[Limits, ...]:
    """Those of the user and, where an API key asks, those of the key: its own, and where it has none, the settings'.
    One query for a key, none without. Raises `decimal.InvalidOperation` for a cost that is no number."""
    told = chat_settings()
    of_user = Limits(
        "you have",
        0,
        told.max_turns_per_user,
        told.turns_per_minute_per_user,
        told.tokens_per_day_per_user,
        _dollars(told.cost_per_day_per_user),
    )
    if payer.key_id is None:
        return (of_user,)
    turns, per_minute, tokens, cost = _OF_KEY.first(pk=payer.key_id) or (None,) * 4
    return of_user, Limits(
        "this API key has",
        payer.key_id,
        told.max_turns_per_key if turns is None else turns,
        told.turns_per_minute_per_key if per_minute is None else per_minute,
        told.tokens_per_day_per_key if tokens is None else tokens,
        _dollars(told.cost_per_day_per_key if cost is None else cost),
    )


def admit(principal: Principal) -> dict[UUID, UUID]:
    """Whether one more turn may start now. Raises `RateLimited`, which says which limit and when to come back.

    Returns the user's active turns by their conversation: at most one in each. The caller holds the lock on the user's
    row, so that what is counted holds until the commit. One query, another one for a key, and another one where there
    are limits by day.
    """
    payer = Payer(principal.user_id, principal.key_id)
    limits = limits_of(payer)
    turns = counted(payer, limits)
    for each in limits:
        _check_turns(each, each.those_of(turns))
    if any(each.by_day for each in limits):
        try:
            _check_days(payer, limits)
        except RateLimited:
            if not holds.settle_left(payer.owner_id):
                raise
            _check_days(payer, limits)
    return {turn.conversation_id: turn.id for turn in turns if turn.status in ACTIVE}


def accounts_by_day(payer: Payer) -> tuple[int, ...]:
    """The accounts on which this payer's model calls must be reserved and settled."""
    return tuple(each.account for each in limits_of(payer) if each.by_day)


def hold_for(
    payer: Payer, accounts: Iterable[int], *, turn_id: UUID, attempt: int, most: Amount, prompt: Amount
) -> Hold:
    """What is to be held on these accounts for a model call of this attempt of a turn: the most that it may use. Its
    prompt is what it uses at least. Nothing is held before it is given to `reserve`; made once per call."""
    return Hold(
        owner_id=payer.owner_id,
        accounts=list(accounts),
        day=today(),
        turn_id=turn_id,
        attempt=attempt,
        tokens=most.tokens,
        cost=most.cost,
        prompt_tokens=prompt.tokens,
        prompt_cost=prompt.cost,
    )


def reserve(payer: Payer, hold: Hold) -> None:
    """Hold it, on each of its accounts. Raises `QuotaExceeded` if nothing is left of one. For the writer's
    thread: it waits for no lock for long."""
    try:
        _reserve(payer, hold)
    except QuotaExceeded:
        if not holds.settle_left(payer.owner_id):
            raise
        _reserve(payer, hold)


def _reserve(payer: Payer, hold: Hold) -> None:
    try:
        with transaction_within(LOCK_TIMEOUT):
            hold.save(force_insert=True)
            for each in limits_of(payer):
                if each.account in hold.accounts and not _hold(hold, each):
                    _open(hold, each.account)
                    if not _hold(hold, each):
                        raise QuotaExceeded
    except IntegrityError:  # it is there: its commit was not heard of
        if not Hold.objects.filter(pk=hold.pk).exists():
            raise


def counted(payer: Payer, limits: tuple[Limits, ...]) -> list[Counted]:
    """The user's active turns, and where they count, those of the last minute; the newest first."""
    rows = _ACTIVE if all(each.per_minute is None for each in limits) else _ACTIVE_OR_RECENT
    return list(starmap(Counted, rows.rows(owner=payer.owner_id)))


def _check_turns(limits: Limits, turns: list[Counted]) -> None:
    active = sum(turn.status in ACTIVE for turn in turns)
    if limits.turns is not None and active >= limits.turns:
        raise RateLimited(
            f"{_capital(limits.who)} {_many(active, 'answer')} in progress, as many as allowed. Wait for one to end.",
            retry_after=SOON,
        )
    recent = [turn.recent for turn in turns if turn.recent is not None]
    if limits.per_minute is not None and len(recent) >= limits.per_minute:
        last = recent[limits.per_minute - 1] if limits.per_minute else timezone.now()
        seconds = seconds_until(last + MINUTE)
        raise RateLimited(
            f"{_capital(limits.who)} asked {_many(limits.per_minute, 'time')} within a minute, as often as allowed."
            f" Try again in {seconds} seconds.",
            retry_after=seconds,
        )


def _check_days(payer: Payer, limits: tuple[Limits, ...]) -> None:
    day = today()
    spent = {row.key_id: row for row in spending(payer.owner_id, [each.account for each in limits], day=day)}
    for each in limits:
        _check_day(each, spent.get(each.account) or Spending(), day=day)


def _check_day(limits: Limits, spent: Spending, *, day: date) -> None:
    for what, limit, used, held in (
        ("tokens", limits.tokens, spent.tokens, spent.tokens_held),
        ("money", limits.cost, spent.cost, spent.cost_held),
    ):
        if limit is None or used + held < limit:
            continue
        if used < limit:
            raise RateLimited(
                f"What {limits.who} left of today's {what} is held by answers in progress. Wait for one to end.",
                retry_after=SOON,
            )
        raise RateLimited(
            f"{_capital(limits.who)} used up today's {what}. A new day begins at midnight UTC.",
            retry_after=seconds_until(midnight_after(day)),
        )


def _hold(hold: Hold, limits: Limits) -> bool:
    """The one statement that decides: nothing is held unless something is left."""
    account = spending(hold.owner_id, [limits.account], day=hold.day)
    if limits.tokens is not None:
        account = account.filter(tokens__lt=limits.tokens - F("tokens_held"))
    if limits.cost is not None:
        account = account.filter(cost__lt=limits.cost - F("cost_held"))
    return bool(account.update(tokens_held=F("tokens_held") + hold.tokens, cost_held=F("cost_held") + hold.cost))


def _open(hold: Hold, account: int) -> None:
    """The first call of a day makes the row; several may be first."""
    Spending.objects.bulk_create(
        [Spending(owner_id=hold.owner_id, key_id=account, day=hold.day)], ignore_conflicts=True
    )


def today() -> date:
    """The day that counts, by UTC."""
    return timezone.now().astimezone(UTC).date()


def midnight_after(day: date) -> datetime:
    """When what was used on a day is forgotten."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def seconds_until(moment: datetime) -> int:
    """Rounded up: it is not too early then."""
    return max(1, int((moment - timezone.now()).total_seconds()) + 1)


def _dollars(told: Decimal | str | None) -> Decimal | None:
    return None if told is None else Decimal(str(told))


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
