"""What happened in a run of the fault harness: a file that grows by one line of JSON per record.

One runner process writes it (`Recorder`), in the order in which it saw things; the checker only reads it (`read`).
Every line is an object with `type` (which of `records.py` it is), `n` (1, 2, 3 …) and `at` (seconds since the epoch,
when it was seen); what took time says with `began` when it began. Fields that have their default are left out.

Names. A *process* is one life of a server: `a.1`, after its restart `a.2`. A *viewer* is somebody who looks at one
conversation or turn over one transport and comes back under the same name. Conversations and turns have the product's
ids. A *tag* is a word that stands in one user message and nowhere else; by it the calls of the provider are known.

| record | when the runner writes it |
|---|---|
| `started`, `exited` | a process is ready; a process is gone, however it went |
| `asking` | somebody begins to ask, and does not stop before there is an answer |
| `ordered` | an order was answered, or its connection was lost |
| `connected` | a viewer was let in, the first time or again; `cursor` is what it came with, empty: without one |
| `received` | a frame came |
| `disconnected` | a connection of a viewer is over: once per `connected` |
| `waited` | a caller who waits for a whole answer as JSON got a response |
| `stop_asked` | a stop was answered |
| `owned` | a turn was seen to be run by this process on this attempt: what the runner saw in the database |
| `fault` | a fault is over, or has begun for good; `began` and `ended` say from when to when it lasted |
| `starved` | every second: for how long the machine was busy with something else |
| `hit` | a fault met a turn in this state |
| `kept` | after a kill, or when a process gives a turn away: the draft as the database has it then |
| `called` | at the end, from the provider's log: a request for an answer |
| `tool_ran` | at the end, from the servers' notes: a tool began or finished |
| `logged` | at the end: a line of a server's log |
| `client_log` | the Python client leaves, or is there when all is quiet |
| `quiescent` | no fault lasts, nobody is away who wants to come back, all had its time: the state follows |
| `conversation_row`, `turn_row`, `event_row`, `batch_row`, `state_row` | after that: the rows of the database |
| `fresh_read` | after that: the frames for a new viewer of a conversation, on each process, until `caught_up` |

Frames are those of the transport, decoded. `websocket` and `sse` (of a conversation, or of a turn): the native frame.
A comment is `{"type": "comment"}` on every transport. `streaming_chat`: the event as it stands in `data:`, and in `id`
the value of the `id:` line, if there was one. `text` (`streaming_chat` as text/plain): `{"text": piece}`. A viewer that
comes back says as `cursor` what the last recorded frame gave it; one that was told to forget, or never had one, says
"", and begins with nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from tests.torture.records import AnyRecord, Quiescent, Record

R = TypeVar("R", bound=Record)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


class Recorder:
    """Appends records to a file; for one thread, or for who holds a lock."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab")
        self._n = 0

    def add(self, record: R, *, at: float | None = None) -> R:
        """Write it down as seen now, or at `at`; the record as it was written."""
        self._n += 1
        record = msgspec.structs.replace(record, n=self._n, at=time.time() if at is None else at)
        self._file.write(_encoder.encode(record) + b"\n")
        return record

    def close(self) -> None:
        """Everything is in the file."""
        self._file.close()


class History:
    """All records of a run, in order, and by type."""

    def __init__(self, records: Iterable[AnyRecord]) -> None:
        self.records: tuple[AnyRecord, ...] = tuple(records)
        self._by_type: dict[type[Record], list[Any]] = {}
        for record in self.records:
            self._by_type.setdefault(type(record), []).append(record)

    def of(self, kind: type[R]) -> list[R]:
        """All records of this type, in order."""
        return self._by_type.get(kind, [])

    @property
    def ended(self) -> float:
        """When all was quiet; without that the time of the last record."""
        quiet = self.of(Quiescent)
        return quiet[0].at if quiet else max((record.at for record in self.records), default=0.0)


def read(path: Path) -> History:
    """A history from its file. Raises `msgspec.ValidationError` for a line that is no record."""
    return History(_lines(path))


def _lines(path: Path) -> Iterator[AnyRecord]:
    with path.open("rb") as file:
        for line in file:
            yield _decoder.decode(line)
