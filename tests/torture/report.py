"""What a run has shown: what was hit where, what was broken, and how to repeat it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.torture.checker import Bounds, Violation, check
from tests.torture.cluster import CHAT, EXIT, chat
from tests.torture.history import read
from tests.torture.run import Outcome

BEHIND = 1.5
"""How far behind a viewer may be while the doorbell rings, in seconds, and beyond the poll while it does not."""
SHOWN = 5
"""Violations of one predicate that are printed in full."""


def bounds(outcome: Outcome) -> Bounds:
    """What a run is held to, with its short leases, writers that linger on purpose, and a machine that may be busy with
    something else."""
    usual, late = Bounds(), outcome.held_up
    polled = chat(redis=outcome.plan.redis)["POSITION_POLL"] + BEHIND + late
    return replace(
        usual,
        draft_loss=1.0 + late,
        takeover=4 * CHAT["LEASE"] + 3 * late,
        wake=usual.wake + late,
        stop=usual.stop + late,
        stop_without_redis=usual.stop_without_redis + late,
        upstream_median=usual.upstream_median + late,
        upstream_p99=usual.upstream_p99 + late,
        heartbeat=2.5 * CHAT["HEARTBEAT"] + late,
        behind=BEHIND + late if outcome.plan.redis else polled,
        polled=polled,
        heal=usual.heal + late,
        drain=max(0.0, CHAT["DRAIN"] - late),
        exit=EXIT + late,
    )


def verdict(outcome: Outcome) -> list[Violation]:
    """The promises that were broken."""
    return check(read(outcome.history), bounds=bounds(outcome))


def report(outcome: Outcome) -> int:
    """Print it; 1 if a promise was broken, or if there was no time to see whether they all are kept."""
    broken = verdict(outcome)
    print(f"{outcome.turns} turns, {outcome.hit} of them hit, in {outcome.seconds:.0f} s; {outcome.history}")
    print(f"of ten seconds the machine had no time for {outcome.held_up:.1f} s at worst")
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
