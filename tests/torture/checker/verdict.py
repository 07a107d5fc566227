"""What the checker finds, and the bounds it holds a run to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A promise of reliability.md that was not kept, and what shows it; `predicate` found it."""

    promise: str
    message: str
    evidence: Any
    predicate: str

    def __str__(self) -> str:
        return f"{self.promise} {self.message} [{self.predicate}]\n    {self.evidence!r:.1500}"


Findings: TypeAlias = Iterator[tuple[str, Any]]
"""What a predicate yields: a message and its evidence."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The numbers of the promises; in seconds where nothing else is said. A run with shorter leases has other ones."""

    draft_loss: float = 0.250
    """R8: how much of a draft `kill -9` may lose."""
    takeover: float = 15.0
    """R10: how long a turn may be without a process while another one could take it."""
    wake: float = 5.0
    """R10: how long after a pause of its process a turn may still be found lapsed."""
    lease: float = 10.0
    spare: float = 3.5
    """R10: how much of a lease a living process may wait for the machine before its turns may be taken for lost."""
    stop: float = 3.0
    """R12: from the acknowledgement of a stop to `turn_ended`."""
    stop_without_redis: float = 6.0
    upstream_median: float = 1.0
    """R12: from the acknowledgement of a stop to the provider's seeing its connection closed."""
    upstream_p99: float = 2.0
    tries: int = 3
    """R4: calls of a hop on one attempt."""
    hops: int = 8
    """R13: rounds of tools; one more call gives the last word."""
    tool: float = 30.0
    result: int = 64 * 1024 + 100
    """R13: bytes of a tool's result, with the note about a cut."""
    heartbeat: float = 20.0
    """R14: between two signs of life; they come every 15."""
    behind: float = 1.5
    """R18: how far behind a viewer may be."""
    polled: float = 4.5
    """R18: how far behind it may be while its process, or the turn's, has no Redis."""
    heal: float = 5.0
    """R18: how long after a fault a viewer may still be further behind."""
    drain: float = 15.0
    """R20: a hop that ends so soon after SIGTERM is not asked twice."""
    exit: float = 25.0
    exit_at_once: float = 2.0
    """R20: from SIGTERM, and from Ctrl-C, to the end of the process."""
    clock: float = 0.050
    """How far the clocks of one machine's parts may seem to differ."""
