"""How often which fault met a turn in which state, as a table."""

from __future__ import annotations

from collections import Counter

from tests.torture.history import History
from tests.torture.records import Hit, TurnRow


def hits(history: History) -> Counter[tuple[str, str]]:
    """Hits by fault and state."""
    return Counter((hit.fault, hit.state) for hit in history.of(Hit))


def summary(history: History) -> str:
    """The table, and how many turns there were and were hit."""
    counts = hits(history)
    faults = sorted({fault for fault, _ in counts})
    states = sorted({state for _, state in counts})
    lines = ["| fault | " + " | ".join(states) + " |", "|---|" + "--:|" * len(states)]
    lines += [f"| {fault} | " + " | ".join(str(counts[fault, state]) for state in states) + " |" for fault in faults]
    met = len({hit.turn for hit in history.of(Hit)})
    return "\n".join([*lines, "", f"{len(history.of(TurnRow))} turns, {met} of them hit, {counts.total()} hits."])
