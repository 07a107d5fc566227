"""What operators watch: how many turns there are, what becomes of them, and what they use.

Whatever is counted is told by the log, once, after its commit, so no part of a turn has to think of it; what is there
at the moment is looked at once a second. With `PROMETHEUS_MULTIPROC_DIR` in the environment, an empty folder, any
process of a machine tells of all of them; without it, each of itself. prometheus-client reads that variable itself.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from history.calls import Call
from history.committed import Committed
from history.conf import chat_settings
from history.events import Kind

EVERY = 1.0
"""Seconds between two looks at what is there."""
_OF_A_PROCESS = re.compile(r"_(\d+)\.db$")

TURNS = Counter("verbatim_turns", "Turns that have ended.", ["status"])
TAKEN_OVER = Counter("verbatim_takeovers", "Turns that went on in another process or attempt.", ["reason"])
CALLS = Counter("verbatim_model_calls", "Model calls that are over.", ["model", "usage_id", "outcome"])
TOKENS = Counter("verbatim_tokens", "Tokens that model calls have used.", ["model", "usage_id", "kind"])
COST = Counter(
    "verbatim_cost_usd", "US dollars that model calls have cost, where prices are known.", ["model", "usage_id"]
)
ERRORS = Counter("verbatim_provider_errors", "Model calls that failed for good.", ["model", "code"])
RETRIES = Counter("verbatim_provider_retries", "Times that a provider had to be asked again.", ["model"])
FIRST_TOKEN = Histogram(
    "verbatim_first_token_seconds",
    "From the first request of a model call to its first words.",
    ["model"],
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 13, 30, 60),
)
CALL_TIME = Histogram(
    "verbatim_model_call_seconds",
    "From the first request of a model call to its end.",
    ["model"],
    buckets=(0.1, 0.3, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600),
)
REPAIRS = Counter("verbatim_repairs", "Conversations found to be further in the database than anybody had said.")

RUNNING = Gauge("verbatim_running_turns", "Turns that run here.", multiprocess_mode="livesum")
SOCKETS = Gauge("verbatim_open_sockets", "WebSockets that are open.", multiprocess_mode="livesum")
VIEWERS = Gauge("verbatim_viewers", "Viewers of conversations, whatever they speak.", multiprocess_mode="livesum")
LAG = Gauge(
    "verbatim_writer_lag_seconds", "For how long something has waited to be stored.", multiprocess_mode="livemax"
)


def committed(change: Committed) -> None:
    """The log's hook: count what this process has written to it. Called in any thread."""
    for call in change.calls:
        _count(call)
    for entry in change.entries:
        if entry.kind == Kind.TURN_ENDED:
            TURNS.labels(entry.data["status"]).inc()
        elif entry.kind == Kind.TURN_RESTARTED:
            TAKEN_OVER.labels(entry.data["reason"]).inc()


def _count(call: Call) -> None:
    model, usage = call.model, call.usage
    CALLS.labels(model, call.usage_id, call.outcome).inc()
    for kind in ("prompt", "completion", "cached", "reasoning"):
        TOKENS.labels(model, call.usage_id, kind).inc(getattr(usage, kind))
    if call.cost is not None:
        COST.labels(model, call.usage_id).inc(float(call.cost))
    if call.retries:
        RETRIES.labels(model).inc(call.retries)
    if call.error is not None:
        ERRORS.labels(model, call.error.code).inc()
    if call.first_token_ms is not None:
        FIRST_TOKEN.labels(model).observe(call.first_token_ms / 1000)
    if call.latency_ms is not None:
        CALL_TIME.labels(model).observe(call.latency_ms / 1000)


def look(*, running: int, viewers: int, lag: float) -> None:
    """Note what is there."""
    RUNNING.set(running)
    VIEWERS.set(viewers)
    LAG.set(lag)


def exposition() -> bytes:
    """All of it, in Prometheus' text format."""
    folder = chat_settings().metrics_folder
    if not folder:
        return generate_latest(REGISTRY)
    _forget_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_dead(folder: Path) -> None:
    """A process that was killed has nothing running and nobody connected."""
    for path in folder.glob("gauge_live*.db"):
        found = _OF_A_PROCESS.search(path.name)
        if found and not _is_alive(int(found[1])):
            with suppress(FileNotFoundError):  # somebody else asks at the same time
                mark_process_dead(int(found[1]), path=str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but there
    return True
