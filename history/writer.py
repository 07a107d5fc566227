"""The group-commit writer: one thread and one connection per process through which all that the engine stores goes.

Every tick it inserts the new text of all drafts in one transaction. Everything else the engine writes is a job for the
same thread, so a tick can never write behind the compaction of its draft. A database that is away is waited for:
drafts keep their text, jobs are tried again, until `patience` is over.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Condition, Thread
from typing import Any, Generic, TypeVar

from django.db import DatabaseError, OperationalError

from history import batches
from history.connections import AWAY, own_connection, reconnect
from history.draft import Draft, Stretch

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Job(Generic[T]):
    """Something to write, and the promise of its result."""

    def __init__(self, write: Callable[[], T], *, deadline: float) -> None:
        self.write = write
        self.deadline = deadline
        self.result: Future[T] = Future()
        self.result.set_running_or_notify_cancel()  # from here on nobody can cancel it: it will be written

    def run(self) -> bool:
        """Do it; False if the database was away or a lock was held, so that it must be tried again."""
        try:
            self.result.set_result(self.write())
        except AWAY as error:
            if time.monotonic() < self.deadline:
                return False
            self.result.set_exception(error)
        except Exception as error:  # the top of a job: whoever waits for the result gets it
            self.result.set_exception(error)
        return True


class Writer:
    """Start with `start()`; `open()` a draft to have it stored every `interval` seconds until `close()`d; `run()` jobs.

    In the writer's thread `stored` is called with the drafts of which more is in the database now, `failed` with
    one that the database refuses for its content.
    """

    def __init__(
        self,
        *,
        interval: float,
        full: int,
        stored: Callable[[Collection[Draft]], None] = lambda drafts: None,
        failed: Callable[[Draft], None] = lambda draft: None,
        patience: float = 60.0,
    ) -> None:
        self.interval = interval
        self.full = full
        self.patience = patience
        self._stored = stored
        self._failed = failed
        self._changed = Condition()
        self._drafts: dict[int, Draft] = {}
        self._jobs: deque[Job[Any]] = deque()
        self._hurry = False
        self._stopping = False
        self._ended = False
        self._away = False
        self._due = 0.0
        self._stored_at = 0.0
        self._thread = Thread(target=self._loop, name="verbatim-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def open(self, draft: Draft) -> None:
        """Store this draft from now on."""
        with self._changed:
            self._drafts[id(draft)] = draft
            self._changed.notify()

    def close(self, draft: Draft) -> None:
        """This draft is stored otherwise, or withdrawn. Called inside a job, it holds for every later tick."""
        self._drafts.pop(id(draft), None)

    def grown(self, draft: Draft) -> None:
        """Bring the next tick forward if the draft has much unstored text. Cheap: called per fragment."""
        if draft.length - draft.stored >= self.full and not self._hurry:
            with self._changed:
                self._hurry = True
                self._changed.notify()

    def run(self, write: Callable[[], T]) -> Future[T]:
        """Have `write` called in the writer's thread, after what was asked before, unless that must be tried again."""
        job = Job(write, deadline=time.monotonic() + self.patience)
        with self._changed:
            self._jobs.append(job)
            if self._ended:
                self._refuse_jobs()
            self._changed.notify()
        return job.result

    def lag(self) -> float:
        """Seconds for which something has been waiting to be written; a little more than the interval is usual while
        answers stream. May be called in any thread."""
        now = time.monotonic()
        with suppress(IndexError):
            return now - (self._jobs[0].deadline - self.patience)
        return now - self._stored_at if self._drafts else 0.0

    def flush(self) -> None:
        """A tick at once; a job for `run()`. Raises `OperationalError` if something is still not stored."""
        if not self._tick():
            raise OperationalError("the database is away")

    def stop(self, *, timeout: float) -> bool:
        """Write what is left and end the thread; False if it took longer than `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        self._stored_at = time.monotonic()
        self._due = self._stored_at + self.interval
        with own_connection():
            while not self._ended:
                try:
                    self._round()
                except Exception:  # the top of the thread: every turn of the process needs it
                    logger.exception("the writer stumbled and goes on")
                    self._due = time.monotonic() + self.interval
                    reconnect()
                    self._ended = self._stopping
        with self._changed:
            self._refuse_jobs()

    def _round(self) -> None:
        """Wait for work; then a tick, if one is due, and jobs."""
        with self._changed:
            if self._drafts:
                self._changed.wait_for(self._has_work, timeout=max(0.0, self._due - time.monotonic()))
            else:
                self._changed.wait_for(lambda: self._has_work() or self._drafts)
            stopping, self._hurry, hurry = self._stopping, False, self._hurry and not self._away
        now = time.monotonic()
        if hurry or stopping or now >= self._due:
            self._away = not self._tick()
            if not self._away:
                self._stored_at = time.monotonic()
            self._due = max(now + self.interval, time.monotonic() + self.interval / 2)
        self._run_jobs(until=self._due)
        if stopping and not self._jobs and (self._away or not self._unstored()):
            self._ended = True

    def _has_work(self) -> bool:
        return bool(self._jobs) or self._hurry or self._stopping

    def _run_jobs(self, *, until: float) -> None:
        """Run the jobs that wait, as many as fit before the next tick; one that must be tried again goes last."""
        again: list[Job[Any]] = []
        while self._jobs:
            job = self._jobs.popleft()
            if not job.run():
                again.append(job)
                reconnect()
            if time.monotonic() >= until:
                break
        if again:
            with self._changed:
                self._jobs.extend(again)
            time.sleep(max(0.0, min(self.interval / 4, until - time.monotonic())))

    def _refuse_jobs(self) -> None:
        while self._jobs:
            self._jobs.popleft().result.set_exception(OperationalError("the writer has ended"))

    def _unstored(self) -> list[tuple[Draft, Stretch, int]]:
        found = []
        for draft in tuple(self._drafts.values()):
            fresh = draft.unstored()
            if fresh is not None:
                found.append((draft, *fresh))
        return found

    def _tick(self) -> bool:
        """Store the new text of all drafts in one transaction; False if the database is away."""
        fresh = self._unstored()
        if not fresh:
            return True
        try:
            self._insert(fresh)
        except AWAY:
            logger.warning("the database is away, %d drafts wait", len(fresh))
            reconnect()
            return False
        except (DatabaseError, ValueError):
            return self._insert_one_by_one(fresh)
        return True

    def _insert_one_by_one(self, fresh: Iterable[tuple[Draft, Stretch, int]]) -> bool:
        """One of the rows is refused: store the others and give up the draft it belongs to."""
        for row in fresh:
            try:
                self._insert([row])
            except AWAY:
                reconnect()
                return False
            except (DatabaseError, ValueError):
                logger.exception("the draft of turn %s cannot be stored", row[0].turn_id)
                self.close(row[0])
                self._failed(row[0])
        return True

    def _insert(self, fresh: Sequence[tuple[Draft, Stretch, int]]) -> None:
        batches.insert([(draft, stretch) for draft, stretch, _ in fresh])
        for draft, stretch, parts in fresh:
            draft.mark_stored(parts=parts, length=stretch.start + len(stretch.text))
        self._stored([draft for draft, _, _ in fresh])
