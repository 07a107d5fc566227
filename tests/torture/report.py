"""What a run has shown: what was hit where, what was broken, and how to repeat it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.torture.checker import Bounds, Violation, check
from tests.torture.cluster import CHAT, EXIT, chat
from tests.torture.history import read
from tests.torture.run import Outcome, Plan
from tests.torture.tools import TIMEOUT

EXIT_AT_ONCE = 4.0
BEHIND = 1.5
"""How far behind a viewer may be while the doorbell rings, in seconds, and beyond the poll while it does not."""
SHOWN = 5
"""Violations of one predicate that are printed in full."""


def bounds(plan: Plan) -> Bounds:
    """What a run is held to, with its short leases, and writers that linger on purpose."""
    polled = chat(redis=plan.redis)["POSITION_POLL"] + BEHIND
    return replace(
        Bounds(),
        draft_loss=0.5,
        takeover=4 * CHAT["LEASE"],
        lease=CHAT["LEASE"],
        spare=(CHAT["LEASE"] - CHAT["LEASE_RENEWAL"]) / 2,
        heartbeat=2.5 * CHAT["HEARTBEAT"],
        behind=BEHIND if plan.redis else polled,
        polled=polled,
        drain=CHAT["DRAIN"],
        exit=EXIT,
        exit_at_once=EXIT_AT_ONCE,
        tool=TIMEOUT,
    )


def verdict(outcome: Outcome) -> list[Violation]:
    """The promises that were broken."""
    return check(read(outcome.history), bounds=bounds(outcome.plan))


def report(outcome: Outcome) -> int:
    """Print it; 1 if a promise was broken, or if there was no time to see whether they all are kept."""
    broken = verdict(outcome)
    print(f"{outcome.turns} turns, {outcome.hit} of them hit, in {outcome.seconds:.0f} s; {outcome.history}")
    print(f"for {outcome.held_up:.1f} of ten seconds, at worst, the machine was busy with something else")
    print("\n".join(outcome.cells.table()))
    shown: Counter[str] = Counter()
    for violation in broken:
        shown[violation.predicate] += 1
        if shown[violation.predicate] <= SHOWN:
            print(violation)
    missing = [f"{fault}/{state}" for fault, state in outcome.cells.lacking]
    if missing:
        print(f"hit less than {outcome.plan.cell} times: {', '.join(missing)}")
    if outcome.hit < outcome.plan.turns:
        print(f"{outcome.hit} turns were hit, and not {outcome.plan.turns}")
    print(f"{len(broken)} violations; again: {outcome.plan.command}")
    return int(bool(broken or missing or outcome.hit < outcome.plan.turns))
