"""`python -m tests.torture`: break a cluster by chance, and see whether it keeps its promises."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from bench.environment import heed_interrupts
from tests.torture.cluster import Database
from tests.torture.hunt import NAMES
from tests.torture.report import report
from tests.torture.run import Plan, run

DATABASES: tuple[Database, ...] = ("sqlite", "postgres")


def main() -> int:
    """The command line; 1 if a promise was broken, or if not all was hit that was to be."""
    given = _asked()
    heed_interrupts()
    broken = 0
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    for database in DATABASES if given.database == "both" else (given.database,):
        folder = Path(mkdtemp(prefix=f"torture-{database}-", dir=given.folder))
        plan = _plan(given, database=database)
        print(f"{plan.command}\n  in {folder}", flush=True)
        broken += report(asyncio.run(run(plan, folder)))
    return int(bool(broken))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--database", choices=("both", *DATABASES), default="both")
    parser.add_argument("--servers", type=int, default=Plan.servers)
    parser.add_argument("--talks", type=int, default=Plan.talks, help="conversations at a time")
    parser.add_argument("--turns", type=int, default=0, help="end when so many turns were hit")
    parser.add_argument("--cell", type=int, default=0, help="… and each fault has met each state so many times")
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="end after so many seconds at the latest")
    parser.add_argument("--faults", type=_words, default=(), help="only these, separated by commas")
    parser.add_argument("--states", type=_words, default=(), help="hit turns in these only")
    parser.add_argument("--scripts", type=_words, default=(), help="the provider says these only")
    parser.add_argument("--mutant", default="", choices=("", *NAMES), help="a product with something wrong in it")
    parser.add_argument("--no-redis", dest="redis", action="store_false")
    parser.add_argument("--folder", type=Path, default=None, help="where the run's folder is made, and kept")
    return parser.parse_args()


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _plan(given: argparse.Namespace, *, database: Database) -> Plan:
    return Plan(
        seed=given.seed,
        database=database,
        servers=given.servers,
        redis=given.redis,
        talks=given.talks,
        turns=given.turns,
        cell=given.cell,
        seconds=given.seconds,
        faults=given.faults,
        states=given.states,
        scripts=given.scripts,
        mutant=given.mutant,
    )


if __name__ == "__main__":
    sys.exit(main())
