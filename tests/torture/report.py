"""What a run has shown: what was hit where, what was broken, and how to repeat it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.torture.checker import Bounds, Violation, check
from tests.torture.cluster import CHAT
from tests.torture.history import read
from tests.torture.nemesis import AIMED
from tests.torture.run import Outcome

STATES = tuple(AIMED)
SHOWN = 5
"""Violations of one predicate that are printed in full."""
BOUNDS = Bounds(
    draft_loss=1.0,
    takeover=4 * CHAT["LEASE"],
    heartbeat=CHAT["HEARTBEAT"] + 4.0,
    drain=CHAT["DRAIN"],
)
"""What a run is held to, with its short leases, and with writers that linger on purpose."""


def verdict(outcome: Outcome) -> list[Violation]:
    """The promises that were broken."""
    return check(read(outcome.history), bounds=BOUNDS)


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
    print("\n".join(table(outcome)))
    shown: Counter[str] = Counter()
    for violation in broken:
        shown[violation.predicate] += 1
        if shown[violation.predicate] <= SHOWN:
            print(violation)
    print(f"{len(broken)} violations; again: {outcome.plan.command}")
    return int(bool(broken))
