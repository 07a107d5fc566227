"""`python -m tests.torture`: break a cluster by chance, and see whether it keeps its promises."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from tests.torture.report import report
from tests.torture.run import Plan, run


def main() -> int:
    """The command line; 1 if a promise was broken."""
    plan, folder = _asked()
    print(f"{plan.command}\n  in {folder}", flush=True)
    outcome = asyncio.run(run(plan, folder))
    return report(outcome)


def _asked() -> tuple[Plan, Path]:
    parser = argparse.ArgumentParser(prog="tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--talks", type=int, default=8, help="conversations at a time")
    parser.add_argument("--hits", type=int, default=0, help="end after so many turns were hit; 0: by time alone")
    parser.add_argument("--seconds", type=float, default=60.0, help="end after so many seconds at the latest")
    parser.add_argument("--faults", default="", help="only these, separated by commas")
    parser.add_argument("--states", default="", help="hit turns in these only")
    parser.add_argument("--mutant", default="", help="a name in tests/torture/mutants.py")
    parser.add_argument("--no-redis", dest="redis", action="store_false")
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    folder = given.folder or Path(mkdtemp(prefix="torture-"))
    folder.mkdir(exist_ok=True)
    plan = Plan(
        seed=given.seed,
        database=given.database,
        servers=given.servers,
        redis=given.redis,
        talks=given.talks,
        hits=given.hits,
        seconds=given.seconds,
        faults=tuple(filter(None, given.faults.split(","))),
        states=tuple(filter(None, given.states.split(","))),
        mutant=given.mutant,
    )
    return plan, folder


if __name__ == "__main__":
    sys.exit(main())
