"""What one viewer has, and the frames that bring it what it lacks; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard, cast
from uuid import UUID

from history.committed import Entry
from history.draft import Draft, Part
from history.events import DRAFT_ENDING, Kind
from history.log import Page
from streaming.cursor import Cursor
from streaming.estimates import Estimated
from streaming.frames import Delta, Estimate, Event, Reset, State

LARGEST = 32_768
"""About how many code points one delta frame may have."""


class View:
    """A viewer's position. `ended` is the newest event it has that ended a draft, `followed` the draft it is in,
    `caught_up` whether it has been told that it has everything."""

    __slots__ = ("_calls", "_part", "_turn", "beside", "caught_up", "ended", "estimated", "followed", "has_stats",
                 "log_only", "offset", "seq", "shown")  # fmt: skip

    def __init__(self, cursor: Cursor, *, log_only: bool = False) -> None:
        self.seq = cursor.seq
        self.offset = cursor.offset
        self.ended = 0
        self.caught_up = False
        self.log_only = log_only
        self.has_stats = False
        self.beside: Mapping[str, Any] | None = None
        """What there was beside the log when it caught up, until it is shown that or something newer."""
        self.shown: Mapping[str, Any] | None = None
        self.estimated: Estimated | None = None
        self.followed: Draft | None = None
        self._part = 0
        self._turn = ""
        self._calls: set[int] = set()

    @property
    def cursor(self) -> Cursor:
        """Where the viewer stands once it has everything that was made so far."""
        return Cursor(self.seq, self.offset)

    def event(self, entry: Entry) -> list[Reset | Event]:
        """The frames for the next event; a reset first if the viewer saw more of a draft than is left of it."""
        frames: list[Reset | Event] = []
        if entry.kind in DRAFT_ENDING:
            if self.offset > _length(entry):
                frames.append(self.withdraw())
            self.offset = 0
            self.followed = None
            self.ended = entry.seq
        self.has_stats = self.has_stats or entry.kind == Kind.STATS
        self.seq = entry.seq
        frames.append(event_frame(entry, cursor=self.cursor))
        return frames

    def page(self, page: Page) -> Iterator[Reset | Event]:
        """The frames for a page of the log that goes on where the viewer stands."""
        self.ended = max(self.ended, page.ended)
        for entry in page.entries:
            yield from self.event(entry)

    def follows(self, draft: Draft | None) -> bool:
        """Whether this draft goes on where the viewer stands: its hop is not over, and it is as long as was seen."""
        return draft is not None and draft.after_seq >= self.ended and self.offset <= draft.length

    def draft(self, draft: Draft) -> list[Delta]:
        """The frames for what is new in a draft that the viewer follows: one for each run of a channel, and no more
        at a time than about the largest frame has: `lags` says whether there are others. So a viewer that reads slowly
        does not have all of it in memory."""
        parts = draft.parts
        upto = len(parts)
        if draft is not self.followed:
            self.followed, self._part = draft, draft.part_at(self.offset)
            self._turn = str(draft.turn_id)
            self._calls.clear()
        frames = []
        at, size = self._part, 0
        while at < upto and size < LARGEST:
            first = parts[at]
            text, at = _merged(parts, at=at, upto=upto)
            size += len(text)
            if first.call is None:
                frames.append(self._counted(draft, first, text))
            elif self._has_from_the_beginning(first):
                frames.append(self._arguments(draft, first, text))
        self._part = at
        return frames

    def lags(self, draft: Draft | None) -> bool:
        """Whether there is more of the draft that the viewer is in than it has."""
        return draft is not None and draft is self.followed and self._part < len(draft.parts) and self.follows(draft)

    def withdraw(self) -> Reset:
        """Forget the draft: it was withdrawn, or is not stored and will not be."""
        self.offset = 0
        self.followed = None
        return Reset(cursor=str(self.cursor))

    @property
    def lacks_stats(self) -> bool:
        """Whether the viewer is to be shown a snapshot, and has been shown none."""
        return not self.has_stats and not self.log_only

    def lacks_state(self, known: Mapping[str, Any] | None) -> bool:
        """Whether the viewer is to be shown what is beside the log, of which that much is known."""
        return known is None and not self.log_only

    def snapshot(self, stats: dict[str, Any] | None) -> list[State]:
        """The frame for the newest snapshot, if there is one and the viewer was shown none."""
        if stats is None or not self.lacks_stats:
            return []
        self.has_stats = True
        return [State(cursor=str(self.cursor), key=Kind.STATS, value=stats)]

    def states(self, state: Mapping[str, Any] | None) -> list[State]:
        """The frames for what there is to show beside the log, as far as the viewer was shown something else."""
        state, self.beside = state or self.beside, None
        if state is None or state is self.shown or self.log_only:
            return []
        before, self.shown = self.shown or {}, state
        fresh = {key: value for key, value in state.items() if key not in before or before[key] != value}
        return [State(cursor=str(self.cursor), key=key, value=value) for key, value in fresh.items()]

    def lacks(self, estimated: Estimated | None) -> TypeGuard[Estimated]:
        """Whether that is of the call whose draft the viewer follows, and new to it."""
        if estimated is None or estimated is self.estimated or not estimated.completion or self.log_only:
            return False
        return estimated.draft is self.followed

    def estimate(self, estimated: Estimated) -> Estimate:
        """What is estimated of the call whose draft the viewer follows."""
        self.estimated = estimated
        draft = estimated.draft
        return Estimate(
            cursor=str(self.cursor),
            turn=str(draft.turn_id),
            attempt=draft.attempt,
            hop=draft.hop,
            completion=estimated.completion,
            usage_id=estimated.usage_id,
            prompt=estimated.prompt,
            cost=None if estimated.cost is None else f"{estimated.cost:f}",
            elapsed_ms=estimated.elapsed_ms,
            tokens_per_second=estimated.tokens_per_second,
        )

    def restart(self) -> Reset:
        """Forget everything: the position is not one of this conversation."""
        self.seq = self.ended = 0
        return self.withdraw()

    def _counted(self, draft: Draft, first: Part, text: str) -> Delta:
        if first.start < self.offset:
            text = text[self.offset - first.start :]
        offset = self.offset
        self.offset = offset + len(text)
        return Delta(
            cursor=f"{self.seq}.{self.offset}",
            turn=self._turn,
            attempt=draft.attempt,
            hop=draft.hop,
            offset=offset,
            channel=cast(Any, first.channel),
            text=text,
        )

    def _has_from_the_beginning(self, part: Part) -> bool:
        """Whether the viewer gets this call's arguments: from 0 or not at all."""
        assert part.call is not None
        if part.within == 0:
            self._calls.add(part.call)
        return part.call in self._calls

    def _arguments(self, draft: Draft, first: Part, text: str) -> Delta:
        return Delta(
            cursor=f"{self.seq}.{self.offset}",
            turn=self._turn,
            attempt=draft.attempt,
            hop=draft.hop,
            offset=first.within,
            channel="tool_arguments",
            text=text,
            index=first.call,
            name=first.name,
        )


def event_frame(entry: Entry, *, cursor: Cursor) -> Event:
    """An event as it crosses the wire."""
    return Event(
        seq=entry.seq,
        cursor=str(cursor),
        kind=entry.kind,
        turn=wire_id(entry.turn_id),
        at=wire_time(entry.at),
        data=shown(entry),
    )


def shown(entry: Entry) -> dict[str, Any]:
    """The data of an event as viewers get it: images without their bytes, which may be too many for one frame."""
    parts = entry.data.get("parts") if entry.kind == Kind.USER_MESSAGE else None
    return {**entry.data, "parts": list(map(_without_bytes, parts))} if parts else entry.data


def _without_bytes(part: dict[str, Any]) -> dict[str, Any]:
    kind, _, encoded = str(part.get("url", "")).partition(",")
    return {**part, "url": f"{kind},"} if encoded and kind.lower().startswith("data:") else part


def wire_time(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wire_id(value: UUID | None) -> str | None:
    """A turn's id as text."""
    return None if value is None else str(value)


def _merged(parts: list[Part], *, at: int, upto: int) -> tuple[str, int]:
    """The text of the parts from `at` that belong in one frame, and the number of the part after them."""
    first = parts[at]
    after = at + 1
    if after == upto:
        return first.text, after
    size = len(first.text)
    while after < upto and size < LARGEST:
        part = parts[after]
        if part.channel != first.channel or part.call != first.call or (part.name and part.name != first.name):
            break
        size += len(part.text)
        after += 1
    return "".join(part.text for part in parts[at:after]), after


def _length(entry: Entry) -> int:
    """How many code points of draft an event that ends one stands for; a restart withdraws by itself."""
    if entry.kind == Kind.ASSISTANT_MESSAGE:
        return sum(length for _, length in entry.data.get("runs", ()))
    return 1 << 62 if entry.kind == Kind.TURN_RESTARTED else 0
