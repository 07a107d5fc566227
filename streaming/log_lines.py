"""The lines of the process's log: what they are about, how they look, and that no secret is in them."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterable, MutableMapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import structlog
from structlog.contextvars import bound_contextvars
from structlog.stdlib import ProcessorFormatter

from history.known_secrets import without_known
from llm.redaction import unshaped

HEADER = b"x-request-id"
_ID = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
UNTOLD = "(said while Python was ending)"
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
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            stamped_for_programs if is_json else stamped_for_people,
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


def stamped_for_programs(_: object, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """With the time in UTC, as ISO 8601."""
    at = datetime.fromtimestamp(record["_record"].created, UTC).isoformat(timespec="milliseconds")
    return {"timestamp": at.replace("+00:00", "Z"), **record}


def stamped_for_people(_: object, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """With the time where the process runs; told by what is there when Python ends, for libraries log even then."""
    made: logging.LogRecord = record["_record"]
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made.created))
    return {"timestamp": f"{at}.{int(made.msecs):03}", **record}


def discreet(_: object, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without the secrets that are known here, and without whatever is shaped like one. What cannot be looked through
    any more, because Python ends, is not told."""
    if sys.is_finalizing():
        return {**record, **dict.fromkeys({"event", "exception"} & record.keys(), UNTOLD)}
    told = {name: unshaped(without_known(said)) for name, said in record.items() if isinstance(said, str)}
    return {**record, **told}


def plain(_: object, __: str, record: MutableMapping[str, Any]) -> str:
    """`2026-11-22 04:05:06.789 INFO streaming.engine: what happened turn=…`"""
    ids = "".join(f" {name}={value}" for name, value in record.items() if name not in TOLD)
    line = f"{record['timestamp']} {record['level'].upper()} {record['logger']}: {record['event']}{ids}"
    return f"{line}\n{record['exception']}" if "exception" in record else line
