"""The live tail: per conversation with viewers or a turn here, its latest events and the draft in progress.

Lives on the engine's loop; nothing here is called from another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from history.batches import Batch, drafted
from history.committed import Entry
from history.draft import Draft
from history.events import DRAFT_ENDING
from history.news import News
from history.states import State
from streaming.estimates import Estimated, from_afar
from streaming.viewer import Viewer

KEPT = 200
"""Events kept for viewers; who is further behind reads the database."""


class Tail:
    """`entries` are the events past `base`, without holes, up to `last`. `base` is None until anything is known."""

    __slots__ = ("base", "conversation_id", "draft", "entries", "estimated", "gone", "last", "live", "measure", "state",
                 "users", "viewers", "waiters")  # fmt: skip

    def __init__(self, conversation_id: UUID) -> None:
        self.conversation_id = conversation_id
        self.entries: list[Entry] = []
        self.base: int | None = None
        self.last = 0
        self.draft: Draft | None = None
        self.live = False
        """Whether `draft` is written by a task of this process; otherwise it is what the database had."""
        self.measure: Callable[[Draft], Estimated] = from_afar
        """How what its draft has used so far is estimated; better where a task of this process asks the model."""
        self.estimated: Estimated | None = None
        self.state: State | None = None
        """What there is to show beside the log; None while that is not known."""
        self.gone = False
        self.users = 0
        self.viewers: set[Viewer] = set()
        self.waiters: set[Viewer] = set()
        """Viewers to whom only events matter."""

    @property
    def hidden(self) -> bool:
        """Whether a task of this process has a draft that it does not show: it is in doubt whose the turn is."""
        return self.live and self.draft is None

    def publish(self, entries: Sequence[Entry]) -> None:
        """Events have been committed. Those that do not join on what is here make viewers read the database."""
        fresh = [entry for entry in entries if self.base is None or entry.seq > self.last]
        if not fresh:
            return
        if self.base is None or fresh[0].seq != self.last + 1:
            self.entries.clear()
            self.base = fresh[0].seq - 1
        self.entries.extend(fresh)
        self.last = fresh[-1].seq
        if len(self.entries) > 2 * KEPT:
            del self.entries[:-KEPT]
            self.base = self.entries[0].seq - 1
        if any(entry.kind in DRAFT_ENDING for entry in fresh):
            self.draft = None
            self.live = False
        self.tell()

    def learn(self, last: int) -> None:
        """The conversation has events up to `last`, of which those past ours are only in the database."""
        if self.base is None or last > self.last:
            self.entries.clear()
            self.base = self.last = last
            if not self.live:
                self.draft = None
            self.tell()

    def join(self, last: int, *, draft: Draft | None, state: State | None) -> None:
        """What a viewer found in the database: events up to `last`, and what was there beside them. Of the state, what
        is here already is as new; where it is not known, the other viewers may have been shown an older one."""
        self.learn(last)
        if draft is not None:
            self.offer(draft)
        if self.state is None and state is not None:
            self.show(state)

    def covers(self, seq: int) -> bool:
        """Whether a viewer that has everything up to `seq` can be served from here."""
        return self.base is not None and self.base <= seq <= self.last

    def after(self, seq: int) -> Sequence[Entry]:
        """The events past `seq`, which this tail covers."""
        if seq == self.last:
            return ()
        assert self.base is not None
        return self.entries[seq - self.base :]

    def offer(self, stored: Draft) -> None:
        """What the database has of a draft, for a conversation whose turn does not run here. Taken unless it is
        older than what is here: its hop has ended meanwhile, or there is more of it already."""
        if self.live or self.last > stored.after_seq:
            return
        if self.draft is None or not stored.continues(self.draft) or stored.length > self.draft.length:
            self.draft = stored
            self.wake()

    def take(self, fresh: News) -> bool:
        """What a look at the database found; events first, then text. True if there is more to look for at once."""
        if fresh.entries is None:
            self.learn(fresh.last_seq)
            return True
        if fresh.entries:
            self.publish(fresh.entries)
        if self.live or not fresh.batches or self.last != fresh.last_seq:
            return False
        return not self._grow(fresh.batches)

    def _grow(self, batches: Sequence[Batch]) -> bool:
        """Add stored text to the draft, or begin another; False if there is a hole before it, so that all is to be
        read again."""
        first = batches[0]
        draft = self.draft
        if draft is None or (draft.turn_id, draft.attempt, draft.hop) != (first.turn_id, first.attempt, first.hop):
            draft = Draft(
                self.conversation_id,
                turn_id=first.turn_id,
                attempt=first.attempt,
                hop=first.hop,
                after_seq=self.last,
            )
        drafted(draft, batches)
        whole = draft.length >= batches[-1].start
        self.draft = draft if whole else None
        self.wake()
        return whole

    def estimate(self) -> None:
        """Tell the viewers about what the call in progress has used so far, if it has begun before the last look, and
        gone on since."""
        draft, seen = self.draft, self.estimated
        if draft is None or not self.viewers:
            self.estimated = None
        elif seen is None or seen.draft is not draft:
            self.estimated = Estimated(draft, draft.said, 0)
        elif seen.said != draft.said:
            self.estimated = self.measure(draft)
            for viewer in self.viewers:
                viewer.tell()

    def show(self, state: State) -> None:
        """What there is to show beside the log is this now."""
        if state != self.state:
            self.state = state
            self.tell()

    def vanish(self) -> None:
        """The conversation is gone."""
        self.gone = True
        self.tell()

    def wake(self) -> None:
        """Tell the viewers that the draft has grown."""
        for viewer in self.viewers:
            viewer.wake()

    def tell(self) -> None:
        """Tell everybody that something has happened."""
        for viewer in (*self.viewers, *self.waiters):
            viewer.tell()
