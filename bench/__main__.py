"""`python -m bench [NAME …]`: measure it all, or what is named, and print a table of each. Nothing passes or fails."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.document import write
from bench.measurements import EVERYTHING, MEASUREMENTS
from bench.runs import report, run
from bench.stage import Plan, stage

ALL = "all but what `make bench-peers` installs"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EVERYTHING)}; {ALL} if none is named")
    parser.add_argument("--streams", type=int, default=100, help="at once (default 100)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one window (default 10)")
    parser.add_argument("--runs", type=int, default=5, help="of each case, in turn (default 5)")
    parser.add_argument("--cases", default="", metavar="PART,…", help="only cases with one of these in their names")
    parser.add_argument("--into", type=Path, metavar="FILE", help="a document to refresh with what is printed")
    options = parser.parse_args()
    if unknown := set(options.names) - set(EVERYTHING):
        parser.error(f"nothing is measured under {', '.join(sorted(unknown))}")
    plan = Plan(
        streams=options.streams,
        seconds=options.seconds,
        runs=options.runs,
        cases=tuple(filter(None, options.cases.split(","))),
    )
    with stage() as built:
        for name in options.names or MEASUREMENTS:
            measurement = EVERYTHING[name](plan)
            found = run(measurement, stage=built, plan=plan)
            told = report(measurement, found, name=name, plan=plan)
            print(f"\n{told}", flush=True)
            if options.into is not None:
                write(options.into, name=name, report=told)


if __name__ == "__main__":
    main()
