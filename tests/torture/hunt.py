"""`python -m tests.torture.hunt`: whether torture catches the mutants of the product, each by a promise it breaks."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.torture.checker import Predicate, asking, counting, showing, storing, surviving, telling
from tests.torture.cluster import Database
from tests.torture.records import State
from tests.torture.report import verdict
from tests.torture.run import Plan, run

ROUNDS = (10.0, 25.0, 60.0)
"""How long a mutant is tortured, and how long again if that has shown nothing, in seconds."""
QUIET = 12.0
"""How long its cluster gets to come to rest: some never do."""


class Prey(NamedTuple):
    """Where a mutant of this name shows itself, and which predicates are to see it: any of `by`."""

    name: str
    by: Sequence[Predicate]
    faults: Sequence[str]
    states: Sequence[State] = ()
    scripts: Sequence[str] = ()
    database: Database = "sqlite"
    redis: bool = True


PREY = (
    Prey(
        "no_fence",
        [surviving.what_is_stored_was_said_to_who_holds_the_turn, storing.a_fenced_out_attempt_leaves_nothing],
        ["sigstop"],
        database="postgres",
    ),
    Prey(
        "no_position_query",
        [showing.native_viewers_have_what_is_stored, showing.what_is_live_comes_in_time],
        ["cut"],
        redis=False,
    ),
    Prey("hears_nothing", [showing.what_is_live_comes_in_time], ["cut"], database="postgres"),
    Prey("does_not_heal", [showing.what_is_live_comes_in_time], ["redis_restart"], database="postgres"),
    Prey("renews_all", [surviving.turns_of_the_absent_are_taken_over, storing.nothing_is_active_in_the_end], ["kill"]),
    Prey(
        "publishes_before_commit",
        [showing.events_that_were_shown_are_stored, showing.native_viewers_have_what_is_stored],
        ["kill"],
        ["compacting"],
    ),
    Prey("batches_after_compaction", [storing.nothing_is_stored_twice], ["cut"]),
    Prey("takes_from_the_living", [surviving.the_living_keep_their_turns], ["cut"], database="postgres"),
    Prey(
        "forgets_results",
        [surviving.finished_tools_are_not_executed_again],
        ["kill"],
        ["mid_tool"],
        scripts=["pays", "plans"],
    ),
    Prey(
        "repeats_any_tool",
        [surviving.tools_are_repeated_only_if_that_is_harmless],
        ["kill"],
        ["mid_tool"],
        database="postgres",
    ),
    Prey("ignores_request_ids", [asking.a_request_id_is_one_turn], ["cut"]),
    Prey(
        "keeps_the_attempt",
        [storing.attempts_rise_with_a_restart_only, showing.nobody_sees_a_fenced_out_attempt],
        ["kill"],
        ["mid_text"],
        database="postgres",
    ),
    Prey(
        "ignores_stops_from_elsewhere",
        [surviving.stops_reach_an_end, surviving.stops_close_the_providers_connection],
        ["stop"],
        ["mid_text"],
    ),
    Prey(
        "withdraws_nothing",
        [storing.attempts_rise_with_a_restart_only, showing.what_was_shown_is_stored_or_withdrawn],
        ["kill"],
        ["mid_text"],
        database="postgres",
    ),
    Prey("stores_no_drafts", [surviving.hardly_any_draft_is_lost], ["kill"], ["mid_text"], database="postgres"),
    Prey("says_nothing_when_idle", [showing.signs_of_life_are_timed], ["cut"], database="postgres"),
    Prey(
        "leaves_without_a_word",
        [surviving.sockets_are_closed_with_a_word, surviving.who_is_told_to_end_ends],
        ["sigterm"],
        ["mid_text"],
    ),
    Prey(
        "numbers_by_counting",
        [storing.numbers_have_no_holes, telling.errors_are_typed],
        ["stop", "retry"],
        scripts=["short", "plain"],
        database="postgres",
    ),
    Prey("retries_after_content", [asking.nothing_is_asked_again_after_content], ["cut"], scripts=["breaks"]),
    Prey("truncated_is_completed", [storing.completed_means_complete], ["cut"], scripts=["stops-short"]),
    Prey("no_limit_of_rounds", [surviving.tools_are_limited], ["cut"], scripts=["for-ever"]),
    Prey("ends_what_it_takes_over", [storing.completed_means_complete], ["kill"], ["mid_text"], database="postgres"),
    Prey("tells_no_lost_calls", [counting.every_call_is_told_once], ["kill"], ["mid_text"]),
    Prey("adds_to_nothing", [counting.snapshots_are_what_the_records_add_up_to], ["cut"], database="postgres"),
    Prey("never_looks_beside", [showing.what_is_shown_beside_the_log_is_stored], ["retry"]),
)
NAMES = tuple(prey.name for prey in PREY)


class Catch(NamedTuple):
    """What found a mutant, after how many seconds, and whether that was what is to find it."""

    name: str
    found: tuple[str, ...]
    is_right: bool
    seconds: float
    plan: Plan

    def __str__(self) -> str:
        found = ", ".join(self.found) or "NOTHING"
        by = f"caught by {found}" if self.is_right else f"GOT AWAY, though seen by {found}"
        return f"{self.name:30} {self.seconds:4.0f} s  {by}\n{'':38}{self.plan.command}"


async def hunt(prey: Prey, *, seed: int, rounds: Sequence[float] = ROUNDS) -> Catch:
    """Torture a mutant until the right promise is broken, or until there are no more rounds."""
    began = time.monotonic()
    plan = Plan(
        seed=seed, database=prey.database, servers=2, talks=5, redis=prey.redis, quiet=QUIET,
        faults=tuple(prey.faults), states=tuple(prey.states), scripts=tuple(prey.scripts), mutant=prey.name,
    )  # fmt: skip
    found: dict[str, None] = {}
    right = {predicate.__name__ for predicate in prey.by}
    for number, seconds in enumerate(rounds):
        plan = replace(plan, seed=seed + number, seconds=seconds)
        with TemporaryDirectory(prefix="torture-") as folder:
            broken = verdict(await run(plan, Path(folder)))
        found |= dict.fromkeys(f"{violation.promise} {violation.predicate}" for violation in broken)
        if right & {violation.predicate for violation in broken}:
            return Catch(prey.name, tuple(found), True, time.monotonic() - began, plan)
    return Catch(prey.name, tuple(found), False, time.monotonic() - began, plan)


def main() -> int:
    """The command line; 1 if a mutant got away, or was too much for the harness."""
    parser = argparse.ArgumentParser(prog="tests.torture.hunt", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    away = 0
    for prey in PREY:
        if not given.names or prey.name in given.names:
            try:
                catch = asyncio.run(hunt(prey, seed=given.seed))
            except Exception:  # the others are hunted all the same
                print(f"{prey.name:30} CRASHED\n{traceback.format_exc()}", flush=True)
                away += 1
            else:
                print(catch, flush=True)
                away += not catch.is_right
    return int(bool(away))


if __name__ == "__main__":
    sys.exit(main())
