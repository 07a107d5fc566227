"""What a caller asks for, and what is wrong with it before anything is looked up."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

import msgspec

from history.conf import chat_settings
from streaming.errors import InvalidRequest, TextTooLong

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to be started. `text` may be None with `replaces`: then the old message is asked again.

    `system` is added after the profile's system prompt.
    """

    request_id: str | None = None
    text: str | None = None
    model: str | None = None
    replaces: UUID | None = None
    system: str = ""
    no_tools: bool = False

    def fingerprint(self) -> str:
        """What makes two requests the same, beside their id. It is stored: what a later version adds to an order may
        change it only for orders that use it."""
        meaning: list[object] = [self.text, self.model, str(self.replaces) if self.replaces else None]
        if self.system or self.no_tools:
            meaning += [self.system, self.no_tools]
        return hashlib.sha256(msgspec.json.encode(meaning)).hexdigest()


def check(order: Order) -> None:
    """Raises `InvalidRequest` or `TextTooLong`."""
    if order.request_id is not None and not REQUEST_ID.fullmatch(order.request_id):
        raise InvalidRequest("A request id has 1 to 128 printable ASCII characters without spaces.")
    if not (order.text or "").strip() and (order.text is not None or order.replaces is None):
        raise InvalidRequest("A message needs a text.")
    for text in (order.text or "", order.system):
        if len(text) > chat_settings().max_text:
            raise TextTooLong(f"A message may have {chat_settings().max_text:,} characters; this one has more.")
        if UNSTORABLE.search(text):
            raise InvalidRequest("A message may not contain U+0000 or half of a surrogate pair.")
