"""What model calls in progress hold of a day's limits, and what takes the place of that.

Every change begins with the row of the hold: it is there or not, lost or not, and decides so whether the accounts are
to change. So each may be asked for again when its commit was not heard of, and nothing is counted twice.
"""

from __future__ import annotations

import logging
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, Sum
from django.db.models.functions import Length

from access.models import Hold, Spending
from access.principals import UserId
from history.locks import transaction_within
from history.models import IS_ACTIVE, DeltaBatch, Turn
from history.status import LOCK_TIMEOUT

logger = logging.getLogger(__name__)

KEPT = timedelta(days=2)
"""How long a lost process may take to come back and tell what it has used: no call takes longer."""
LAST_PLACE = Decimal("0.00000001")
LEFT = ~Exists(Turn.objects.filter(IS_ACTIVE, pk=OuterRef("turn_id"), attempt=OuterRef("attempt")))
"""Matches the holds of turns that have ended, were deleted, or go on in another attempt."""


class Amount(NamedTuple):
    """What a call uses."""

    tokens: int
    cost: Decimal = Decimal(0)


def spending(owner_id: UserId, accounts: list[int], *, day: date) -> Any:
    """What was used on some accounts of one owner on one day."""
    return Spending.objects.filter(owner_id=owner_id, key_id__in=accounts, day=day)


def settle(hold: Hold, *, used: Amount) -> None:
    """What the call has used takes the place of what was held for it. For the writer's thread."""
    mine = Hold.objects.filter(pk=hold.pk)
    with transaction_within(LOCK_TIMEOUT):
        if mine.filter(is_lost=False).delete()[0]:
            _change(hold, used=used, held=Amount(-hold.tokens, -hold.cost))
        elif (lost := mine.select_for_update().first()) is not None:  # given up too early: make good for it
            _change(lost, used=Amount(used.tokens - lost.tokens, used.cost - lost.cost), held=Amount(0))
            mine.delete()


def settle_lost(turn_id: UUID, *, attempt: int) -> None:
    """What a process held that was lost with this attempt of a turn. Before somebody goes on with the turn or ends it:
    what is stored of the draft is counted, as its prompt is."""
    _settle_lost(Q(turn_id=turn_id, attempt__lte=attempt))


def settle_left(owner_id: UserId) -> bool:
    """What is held of this owner's limits for turns on which nobody works any more: whether there was anything. Rarely
    is: for calls that could not be settled, and for what was deleted after its process was lost."""
    return _settle_lost(LEFT & Q(owner_id=owner_id))


def _settle_lost(which: Q) -> bool:
    """Count for each of these what it has used at least. The rest is free again."""
    found = list(Hold.objects.filter(which, is_lost=False))
    for hold in found:
        used = _least(hold)
        with transaction_within(LOCK_TIMEOUT):
            lost = Hold.objects.filter(pk=hold.pk, is_lost=False)
            if lost.update(is_lost=True, tokens=used.tokens, cost=used.cost):
                _change(hold, used=used, held=Amount(-hold.tokens, -hold.cost))
                logger.warning("a call of turn %s was lost; %d tokens are counted for it", hold.turn_id, used.tokens)
    if found:
        with transaction_within(LOCK_TIMEOUT):
            Hold.objects.filter(day__lt=max(hold.day for hold in found) - KEPT).delete()
    return bool(found)


def _least(hold: Hold) -> Amount:
    """Its prompt, and what is stored of its reply; what that cost in proportion, since only sums are known of it."""
    batches = DeltaBatch.objects.filter(turn_id=hold.turn_id, attempt=hold.attempt)
    length = batches.aggregate(length=Sum(Length("text")))["length"] or 0
    reply = hold.tokens - hold.prompt_tokens
    said = min(-(-length // 4), reply)
    cost = (hold.cost - hold.prompt_cost) * said / reply if reply else Decimal(0)
    return Amount(hold.prompt_tokens + said, (hold.prompt_cost + cost).quantize(LAST_PLACE))


def _change(hold: Hold, *, used: Amount, held: Amount) -> None:
    for account in hold.accounts:  # one by one, in the order of `reserve`: two of them cannot lock each other out
        spending(hold.owner_id, [account], day=hold.day).update(
            tokens=F("tokens") + used.tokens,
            tokens_held=F("tokens_held") + held.tokens,
            cost=F("cost") + used.cost,
            cost_held=F("cost_held") + held.cost,
        )
