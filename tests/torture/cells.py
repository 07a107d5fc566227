"""The cells of a run: each a fault and the state of the turns that it meets, and how often that has happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TypeAlias

from tests.torture.records import State

Cell: TypeAlias = tuple[str, State]

AIMED: Mapping[State, float] = {
    "queued": 0.15,
    "mid_text": 0.8,
    "mid_tool": 0.3,
    "between_hops": 0.15,
    "compacting": 0.04,
    "stopping": 0.15,
    "taken_over": 0.15,
}
"""The states of turns that are aimed at, and how long after their beginning they are hit at the latest, in seconds."""
CANNOT_BE: frozenset[Cell] = frozenset({("stop", "stopping")})
"""What never happens: a turn that is being stopped is not asked to stop."""


class Cells:
    """Those of a run, each of which is to be hit `goal` times, if there is a goal."""

    def __init__(self, faults: Iterable[str], *, states: Iterable[State] = (), goal: int = 0) -> None:
        self.faults = tuple(faults)
        self.goal = goal
        self.hits: Counter[Cell] = Counter()
        self._all = [cell for cell in product(self.faults, tuple(states) or tuple(AIMED)) if cell not in CANNOT_BE]

    @property
    def lacking(self) -> list[Cell]:
        """Those that have been hit less often than they are to be."""
        return [cell for cell in self._all if self.hits[cell] < self.goal]

    @property
    def is_even(self) -> bool:
        """Whether every fault has met somebody."""
        return set(self.faults) <= {fault for fault, _ in self.hits}

    @property
    def open(self) -> list[Cell]:
        """Those that are worth hitting: what is lacking; all, if nothing is."""
        return self.lacking or self._all

    def emptiest(self, faults: Iterable[str]) -> frozenset[Cell]:
        """Of those that are open, with these faults, the ones that have been hit least, by the rarest fault."""
        by_fault = Counter[str]()
        for (fault, _), hits in self.hits.items():
            by_fault[fault] += hits
        filled = {cell: (self.hits[cell], by_fault[cell[0]]) for cell in self.open if cell[0] in faults}
        least = min(filled.values(), default=(0, 0))
        return frozenset(cell for cell, hits in filled.items() if hits == least)

    def table(self) -> Iterator[str]:
        """How often each was hit, a line for each fault; a dash where that cannot be."""
        faults = sorted(set(self.faults) | {fault for fault, _ in self.hits})
        wide = max(map(len, faults), default=0)
        yield f"{'':{wide}}  " + "  ".join(AIMED)
        for fault in faults:
            yield f"{fault:{wide}}  " + "  ".join(f"{self._shown((fault, state)):>{len(state)}}" for state in AIMED)

    def _shown(self, cell: Cell) -> str:
        return "-" if cell in CANNOT_BE else str(self.hits[cell])
