"""What a caller asks for, and what is wrong with it before anything is looked up."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

import msgspec

from history.conf import chat_settings
from history.events import CallerResult
from history.options import Options
from llm.types import Message, Part, Sampling, ToolChoice, ToolMessage, ToolSpec
from streaming.errors import InvalidRequest, TextTooLong

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to be started. `text` may be None with `replaces`: then the old message is asked again.

    `system` is added after the profile's system prompt. `parts` are those of a message that is not only text; `results`
    answer calls that the turn before has left to the caller. `earlier` is what was said elsewhere before. `tools` are
    the caller's own, `tool` the one that must be called first. `ephemeral`: a conversation that is opened for this
    order is for nothing else.
    """

    request_id: str | None = None
    text: str | None = None
    model: str | None = None
    replaces: UUID | None = None
    system: str = ""
    no_tools: bool = False
    parts: tuple[Part, ...] = ()
    results: tuple[CallerResult, ...] = ()
    earlier: tuple[Message, ...] = ()
    sampling: Sampling | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    tool: str = ""
    ephemeral: bool = False

    @property
    def options(self) -> Options:
        """What the turn is asked to be, but for its profile."""
        return Options(
            system=self.system,
            no_tools=self.no_tools,
            sampling=self.sampling,
            tools=self.tools,
            tool_choice=self.tool_choice,
            tool=self.tool,
        )

    def answered(self) -> list[str]:
        """The ids of calls of the turn before that this answers: with the results, or with what was said first."""
        if not self.earlier:
            return [result.tool_call_id for result in self.results]
        answered: list[str] = []
        for said in self.earlier:
            if not isinstance(said, ToolMessage):
                break
            answered.append(said.tool_call_id)
        return answered

    def fingerprint(self) -> str:
        """What makes two requests the same, beside their id. It is stored: what a later version adds to an order may
        change it only for orders that use it."""
        meaning: list[object] = [self.text, self.model, str(self.replaces) if self.replaces else None]
        if self.system or self.no_tools:
            meaning += [self.system, self.no_tools]
        rest = {name: value for name in REST if (value := getattr(self, name)) != getattr(PLAIN, name)}
        if rest:
            meaning.append(rest)
        return hashlib.sha256(msgspec.json.encode(meaning)).hexdigest()


PLAIN = Order()
REST = ("parts", "results", "earlier", "sampling", "tools", "tool_choice", "tool")
"""What else makes two requests the same, where it is used."""


def check(order: Order) -> None:
    """Raises `InvalidRequest` or `TextTooLong`."""
    if order.request_id is not None and not REQUEST_ID.fullmatch(order.request_id):
        raise InvalidRequest("A request id has 1 to 128 printable ASCII characters without spaces.")
    says_something = (order.text or "").strip() or order.parts or order.results
    if not says_something and (order.text is not None or order.replaces is None):
        raise InvalidRequest("A message needs a text.")
    for text in (order.text or "", order.system):
        if len(text) > chat_settings().max_text:
            raise TextTooLong(f"A message may have {chat_settings().max_text:,} characters; this one has more.")
        if UNSTORABLE.search(text):
            raise InvalidRequest("A message may not contain U+0000 or half of a surrogate pair.")
