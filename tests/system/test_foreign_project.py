"""A project that is not ours includes the chat, as README says, with users, addresses and a server of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from websockets import Origin
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from yarl import URL

from chat.pages import NO_ID
from tests import readme
from tests.client import Client, Socket, caught_up, ended
from tests.fold import Folded
from tests.provider import ROOT
from tests.server import ServerProcess

EMAIL, PASSWORD = "ada@example.org", "correct horse battery"
MODELS = """
import uuid
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models

class People(UserManager):
    def create_user(self, email, password):
        person = self.model(email=email, is_staff=True, is_superuser=True)
        person.set_password(password)
        person.save()
        return person

class Person(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    username = None
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = People()
"""
SETTINGS = """
INSTALLED_APPS += ["people"]
AUTH_USER_MODEL = "people.Person"
"""


class Project:
    """A Django project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours = ("CHAT", "DATABASE", "DJANGO", "ENV_FILE", "OPENAI", "DEBUG", "HTTPS", "SECRET")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.env: Mapping[str, str] = {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.run("-m", "django", "startproject", "mysite", ".")
        self.run("-m", "django", "startapp", "people")
        (folder / "people" / "models.py").write_text(MODELS)
        self.append("mysite/settings.py", SETTINGS)

    def append(self, name: str, text: str) -> None:
        """Add to the end of a file."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def run(self, *command: str, check: bool = True) -> str:
        """What `python COMMAND` prints."""
        done = subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout + done.stderr

    def sign_up(self, email: str) -> UUID:
        """A new user's id."""
        make = f"from people.models import Person; print(Person.objects.create_user({email!r}, {PASSWORD!r}).pk)"
        return UUID(self.run("manage.py", "shell", "--no-imports", "-c", make).split()[-1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One that includes the chat."""
    project = Project(tmp_path_factory.mktemp("foreign"))
    for name in ("mysite/settings.py", "mysite/urls.py", "mysite/asgi.py"):
        project.append(name, readme.example(name))
    project.run("manage.py", "makemigrations", "people")
    project.run("manage.py", "migrate")
    return project


@pytest.fixture(scope="module")
def person(project: Project) -> UUID:
    return project.sign_up(EMAIL)


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[ServerProcess]:
    """Its daphne."""
    with ServerProcess(
        "daphne", env=project.env, folder=project.folder, application="mysite.asgi:application"
    ) as process:
        yield process


@asynccontextmanager
async def signed_in(server: ServerProcess) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A browser's session and its first page, which it was led to by the sign-in page."""
    async with aiohttp.ClientSession(
        server.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": server.url}, raise_for_status=True
    ) as session:
        async with session.get("/assistant/") as asked:
            form, address = await asked.text(), asked.url
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token is not None
        fields = {"csrfmiddlewaretoken": token[1], "username": EMAIL, "password": PASSWORD}
        async with session.post(address.relative(), data=fields) as page:
            assert page.url.path == "/assistant/"
            yield session, await page.text()


def told(page: str) -> dict[str, Any]:
    """What the page's modules are told."""
    found = re.search(r'<script id="verbatim-config" type="application/json">(.*?)</script>', page)
    assert found is not None
    return dict(json.loads(found[1]))


async def test_someone_who_signs_in_sees_a_turn_with_a_tool(server: ServerProcess, person: UUID) -> None:
    async with signed_in(server) as (session, page):
        config = told(page)
        headers = {"X-CSRFToken": session.cookie_jar.filter_cookies(URL(server.url))["csrftoken"].value}
        async with session.post(f"{config['urls']['api']}conversations/", json={}, headers=headers) as made:
            conversation = (await made.json())["id"]
        cookies = session.cookie_jar.filter_cookies(URL(server.url))
        address = server.url.replace("http", "ws", 1) + config["urls"]["socket"].replace(str(NO_ID), conversation)
        cookie = {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())}
        async with connect(address, additional_headers=cookie, origin=Origin(server.url), proxy=None) as connection:
            socket = Socket(connection, Folded())
            await socket.send("What is 17 * 23?")
            await socket.until(ended())

    events = list(socket.folded.events.values())
    kinds = ["user_message", "assistant_message", "tool_result", "assistant_message", "turn_ended"]
    assert [event["kind"] for event in events] == kinds
    assert events[2]["data"]["content"] == "391"
    assert "391" in events[3]["data"]["text"]
    assert events[4]["data"]["status"] == "completed"
    assert config["user"] == {"name": EMAIL, "is_guest": False, "is_staff": True}


async def test_the_pages_lead_nowhere_but_below_the_prefix(server: ServerProcess, person: UUID) -> None:
    async with signed_in(server) as (_, page):
        config = told(page)

    admin = config["urls"].pop("admin")
    assert admin == "/admin/"
    assert all(address.startswith("/assistant/") for address in config["urls"].values())
    links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page))
    assert {link for link in links if not link.startswith(("/assistant/", "/static/verbatim/"))} == {"/admin/"}
    assert "/assistant/logout/" in links


async def test_a_key_of_a_user_with_an_email_and_a_uuid_works(
    project: Project, server: ServerProcess, person: UUID
) -> None:
    key = project.run("manage.py", "create_api_key", EMAIL).strip()
    client = Client(f"{server.url}/assistant", key=key)
    conversation = await client.new_conversation()

    async with client.socket(conversation) as socket:
        await socket.send("Hello")
        await socket.until(ended())
    async with client.socket(conversation) as fresh:
        await fresh.until(caught_up)

    assert (socket.folded.events, socket.folded.cursor) == (fresh.folded.events, fresh.folded.cursor)


@pytest.mark.parametrize("path", ["", "assistant/", "assistant/ws/nowhere/"])
async def test_its_sockets_that_lead_nowhere_are_refused_and_nothing_is_logged(
    server: ServerProcess, path: str
) -> None:
    lines_before = len(server.lines)

    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.url.replace('http', 'ws', 1)}/{path}", proxy=None)

    assert refused.value.response.status_code == 403
    assert not [line for line in server.lines[lines_before:] if "Traceback" in line]


async def test_its_admin_shows_the_log(server: ServerProcess, person: UUID, project: Project) -> None:
    client = Client(f"{server.url}/assistant", key=project.run("manage.py", "create_api_key", EMAIL).strip())
    conversation = await client.new_conversation()
    async with client.socket(conversation) as socket:
        await socket.send("Do you hear me?")
        await socket.until(ended())

    async with (
        signed_in(server) as (session, _),
        session.get(f"/admin/verbatim_history/conversation/{conversation}/change/") as response,
        session.get("/admin/verbatim_history/turn/usage/", params={"by": "user", "user": EMAIL}) as usage,
    ):
        page, used = await response.text(), await usage.text()

    assert EMAIL in page
    assert "Do you hear me?" in page
    assert "verbatim-timeline" in page
    assert f">{EMAIL}</a>" in used


def test_it_has_nothing_to_complain_about_and_nothing_left_to_migrate(project: Project) -> None:
    complaints = project.run("manage.py", "check")
    migrations = project.run("manage.py", "makemigrations", "--check", "--dry-run")

    assert "no issues" in complaints
    assert "No changes detected" in migrations


@pytest.mark.parametrize("file", ["main.js", "css/base.css", "admin.css", "vendor/marked.esm.js"])
def test_its_own_static_files_machinery_finds_the_files(project: Project, file: str) -> None:
    found = project.run("manage.py", "findstatic", f"verbatim/{file}")

    assert str(ROOT) in found


@pytest.mark.parametrize("app", ["history", "access", "streaming"])
def test_a_forgotten_app_is_named(project: Project, app: str) -> None:
    project.append("mysite/forgetful.py", f"from mysite.settings import *\nINSTALLED_APPS.remove({app!r})\n")

    said = project.run("manage.py", "check", "--settings", "mysite.forgetful", check=False)
    (project.folder / "mysite" / "forgetful.py").unlink()

    assert f"INSTALLED_APPS has 'chat', which needs '{app}' too." in said
