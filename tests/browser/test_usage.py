"""The usage page of the admin in a browser: its charts are drawn, under the site's policy, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server import ServerProcess
from tests.template import Template, site_on

PAGE = "/admin/verbatim_history/turn/usage/"
SET_UP = """
from datetime import timedelta
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from history.models import Conversation, Turn
root = User.objects.create_superuser("root")
conversation, now = Conversation.objects.create(owner=root), timezone.now()
for ago in range(5):
    at = now - timedelta(days=ago)
    Turn.objects.create(conversation=conversation, owner=root, model="scripted", status="completed", created_at=at,
        ended_at=at + timedelta(seconds=ago), prompt_tokens=1000 * ago, completion_tokens=ago, cost="0.01")
client = Client()
client.force_login(root)
print(client.cookies["sessionid"].value)
"""
DRAWN = "canvas => canvas.toDataURL()"


@pytest.fixture
def signed_in(browser: Browser, template: Template, tmp_path: Path) -> Iterator[tuple[Page, ServerProcess, list[str]]]:
    """A superuser's page, the site, and what the page complains of."""
    site = site_on(template, tmp_path / "site.sqlite3", provider_url="", env={"DEBUG": "1"})
    session = site.manage("shell", "-v", "0", "-c", SET_UP).strip()
    with site.start("daphne") as server:
        context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": "sessionid", "value": session, "url": server.url}])
        complaints: list[str] = []
        context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        yield context.new_page(), server, complaints
        context.close()


def test_charts_are_drawn_in_both_themes_and_fit_a_telephone(
    signed_in: tuple[Page, ServerProcess, list[str]],
) -> None:
    page, server, complaints = signed_in
    page.goto(f"{server.url}{PAGE}")
    expect(page.locator("figure canvas")).to_have_count(4)
    expect(page.locator("figcaption")).to_have_text(
        ["Turns per day", "Tokens per day", "Cost per day", "Answer time per day"]
    )
    light = page.locator("canvas").first.evaluate(DRAWN)

    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => ({DRAWN})(document.querySelector('canvas')) !== light", arg=light)
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.querySelector('figure canvas').clientWidth < 390")

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert complaints == []
