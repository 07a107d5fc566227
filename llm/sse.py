"""The data of a server-sent event stream, read from bytes as they come: no line limit, no I/O.

Only `data` matters to us; event names, ids and comments are passed over. The format is the WHATWG HTML standard's,
§9.2.6, but for two points in which real providers differ: the last event counts even if the stream ends without its
blank line, and no decoding happens here (a character split over two chunks is whole again once its line is).
"""

from __future__ import annotations

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SseReader:
    """Feed it chunks; each call returns the data of the events which that chunk completed."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._ended_in_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that ends in `chunk`, in order."""
        if (
            chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2 > 6
            and chunk.endswith(b"\n")
            and b"\r" not in chunk
            and not self._line
            and not self._data
        ):  # one line of data and its blank line, as nearly always with one token a chunk
            self._first = False
            return [chunk[6:-2]]
        if self._first:
            chunk = self._without_mark(chunk)
        if self._ended_in_cr and chunk:
            self._ended_in_cr = False
            chunk = chunk.removeprefix(b"\n")
        return self._read_lines(chunk) if chunk else []

    def close(self) -> list[bytes]:
        """The data of an event which the end of the stream completes, if there is one."""
        events = self._read_lines(b"\n") if self._line else []
        if event := b"\n".join(self._data):
            events.append(event)
        self._data = []
        return events

    def _without_mark(self, chunk: bytes) -> bytes:
        """Drop a byte order mark at the very beginning, though it may come byte by byte."""
        start = b"".join(self._line) + chunk
        if BYTE_ORDER_MARK.startswith(start) and start != BYTE_ORDER_MARK:
            self._line = [start] if start else []
            return b""
        self._first = False
        self._line = []
        return start.removeprefix(BYTE_ORDER_MARK)

    def _read_lines(self, chunk: bytes) -> list[bytes]:
        self._first = False
        lines = chunk.splitlines()
        if chunk.endswith((b"\n", b"\r")):
            self._ended_in_cr = chunk.endswith(b"\r")
            rest = b""
        else:
            rest = lines.pop()
        events: list[bytes] = []
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
        for line in lines:
            self._read_line(line, events=events)
        if rest:
            self._line.append(rest)
        return events

    def _read_line(self, line: bytes, *, events: list[bytes]) -> None:
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
        elif self._data:
            if event := b"\n".join(self._data):
                events.append(event)
            self._data = []
