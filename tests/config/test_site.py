"""The site around the chat: health, headers and static files."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path

from streaming import engine


def page(request: object) -> HttpResponse:
    return HttpResponse("<!doctype html>")


urlpatterns = [path("page/", page), path("", include("config.urls"))]

pytestmark = pytest.mark.urls(__name__)


def test_live_needs_no_database(client: Client) -> None:
    """There is no database in this test: touching it would fail."""
    response = client.get("/live/")

    assert (response.status_code, response.content) == (HTTPStatus.OK, b"alive\n")


@pytest.mark.django_db
def test_ready_means_that_the_database_answers(client: Client) -> None:
    assert client.get("/ready/").status_code == HTTPStatus.OK


@pytest.mark.django_db
def test_without_a_database_it_is_not_ready(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with connection.execute_wrapper(_unplugged):
        response = client.get("/ready/")

    assert (response.status_code, response.content) == (HTTPStatus.SERVICE_UNAVAILABLE, b"no database\n")
    assert "the server closed the connection" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/live/", "/ready/"])
def test_who_looks_after_the_process_may_call_it_what_they_like(client: Client, address: str) -> None:
    """A load balancer names the address that it knows."""
    elsewhere = {"host": "10.1.2.3:8000"}

    assert client.get(address, headers=elsewhere).status_code == HTTPStatus.OK
    assert client.get("/page/", headers=elsewhere).status_code == HTTPStatus.BAD_REQUEST


def _unplugged(*args: Any) -> Any:
    raise OperationalError("the server closed the connection")


@pytest.mark.django_db
def test_while_it_drains_it_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    leaving = engine.Engine(loop)
    leaving.tasks.is_ending = True
    monkeypatch.setattr(engine, "_engine", leaving)

    response = client.get("/ready/")
    loop.close()

    assert (response.status_code, response.content) == (HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")


def test_every_page_is_closed_to_what_it_does_not_need(client: Client) -> None:
    response = client.get("/page/")

    policy = dict(directive.split(" ", 1) for directive in response["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "font-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in response


with_static_files = override_settings(SERVESTATIC_USE_FINDERS=True)


@with_static_files
async def test_static_files_need_no_collecting(async_client: AsyncClient) -> None:
    response = await async_client.get("/static/admin/css/base.css")

    assert response.status_code == HTTPStatus.OK
    assert response["Content-Type"].startswith("text/css")
    assert "Access-Control-Allow-Origin" not in response
    assert "Content-Security-Policy" in response


@with_static_files
async def test_a_browser_that_asks_for_an_icon_anywhere_gets_the_chats(async_client: AsyncClient) -> None:
    response = await async_client.get("/favicon.ico", follow=True)

    assert response.redirect_chain == [("/static/verbatim/icon.svg", HTTPStatus.FOUND)]
    assert response["Content-Type"] == "image/svg+xml"
