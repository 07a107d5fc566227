"""Secrets of which nothing may be found where they have no business, and the search for them."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

ENVIRONMENT = {
    "OPENAI_API_KEY": "Kq7canary01OfTheProvider",
    "OTHER_KEY": "Kq7canary02OfAnotherProvider",
    "SECRET_KEY": "Kq7canary03OfTheSite",
    "METRICS_TOKEN": "Kq7canary29OfTheFigures",
}
DATABASE_PASSWORD = "Kq7canary04OfTheDatabase"
REDIS_PASSWORD = "Kq7canary05OfTheRedis"
ADDRESS_PASSWORD = "Kq7canary06InAnAddress"
ADDRESS_KEY = "Kq7canary07InAQuery"
KNOWN = (*ENVIRONMENT.values(), DATABASE_PASSWORD, REDIS_PASSWORD, ADDRESS_PASSWORD, ADDRESS_KEY)
"""What the servers know by its value."""

WRONG_KEY = "vb_0badc0de_Kq7canary08AsBearer0123456789012345678901234"
WRONG_API_KEY = "Kq7canary09InXApiKey"
COOKIE = "Kq7canary10InACookie"
REFUSED_PASSWORD = "Kq7canary11InARefusedAddress"
PROMPTED = "sk-ant-Kq7canary12InASystemPrompt"
ECHOED = "sk-proj-Kq7canary13EchoedByTheProvider"
RAISED = "Kq7canary14RaisedByATool"
MISPLACED = "sk-proj-Kq7canary28WhereANameBelongs"
NOWHERE = (*KNOWN, WRONG_KEY, WRONG_API_KEY, COOKIE, REFUSED_PASSWORD, PROMPTED, ECHOED, RAISED, MISPLACED)
"""What nobody says in a conversation."""

PEM = "MIIEvQIBADANBgkqhkiG9w0Kq7canary15"
SHAPED = {
    f"-----BEGIN RSA PRIVATE KEY-----\n{PEM}\nZm9v\n-----END RSA PRIVATE KEY-----": PEM,
    "sk-live-Kq7canary16": "sk-live-Kq7canary16",
    "the JWT eyJhbGciOiJIUzI1NiJ9.eyJLcTdjYW5hcnkxNyI6MX0.c2ln": "eyJLcTdjYW5hcnkxNyI6MX0",
    "AKIAKQ7CANARY18ABCDE": "AKIAKQ7CANARY18ABCDE",
    "ghp_Kq7canary19aaaaaaaaaaaaaaaaaaaaaaaa": "ghp_Kq7canary19",
    "github_pat_Kq7canary20_aaaaaaaaaaaaaaaa": "github_pat_Kq7canary20",
    "xoxb-123456789012-Kq7canary21": "Kq7canary21",
    "https://ada:Kq7canary22@example.org/inbox": "Kq7canary22",
    "https://example.org/map?key=Kq7canary23": "Kq7canary23",
    "password=Kq7canary24": "Kq7canary24",
    "{'api_key': 'Kq7canary25'}": "Kq7canary25",
    "Cookie: session=Kq7canary26": "Kq7canary26",
}
"""What somebody says, and what of it is secret, which nobody knows but by its shape."""
SAID_BY_A_TOOL = "hooks.slack.com wants xoxp-Kq7canary27-aaaa"
SAID = (*SHAPED.values(), "xoxp-Kq7canary27")

WORDS = frozenset(
    {"event user_message", "event assistant_message", "event tool_result", "deltabatch", "conversation", "words"}
)
"""Places where what somebody says is kept or shown as it was said; a conversation begins with its title."""
PREFIX = "verbatim_history_"


class Found(NamedTuple):
    """A secret where it has no business."""

    secret: str
    place: str


def found(places: Mapping[str, Iterable[str]], *, also: str) -> list[Found]:
    """All of them, and another one that may be nowhere, in places by their names, of which those of `WORDS` are
    special."""
    return [
        Found(secret, place)
        for place, texts in places.items()
        for text in ["\n".join(texts)]
        for secret in (also, *NOWHERE, *(() if place in WORDS else SAID))
        if secret in text
    ]


def dump(url: str) -> dict[str, list[str]]:
    """All that is in a PostgreSQL, by the table; events by their kinds, and what was compressed as it was before."""
    places: dict[str, list[str]] = defaultdict(list)
    with psycopg.connect(url, row_factory=dict_row) as connection:
        tables = connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for table in [str(row["table_name"]) for row in tables]:
            for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))):
                place = table.removeprefix(PREFIX)
                place = f"{place} {row['kind']}" if place == "event" else place
                places[place].extend(map(text_of, row.values()))
    return places


def text_of(value: Any) -> str:
    """A column's value as text."""
    if isinstance(value, bytes):
        with suppress(zlib.error):
            value = zlib.decompress(value)
        return str(value, "utf-8", "replace")
    return value if isinstance(value, str) else repr(value)
