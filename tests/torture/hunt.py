"""`python -m tests.torture.hunt`: whether torture catches the mutants of the product, each by a promise it breaks."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.torture.records import State
from tests.torture.report import verdict
from tests.torture.run import Plan, run

ROUNDS = (10.0, 25.0, 60.0)
"""How long a mutant is tortured, and how long again if that has shown nothing, in seconds."""
QUIET = 12.0
"""How long its cluster gets to come to rest: some never do."""


class Prey(NamedTuple):
    """Where a mutant of this name is likely to show itself."""

    name: str
    faults: Sequence[str]
    states: Sequence[State] = ()
    redis: bool = True


PREY = (
    Prey("no_fence", ["sigstop"]),
    Prey("no_position_query", ["cut"], redis=False),
    Prey("renews_all", ["kill"]),
    Prey("publishes_before_commit", ["kill"], ["compacting"]),
    Prey("batches_after_compaction", ["cut"]),
    Prey("takes_from_the_living", ["cut"]),
    Prey("forgets_results", ["kill"], ["mid_tool"]),
    Prey("repeats_any_tool", ["kill"], ["mid_tool"]),
    Prey("ignores_request_ids", ["cut"]),
    Prey("keeps_the_attempt", ["kill"], ["mid_text"]),
    Prey("ignores_stops_from_elsewhere", ["stop"], ["mid_text"]),
    Prey("withdraws_nothing", ["kill"], ["mid_text"]),
    Prey("stores_no_drafts", ["kill"], ["mid_text"]),
    Prey("says_nothing_when_idle", ["cut"]),
    Prey("leaves_without_a_word", ["sigterm"], ["mid_text"]),
    Prey("ends_what_it_takes_over", ["kill"], ["mid_text"]),
)
NAMES = tuple(prey.name for prey in PREY)


class Catch(NamedTuple):
    """By which promises a mutant was caught, after how many seconds; by none, if it was not."""

    name: str
    promises: tuple[str, ...]
    seconds: float
    plan: Plan

    def __str__(self) -> str:
        by = ", ".join(self.promises) or "NOT CAUGHT"
        return f"{self.name:30} {self.seconds:4.0f} s  {by}\n{'':38}{self.plan.command}"


async def hunt(prey: Prey, *, seed: int, rounds: Sequence[float] = ROUNDS) -> Catch:
    """Torture a mutant until a promise is broken, or until there are no more rounds."""
    began = time.monotonic()
    plan = Plan(
        seed=seed, servers=2, talks=5, redis=prey.redis, quiet=QUIET,
        faults=tuple(prey.faults), states=tuple(prey.states), mutant=prey.name,
    )  # fmt: skip
    promises: tuple[str, ...] = ()
    for number, seconds in enumerate(rounds):
        plan = replace(plan, seed=seed + number, seconds=seconds)
        with TemporaryDirectory(prefix="torture-") as folder:
            broken = verdict(await run(plan, Path(folder)))
        promises = tuple(dict.fromkeys(f"{violation.promise} {violation.predicate}" for violation in broken))
        if promises:
            break
    return Catch(prey.name, promises, time.monotonic() - began, plan)


def main() -> int:
    """The command line; 1 if a mutant got away."""
    parser = argparse.ArgumentParser(prog="tests.torture.hunt", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    away = 0
    for prey in PREY:
        if not given.names or prey.name in given.names:
            catch = asyncio.run(hunt(prey, seed=given.seed))
            print(catch, flush=True)
            away += not catch.promises
    return int(bool(away))


if __name__ == "__main__":
    sys.exit(main())
