"""A chat in a terminal: Ctrl-C stops the answer, and leaves where there is none or when it is pressed again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count

from verbatim_client.ctrl_c import CtrlC, leave
from verbatim_client.errors import Refused, TurnActive, VerbatimError
from verbatim_client.frames import Connected, Disconnected, Event
from verbatim_client.screen import Screen
from verbatim_client.sync import RemoteConversation
from verbatim_client.telling import Telling


class Chat:
    """A person and a conversation. `ask` gets the next line from the person, and raises `EOFError` at the end."""

    def __init__(
        self, conversation: RemoteConversation, *, screen: Screen, ask: Callable[[], str], model: str | None = None
    ) -> None:
        self._conversation = conversation
        self._screen = screen
        self._ask = ask
        self._model = model
        self._is_lost = False
        self._ctrl_c = CtrlC()

    def run(self) -> None:
        """Until the person leaves."""
        self._conversation.on(Disconnected, self._lost)
        self._conversation.on(Connected, self._back)
        with self._ctrl_c:
            self._talk()

    def _talk(self) -> None:
        self._tell_what_was()
        for text in self._questions():
            try:
                with self._ctrl_c.does(leave):
                    turn = self._conversation.send(text, model=self._model)
            except TurnActive as error:
                self._screen.note("refused", str(error))
                turn = error.turn or ""
            except Refused as error:
                self._screen.note("refused", str(error))
                continue
            if turn:
                self._follow(turn)

    def _tell_what_was(self) -> None:
        log = self._conversation.log
        active = log.active_turn
        telling = Telling()
        for event in log.events:
            if event.kind == "user_message":
                self._screen.asked(str(event.data.get("text", "")))
            if event.turn != active:
                for told in telling.take(event):
                    self._screen.show(told)
        if active is not None:
            self._follow(active)

    def _questions(self) -> Iterator[str]:
        """What the person says, without what is empty."""
        is_leaving = False
        while True:
            try:
                with self._ctrl_c.does(leave):
                    text = self._ask().strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                if is_leaving:
                    return
                is_leaving = True
                self._screen.note("Ctrl-C", "nothing to stop; press it again to leave")
                continue
            is_leaving = False
            if text:
                yield text

    def _follow(self, turn: str) -> None:
        presses = count()

        def pressed() -> None:
            if next(presses):
                leave()
            # in a thread, so that no word is lost that is just being shown
            threading.Thread(target=self._stop, args=(turn,), daemon=True).start()

        with self._ctrl_c.does(pressed):
            for told in self._conversation.told(turn):
                if isinstance(told, Event) and told.kind == "turn_ended":
                    self._ctrl_c.keep()
                self._screen.show(told)
        self._screen.sum_up(self._conversation.stats)

    def _stop(self, turn: str) -> None:
        self._screen.note("Ctrl-C", "stopping; press it again to leave")
        try:
            self._conversation.stop(turn)
        except VerbatimError as error:
            self._screen.note("refused", str(error))

    def _lost(self, lost: Disconnected) -> None:
        self._is_lost = True
        self._screen.note("line", f"lost ({lost.reason}); next try in {lost.retry_in:.1f} s")

    def _back(self, _: Connected) -> None:
        if self._is_lost:
            self._screen.note("line", "back")
        self._is_lost = False
