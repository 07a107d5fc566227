"""What servers say when something goes wrong: R15 and R24 to who asks, and in their logs to who operates them."""

from __future__ import annotations

import json

from tests.torture.checker.run import Run
from tests.torture.checker.verdict import Findings
from tests.torture.records import Logged, Ordered, TurnRow, Waited

NEVER = (
    "has died",
    "could not be ended; the keeper will go on with it",
    "the writer stumbled",
    "cannot be stored",
    "a request failed",
    "a viewer failed",
    "a frame could not be handled",
)
"""Lines that docs/deployment.md says are never expected."""
UNTYPED = ("internal", "unknown", "error")
"""Codes that say only that something is wrong here."""


def errors_are_typed(run: Run) -> Findings:
    """R24: no request is answered with a fault of ours: what cannot be done has a code that says why."""
    for order in run.history.of(Ordered):
        if order.code in UNTYPED or order.status == 500:
            yield f"an order was answered with {order.status} {order.code}", order
    for waited in run.history.of(Waited):
        if waited.status >= 500 and _code(waited) in UNTYPED:
            yield f"who waited was answered with {waited.status} {_code(waited)}", waited


def turns_end_as_they_should(run: Run) -> Findings:
    """R15: a turn whose provider or tools did something wrong ends as that is to end, with its typed error, and one for
    which all went well is completed; unless it was stopped or lost, or something befell its provider's connection or
    the clock of its process."""
    ends = {order.turn: order.ends for order in run.history.of(Ordered) if order.turn}
    for turn, row in run.turns.items():
        end = run.end(turn)
        if end is None or turn not in ends:
            continue
        code = (end.data.get("error") or {}).get("code")
        found = f"{end.data['status']}/{code}" if code else end.data["status"]
        if found not in ends[turn] and not _is_excused(run, row, found):
            yield f"a turn ended as {found}, and not as {' or '.join(ends[turn])}", (row, end)


def _is_excused(run: Run, row: TurnRow, found: str) -> bool:
    """Whether something befell this turn that ends it so. Stops and losses are looked at elsewhere."""
    if found in ("cancelled", "failed/interrupted"):
        return True
    owners = run.owners(row.id) or set(run.lives)
    lasted = run.lasted(row.id)
    if found in ("failed/stalled", "failed/timed_out"):
        pauses = [span for owner in owners for span in run.faults("sigstop", "provider", on=[owner])]
        return run.starved(*lasted) > 1 or any(span.overlaps(*lasted) for span in pauses)
    faults = run.faults("provider", on=owners)
    return found in ("failed/truncated", "failed/unavailable") and any(fault.overlaps(*lasted) for fault in faults)


def nothing_unexpected_is_logged(run: Run) -> Findings:
    """What operators are told never to expect does not come, whatever befalls the servers."""
    for logged in run.history.of(Logged):
        if any(line in logged.line for line in NEVER):
            yield f"{logged.process} logged what is never expected", logged


def _code(waited: Waited) -> str:
    try:
        return str(json.loads(waited.body).get("code", "unknown"))
    except (ValueError, AttributeError):
        return "unknown"
