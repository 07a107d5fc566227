"""A conversation at a distance, for programs with an event loop; `sync.py` has the same for those without."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from verbatim_client import orders, rest
from verbatim_client.answers import Answer, answer_of
from verbatim_client.attachment import Attachment
from verbatim_client.completion_logs import CompletionLogs, Folders
from verbatim_client.errors import ConversationClosed, TurnFailed, Unauthenticated
from verbatim_client.following import Listeners
from verbatim_client.frames import Frame, News
from verbatim_client.log import Log
from verbatim_client.stats import Stats
from verbatim_client.telling import Telling, Told

N = TypeVar("N", bound=News)


class AsyncRemoteConversation:
    """One conversation of a site: `async with` makes it, or attaches to it, and keeps a line to it until the end.

    `url` is the site's, with the prefix under which it includes the chat; `key` an API key; `conversation` the id of
    one that is there. A line that breaks is made again, with growing pauses, and goes on where it was; only after
    `patience` seconds without one everything that waits raises `Unreachable`. A server that says nothing for `silence`
    seconds is asked for a sign of life, and given up after as many again.

    `log_folders` has the completion logs of model calls written: into the folder of their usage id, and nowhere if it
    has none. With `log_content` they say what the model was sent and what it answered, for which the key's user needs
    the permission; else `Forbidden` is raised.
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
        if not key.isascii() or not key.isprintable() or " " in key or not key:  # else libraries would quote it
            raise Unauthenticated("An API key is printable ASCII without spaces.")
        self.url = url.rstrip("/")
        self.id = conversation or ""
        """The conversation's id; of a new one as soon as it is entered."""
        self._key = key
        self._patience = patience
        self._silence = silence
        self._logs = CompletionLogs(log_folders, with_content=log_content) if log_folders is not None else None
        self._listeners = Listeners()
        self._attached: Attachment | None = None

    async def __aenter__(self) -> Self:
        """Until everything that is there has come. Raises `Refused` and `Unreachable`."""
        self.id = await rest.find_or_make(self.url, key=self._key, conversation=self.id or None)
        address = f"{self.url.replace('http', 'ws', 1)}/ws/conversations/{self.id}/"
        self._attached = Attachment(
            address,
            key=self._key,
            patience=self._patience,
            silence=self._silence,
            listeners=self._listeners,
            logs=self._logs,
        )
        try:
            await self._attached.until_caught_up()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave. What runs goes on at the server; whoever still waits here gets `ConversationClosed`."""
        if self._attached is not None:
            await self._attached.close()

    @property
    def log(self) -> Log:
        """All events and the draft; only to be read."""
        return self._here.log

    @property
    def stats(self) -> Stats:
        """What was used so far: of each usage id, the newest turn and the whole conversation."""
        return self._here.state.stats

    @property
    def state(self) -> Mapping[str, Any]:
        """`title`, `status`, `model` and `archived`, as far as the server says them."""
        return self._here.state.values

    @property
    def active_turn(self) -> str | None:
        """The turn that is being answered."""
        return self.log.active_turn

    async def send(
        self,
        text: str | None = None,
        *,
        model: str | None = None,
        replaces: str | None = None,
        request_id: str | None = None,
    ) -> str:
        """Start a turn; its id, once the message is stored. `replaces` names a turn to retry or edit.

        It is sent again over every new line until it is answered, with the same request id, and so asked once. Raises
        `Refused` (`TurnActive`, `RateLimited` …), `Unreachable`.
        """
        return await self._here.order(orders.send(text, model=model, replaces=replaces, request_id=request_id))

    async def stop(self, turn: str | None = None) -> bool:
        """Stop that turn, or the active one; False if there is none. What was said is kept."""
        turn = turn or self.active_turn
        if turn is None:
            return False
        await self._here.order(orders.stop(turn))
        return True

    async def ask(self, text: str, *, model: str | None = None) -> Answer:
        """Send, and wait for the answer. Raises `TurnFailed` too."""
        return await self.answer(await self.send(text, model=model))

    async def answer(self, turn: str) -> Answer:
        """A turn's whole answer, once it has ended. Raises `TurnFailed`."""
        async for _ in self.frames(turn=turn):
            pass
        answer = answer_of(self.log.of_turn(turn))
        if answer.error is not None:
            raise TurnFailed(answer.error.message, code=answer.error.code, turn=turn, text=answer.text)
        return answer

    def frames(self, *, turn: str | None = None, after: int | None = None) -> AsyncIterator[Frame]:
        """What happens, as it happens: of a turn from its message to its end, else without end. `after`: begin behind
        the event of that number; unless said, and without a turn, with what comes from now on."""
        return self._here.follow(turn=turn, after=after)

    async def told(self, turn: str) -> AsyncIterator[Told]:
        """A turn for who can only append: every word once, in pieces, and the events between them."""
        telling = Telling()
        async for frame in self.frames(turn=turn):
            for told in telling.take(frame):
                yield told

    def on(self, kind: type[N], callback: Callable[[N], object]) -> Callable[[], None]:
        """Call back with all news of a kind: a class of `frames`, or `News` for everything. Returns what ends this.

        Who asks before the conversation is entered hears of everything that is there, too. Callbacks run one after the
        other on the loop, so they must not block. What they raise is logged.
        """
        return self._listeners.add(kind, callback)

    @property
    def _here(self) -> Attachment:
        if self._attached is None:
            raise ConversationClosed("Enter the conversation first: `with RemoteConversation(...) as conversation`.")
        return self._attached
