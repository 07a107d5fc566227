"""The lines of the process's log: what they are about, how they look, and that no secret is in them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import structlog
from structlog.contextvars import bound_contextvars
from structlog.stdlib import ProcessorFormatter

from history.known_secrets import without_known
from llm.redaction import unshaped

HEADER = b"x-request-id"
_ID = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
SERVERS = ("uvicorn", "uvicorn.access")
TOLD = ("timestamp", "level", "logger", "event", "exception")
"""What a plain line has in places of their own."""


def about(conversation_id: UUID, turn_id: UUID | None) -> AbstractContextManager[None]:
    """Lines in this block are about that turn."""
    return bound_contextvars(conversation=str(conversation_id), turn=str(turn_id))


def about_request(headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[None]:
    """Lines in this block are about a request: the one that its `X-Request-ID` names, or one of a new name."""
    said = next((value for name, value in headers if name == HEADER), b"")
    return bound_contextvars(request=said.decode() if _ID.fullmatch(said) else uuid4().hex)


def formatter(kind: str) -> ProcessorFormatter:
    """A formatter for `logging`: of `json`, an object per line, or of anything else, plain lines."""
    is_json = kind == "json"
    time = structlog.processors.TimeStamper(fmt="iso" if is_json else "%Y-%m-%d %H:%M:%S.%f", utc=is_json)
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            time,
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            discreet,
            structlog.processors.JSONRenderer(ensure_ascii=False) if is_json else plain,
        ],
    )


def have_servers_write_so() -> None:
    """uvicorn has set its handlers up already, unless it was told to have none; addresses that they show may have
    secrets in them."""
    ours = next((each.formatter for each in logging.getLogger().handlers if each.formatter), None)
    for name in SERVERS:
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(ours)


def discreet(_: object, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without the secrets that are known here, and without whatever is shaped like one."""
    told = {name: unshaped(without_known(said)) for name, said in record.items() if isinstance(said, str)}
    return {**record, **told}


def plain(_: object, __: str, record: MutableMapping[str, Any]) -> str:
    """`2026-11-22 04:05:06.789 INFO streaming.engine: what happened turn=…`"""
    ids = "".join(f" {name}={value}" for name, value in record.items() if name not in TOLD)
    line = f"{record['timestamp']} {record['level'].upper()} {record['logger']}: {record['event']}{ids}"
    return f"{line}\n{record['exception']}" if "exception" in record else line
