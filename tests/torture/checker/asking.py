"""What who asks may count on: R2, R3, R4, and of R21 the words of the user."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

from tests.torture.checker.folding import AGAIN
from tests.torture.checker.run import Call, Run
from tests.torture.checker.verdict import Findings
from tests.torture.checker.viewing import viewers
from tests.torture.records import Asking, Ordered, TurnRow, Waited


def a_users_message_is_stored_once(run: Run) -> Findings:
    """R2: every turn has exactly one."""
    for turn in run.turns:
        messages = run.events(turn, "user_message")
        if len(messages) != 1:
            yield f"a turn has {len(messages)} user messages", (turn, messages)


def what_was_accepted_is_there(run: Run) -> Findings:
    """R2: an order is accepted after the commit, so that its turn is in the log for good, and was by then."""
    for order in _accepted(run):
        stored = run.events(order.turn or "", "user_message")
        if order.turn not in run.turns or not stored:
            yield "an order was accepted, and there is no such turn", order
        elif stored[0].stored > order.at + run.bounds.clock:
            yield "an order was accepted before it was stored", (order, stored[0])


def a_request_id_is_one_turn(run: Run) -> Findings:
    """R3: at most one turn per (owner, request id), in the database and in what callers were told."""
    turns: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for row in run.history.of(TurnRow):
        if row.request_id:
            turns[row.owner, row.request_id][row.id] = row
    for order in _accepted(run):
        if order.request_id and order.turn:
            turns[order.owner, order.request_id].setdefault(order.turn, order)
    for request, found in turns.items():
        if len(found) > 1:
            yield f"request {request[1]} is {len(found)} turns", found


def another_body_is_refused(run: Run) -> Findings:
    """R3: the same request id with another text is accepted nowhere."""
    texts: dict[tuple[str, str], dict[str, Ordered]] = defaultdict(dict)
    for order in _accepted(run):
        if order.request_id:
            texts[order.owner, order.request_id].setdefault(order.text, order)
    for request, orders in texts.items():
        if len(orders) > 1:
            yield f"request {request[1]} was accepted with {len(orders)} texts", list(orders.values())


def all_who_wait_get_the_same_bytes(run: Run) -> Findings:
    """R3: whole answers of one turn are byte for byte the same, whenever and wherever they are asked for."""
    answers: dict[str, dict[str, Waited]] = defaultdict(dict)
    for waited in run.history.of(Waited):
        if waited.turn is not None and is_final(run, waited):
            answers[waited.turn].setdefault(f"{waited.status} {waited.body}", waited)
    for turn, different in answers.items():
        if len(different) > 1:
            yield f"turn {turn} was answered in {len(different)} ways", list(different.values())


def is_final(run: Run, waited: Waited) -> bool:
    """Whether it is the turn's answer, and not a reason why there is none yet."""
    if waited.status == 200:
        return True
    end = run.end(waited.turn or "")
    error = (end and end.data.get("error")) or {}
    try:
        return bool(error) and json.loads(waited.body).get("code") == error.get("code")
    except (ValueError, AttributeError):
        return False


def an_attempt_asks_once_at_a_time(run: Run) -> Findings:
    """R3: however many callers there are, no hop is asked a second time while the first call lasts."""
    for calls in _of_hops(run):
        for earlier, later in pairwise(calls):
            if later.span.began < earlier.span.ended - run.bounds.clock:
                yield "two calls for one hop at a time", (earlier.record, later.record)


def nothing_is_asked_again_after_content(run: Run) -> Findings:
    """R4: within one attempt a hop's call is repeated only if the one before it had said nothing, and twice at most."""
    for calls in _of_hops(run):
        if len(calls) > run.bounds.tries:
            yield f"a hop was asked {len(calls)} times in one attempt", [call.record for call in calls]
        for earlier, later in pairwise(calls):
            overlap = later.span.began < earlier.span.ended - run.bounds.clock
            broken = run.faults("provider", on=run.owners(earlier.turn))
            asked = earlier.span.began - run.bounds.clock  # it may have been cut off before the provider looked at it
            unheard = any(fault.overlaps(asked, later.span.began) for fault in broken)
            if earlier.record.fragments and not overlap and not unheard:
                yield "a hop was asked again after it had begun to speak", (earlier.record, later.record)


def who_asks_is_answered(run: Run) -> Findings:
    """R11: nobody who goes on asking is left without an answer, or a refusal for good."""
    answered = {waited.viewer for waited in run.history.of(Waited) if is_final(run, waited)}
    answered |= {order.viewer for order in run.history.of(Ordered) if _is_refused_for_good(order)}
    answered |= {order.viewer for order in _accepted(run) if order.transport == "websocket"}
    shown = {viewer.name for viewer in viewers(run)}  # what those lack is looked at where viewers are
    for asking in run.history.of(Asking):
        if asking.viewer not in answered | shown:
            yield f"{asking.viewer} was never answered", asking


def _is_refused_for_good(order: Ordered) -> bool:
    return order.outcome == "refused" and order.code not in AGAIN


def a_users_words_are_unchanged(run: Run) -> Findings:
    """R21: what was accepted is what is stored, code point by code point."""
    orders: dict[str, list[Ordered]] = defaultdict(list)
    for order in _accepted(run):
        orders[order.turn or ""].append(order)
    for turn, accepted in orders.items():
        stored = run.events(turn, "user_message")
        if stored and stored[0].data["text"] not in {order.text for order in accepted}:
            yield "a user's message was stored otherwise", (accepted[0], stored[0])


def _accepted(run: Run) -> list[Ordered]:
    return [order for order in run.history.of(Ordered) if order.outcome == "accepted"]


def _of_hops(run: Run) -> list[list[Call]]:
    """The calls for each hop of each attempt, as they began."""
    hops: dict[tuple[str, int, int], list[Call]] = defaultdict(list)
    for calls in run.calls.values():
        for call in calls:
            hops[call.turn, call.attempt, call.hop].append(call)
    return list(hops.values())
