"""What a run has shown: what was hit where, what was broken, and how to repeat it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from tests.torture.checker import Bounds, Violation, check
from tests.torture.cluster import CHAT
from tests.torture.history import read
from tests.torture.nemesis import AIMED
from tests.torture.run import Outcome

STATES = tuple(AIMED)
OUTAGE = 8.0
"""How long the nemesis has PostgreSQL away at most, in seconds; who waits for it hears nothing meanwhile."""
SHOWN = 5
"""Violations of one predicate that are printed in full."""


def bounds(outcome: Outcome) -> Bounds:
    """What a run is held to, with its short leases, writers that linger on purpose, and a machine that may be busy with
    something else."""
    usual, late = Bounds(), outcome.held_up
    outage = OUTAGE if outcome.plan.database == "postgres" else 0.0
    return replace(
        usual,
        draft_loss=1.0 + late,
        takeover=4 * CHAT["LEASE"] + 3 * late,
        wake=usual.wake + late,
        stop=usual.stop + late,
        stop_without_redis=usual.stop_without_redis + late,
        upstream_median=usual.upstream_median + late,
        upstream_p99=usual.upstream_p99 + late,
        heartbeat=CHAT["HEARTBEAT"] + 4.0 + outage + late,
        heal=usual.heal + late,
        drain=max(0.0, CHAT["DRAIN"] - late),
        exit=usual.exit + late,
    )


def verdict(outcome: Outcome) -> list[Violation]:
    """The promises that were broken."""
    return check(read(outcome.history), bounds=bounds(outcome))


def table(outcome: Outcome) -> Iterable[str]:
    """The turns that were hit, by fault and by state."""
    faults = sorted({fault for fault, _ in outcome.hits})
    wide = max(map(len, faults), default=0)
    yield f"{'':{wide}}  " + "  ".join(STATES)
    for fault in faults:
        counts = (outcome.hits[fault, state] for state in STATES)
        yield f"{fault:{wide}}  " + "  ".join(
            f"{count:{len(state)}}" for state, count in zip(STATES, counts, strict=True)
        )


def report(outcome: Outcome) -> int:
    """Print it; 1 if a promise was broken."""
    broken = verdict(outcome)
    print(f"{outcome.turns} turns, {outcome.hit} of them hit, in {outcome.seconds:.0f} s; {outcome.history}")
    print(f"of ten seconds the machine had no time for {outcome.held_up:.1f} s at worst")
    print("\n".join(table(outcome)))
    shown: Counter[str] = Counter()
    for violation in broken:
        shown[violation.predicate] += 1
        if shown[violation.predicate] <= SHOWN:
            print(violation)
    print(f"{len(broken)} violations; again: {outcome.plan.command}")
    return int(bool(broken))
