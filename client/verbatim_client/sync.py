"""The same conversation for programs without an event loop: the async one runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from verbatim_client.answers import Answer
from verbatim_client.completion_logs import Folders
from verbatim_client.conversation import AsyncRemoteConversation
from verbatim_client.errors import ConversationClosed
from verbatim_client.frames import Frame, News
from verbatim_client.log import Log
from verbatim_client.stats import Stats
from verbatim_client.telling import Told

N = TypeVar("N", bound=News)
T = TypeVar("T")
Begin = Callable[[Coroutine[Any, Any, T]], Future[T]]
"""Has something done in the conversation's thread."""


class RemoteConversation:
    """One conversation of a site: `with` makes it, or attaches to it, and keeps a line to it until the end.

    All that it can do is told in `AsyncRemoteConversation`, whose arguments it takes. Its methods may be called from
    any thread but, since they wait, not from its own callbacks; these may read what it knows.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        conversation: str | None = None,
        patience: float = 300.0,
        silence: float = 20.0,
        log_folders: Folders | None = None,
        log_content: bool = True,
    ) -> None:
        self._remote = AsyncRemoteConversation(
            url,
            key=key,
            conversation=conversation,
            patience=patience,
            silence=silence,
            log_folders=log_folders,
            log_content=log_content,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="verbatim conversation", daemon=True)

    def __enter__(self) -> Self:
        """Until everything that is there has come. Raises `Refused` and `Unreachable`."""
        self._thread.start()
        try:
            self._wait(self._remote.__aenter__())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave. What runs goes on at the server; whoever still waits here gets `ConversationClosed`."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._wait(self._leave())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    @property
    def id(self) -> str:
        """The conversation's id."""
        return self._remote.id

    @property
    def log(self) -> Log:
        """All events and the draft, as they are now: a copy."""
        return self._read(lambda: self._remote.log.copy())

    @property
    def stats(self) -> Stats:
        """What was used so far: of each usage id, the newest turn and the whole conversation."""
        return self._read(lambda: self._remote.stats)

    @property
    def state(self) -> Mapping[str, Any]:
        """`title`, `status`, `model` and `archived`, as far as the server says them."""
        return self._read(lambda: dict(self._remote.state))

    @property
    def active_turn(self) -> str | None:
        """The turn that is being answered."""
        return self._read(lambda: self._remote.active_turn)

    def send(
        self,
        text: str | None = None,
        *,
        model: str | None = None,
        replaces: str | None = None,
        request_id: str | None = None,
    ) -> str:
        """Start a turn; its id, once the message is stored. `replaces` names a turn to retry or edit."""
        return self._wait(self._remote.send(text, model=model, replaces=replaces, request_id=request_id))

    def stop(self, turn: str | None = None) -> bool:
        """Stop that turn, or the active one; False if there is none. What was said is kept."""
        return self._wait(self._remote.stop(turn))

    def ask(self, text: str, *, model: str | None = None) -> Answer:
        """Send, and wait for the answer. Raises `TurnFailed` too."""
        return self._wait(self._remote.ask(text, model=model))

    def answer(self, turn: str) -> Answer:
        """A turn's whole answer, once it has ended. Raises `TurnFailed`."""
        return self._wait(self._remote.answer(turn))

    def frames(self, *, turn: str | None = None, after: int | None = None) -> Iterator[Frame]:
        """What happens, as it happens: of a turn from its message to its end, else without end."""
        return _Each(self._read(lambda: self._remote.frames(turn=turn, after=after)), begin=self._begin)

    def told(self, turn: str) -> Iterator[Told]:
        """A turn for who can only append: every word once, in pieces, and the events between them."""
        return _Each(self._remote.told(turn), begin=self._begin)

    def on(self, kind: type[N], callback: Callable[[N], object]) -> Callable[[], None]:
        """Call back, in the conversation's own thread, with all news of a kind. Returns what ends this."""
        return self._read(lambda: self._remote.on(kind, callback))

    async def _leave(self) -> None:
        await self._remote.close()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        if waiting:
            await asyncio.wait(waiting)
        await self._loop.shutdown_asyncgens()

    def _read(self, look: Callable[[], T]) -> T:
        """What it sees between two frames."""
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return look()

        async def looking() -> T:
            return look()

        return self._wait(looking())

    def _wait(self, doing: Coroutine[Any, Any, T]) -> T:
        future = self._begin(doing)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupted caller waits no more
            raise

    def _begin(self, doing: Coroutine[Any, Any, T]) -> Future[T]:
        if threading.current_thread() is self._thread:
            doing.close()
            raise RuntimeError("A callback cannot wait for its own conversation; do it in another thread.")
        if self._loop.is_closed() or not self._thread.is_alive():
            doing.close()
            raise ConversationClosed("This conversation is not entered, or was closed here.")
        return asyncio.run_coroutine_threadsafe(doing, self._loop)


class _Each(Iterator[T]):
    """An asynchronous iterator from outside its loop. Interrupted in its waiting, it loses nothing."""

    def __init__(self, source: AsyncIterator[T], *, begin: Begin[T | None]) -> None:
        self._source = source
        self._begin = begin
        self._next: Future[T | None] | None = None

    def __next__(self) -> T:
        if self._next is None:
            self._next = self._begin(self._following())
        try:
            found = self._next.result()
        except Exception:
            self._next = None
            raise
        self._next = None
        if found is None:
            raise StopIteration
        return found

    async def _following(self) -> T | None:
        return await anext(self._source, None)
