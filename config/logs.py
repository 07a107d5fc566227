"""How this site's log looks: a line per record, with the ids of the request, conversation and turn that it is about,
and without secrets."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter

from llm.redaction import hidden

SERVERS = ("uvicorn", "uvicorn.access")
TOLD = ("timestamp", "level", "logger", "event", "exception")
"""What a plain line has in places of their own."""


def formatter(kind: str, secrets: tuple[str, ...] = ()) -> ProcessorFormatter:
    """A formatter for `logging`: of `json`, an object per line, or of anything else, plain lines. None shows one of
    `secrets`, nor what is shaped like one."""

    def hide(_: object, __: str, record: MutableMapping[str, Any]) -> Any:
        return hidden(dict(record), secrets=secrets)

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
            hide,
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


def plain(_: object, __: str, record: MutableMapping[str, Any]) -> str:
    """`2026-11-22 04:05:06.789 INFO streaming.engine: what happened turn=…`"""
    ids = "".join(f" {name}={value}" for name, value in record.items() if name not in TOLD)
    line = f"{record['timestamp']} {record['level'].upper()} {record['logger']}: {record['event']}{ids}"
    return f"{line}\n{record['exception']}" if "exception" in record else line
