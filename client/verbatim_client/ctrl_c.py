"""What Ctrl-C does, said by whoever has the word: between two of them it is kept for the next."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

Doing = Callable[[], object]


class CtrlC:
    """In force from `with` to its end, in the main thread."""

    def __init__(self) -> None:
        self._doing: Doing | None = None
        self._is_kept = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def does(self, doing: Doing) -> Iterator[None]:
        """Have it do this, at once if it was pressed before."""
        self._doing = doing
        try:
            if self._is_kept:
                self._is_kept = False
                doing()
            yield
        finally:
            self.keep()

    def keep(self) -> None:
        """Whoever comes next has to do with it."""
        self._doing = None

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self._doing is None:
            self._is_kept = True
        else:
            self._doing()


def leave() -> None:
    """Interrupt what is being done."""
    raise KeyboardInterrupt
