"""Who may read the figures."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

TOKEN = "scrape-the-figures-with-this"


def test_who_knows_the_token_reads_the_figures_and_nobody_else_does(client: Client, settings: Any) -> None:
    settings.CHAT = {"METRICS_TOKEN": TOKEN}

    told = [
        client.get("/metrics", headers=headers, SERVER_NAME="10.1.2.3")
        for headers in (
            {},
            {"Authorization": "Bearer "},
            {"Authorization": TOKEN},
            {"Authorization": f"Bearer {TOKEN}"},
        )
    ]

    assert [answer.status_code for answer in told] == [401, 401, 401, 200]
    assert [answer.headers.get("WWW-Authenticate") for answer in told] == ["Bearer", "Bearer", "Bearer", None]
    assert b"verbatim_open_sockets" in told[3].content


@pytest.mark.parametrize(("debug", "status"), [(False, 404), (True, 200)])
def test_without_a_token_they_are_shown_in_development_only(
    client: Client, settings: Any, *, debug: bool, status: int
) -> None:
    settings.CHAT, settings.DEBUG = {}, debug

    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == status
