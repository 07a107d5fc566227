"""Who may do what: a rule for every address, tried as everybody. A door without a rule fails here.

A new door needs one line in `DOORS`: its route and, per method, what it is about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, include, path
from django.views.generic import View

from access.keys import create_key
from access.models import Profile
from access.principals import Scope
from chat.rest.conversations import ConversationDetail
from config.urls import urlpatterns
from history import calls, conversations
from history.log import appending
from history.models import Conversation, Turn
from tests.chat.conftest import add_turn, begin_turn
from tests.history.test_calls import call

Patterns: TypeAlias = Iterable[Any]

KEY_HEADERS = {"bearer": "Authorization", "x-api-key": "X-API-Key", "x-session": "X-Session-API-Key"}
"""The forms in which a key may come, each a role of its own."""
OWNERS = ("session", *KEY_HEADERS)
OTHERS = ("other session", "other key")
ANYBODY = (*OWNERS, *OTHERS, "nobody")
"""Ada's session and key, Bob's, and nobody; beside them Ada's key without a scope, and that of a manager, who has all
permissions on profiles. What is asked for is Ada's."""
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one method of a door answers to each role. In `body`, {conversation}, {busy} and {turn} are Ada's."""

    status: Mapping[str, int]
    body: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[Scope, ...] = (Scope.CHAT,)
    is_owned: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


def _rule(own: int, others: int, *, body: Mapping[str, Any], scopes: tuple[Scope, ...], is_owned: bool) -> Rule:
    status = {**dict.fromkeys(OWNERS, own), **dict.fromkeys(OTHERS, others)}
    status |= {**{f"without {scope}": 403 for scope in scopes}, "nobody": 401}
    return Rule(status=status, body=body, scopes=scopes, is_owned=is_owned)


def look(status: int = 200) -> Rule:
    """Look at what is somebody's: to all others it is not there."""
    return _rule(status, 404, body={}, scopes=(Scope.READ,), is_owned=True)


def touch(status: int = 200, **body: Any) -> Rule:
    """Change what is somebody's."""
    return _rule(status, 404, body=body, scopes=(Scope.CHAT,), is_owned=True)


def converse(status: int = 200, **body: Any) -> Rule:
    """Ask in a conversation that is somebody's, and read what is answered."""
    return _rule(status, 404, body={"query": "Hello?", **body}, scopes=(Scope.CHAT, Scope.READ), is_owned=True)


def browse(status: int = 200) -> Rule:
    """Look at one's own, or at what is there for everybody who is signed in."""
    return _rule(status, status, body={}, scopes=(Scope.READ,), is_owned=False)


def begin(status: int = 201, **body: Any) -> Rule:
    """Make something of one's own."""
    return _rule(status, status, body=body, scopes=(Scope.CHAT,), is_owned=False)


def manage(status: int, *, scope: Scope = Scope.ADMIN) -> Rule:
    """Look after the profiles, for which one needs a permission of Django's."""
    roles = {**dict.fromkeys((*OWNERS, *OTHERS), 403), "manager": status, f"manager without {scope}": 403}
    return Rule(status={**roles, f"without {scope}": 403, "nobody": 401})


def keyed(own: int, others: int, *scopes: Scope, body: Mapping[str, Any] = {}, **headers: str) -> Rule:
    """For keys alone: a browser's session is none. Headers have a line where their names have a hyphen."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    rule = _rule(own, others, body=body, scopes=scopes, is_owned=bool(headers))
    return replace(rule, status={**rule.status, "session": 401, "other session": 401}, headers=told)


def page(*, is_owned: bool = False) -> Rule:
    """A page, for browsers: without a session one is sent to sign in, and a key is none."""
    status = {**dict.fromkeys(ANYBODY, 302), "session": 200, "other session": 404 if is_owned else 200}
    return Rule(status=status, is_owned=is_owned)


def public(status: int = 200) -> Rule:
    """For whoever asks."""
    return Rule(status=dict.fromkeys(ANYBODY, status))


NOWHERE = dict.fromkeys(METHODS, begin(404)) | {"get": browse(404)}
NO_MODEL = dict.fromkeys(METHODS, keyed(404, 404))
COMPLETION = {"model": "demo", "messages": [{"role": "user", "content": "Hello?"}]}
ONE, TURN = "api/v1/conversations/<uuid:conversation_id>/", "api/v1/turns/<uuid:turn_id>/"
LOG = "5"
"""The number of the event about the turn's call."""
PROFILE = r"^api/v1/profiles/(?P<name>.+?)/?$"

DOORS: Mapping[str, Mapping[str, Rule]] = {
    "live/": {"get": public()},
    "ready/": {"get": public()},
    "metrics": {"get": public(404)},  # no key of anybody: without a token of its own it is closed
    "favicon.ico": {"get": public(302)},
    "": {"get": page()},
    "c/<uuid:conversation_id>/": {"get": page(is_owned=True)},
    "login/": {"get": public(), "post": public()},
    "logout/": {"post": public(302)},
    "api/v1/conversations/": {"get": browse(), "post": begin()},
    ONE: {"get": look(), "patch": touch(title="New"), "delete": touch(204)},
    f"{ONE}events/": {"get": look()},
    f"{ONE}stream/": {"get": look()},
    f"{ONE}turns/": {"get": look()},
    f"{ONE}feedback/": {"get": look()},
    f"{ONE}completion-logs/": {"get": look()},
    f"{ONE}completion-logs/<int:seq>/": {"get": look()},
    TURN: {"get": look()},
    f"{TURN}stop/": {"post": touch()},
    f"{TURN}retry/": {"post": touch(201)},
    f"{TURN}response/": {"get": look()},
    f"{TURN}stream/": {"get": look()},
    "api/v1/ai/feedback/": {"post": touch(201, turn="{turn}", sentiment=0)},
    "api/v1/ai/chat/": {"post": converse(409, conversation_id="{busy}")},  # else it would wait for the answer
    "api/v1/ai/streaming_chat/": {"post": converse(conversation_id="{conversation}")},
    "api/v1/ai/streaming_chat/interrupt/": {"post": touch(request_id="{turn}")},
    "api/v1/models/": {"get": browse()},
    "api/v1/profiles/": {"get": manage(200, scope=Scope.READ)},
    PROFILE: {
        "get": manage(200, scope=Scope.READ),
        "post": manage(409),  # there is one of that name
        "patch": manage(200),
        "delete": manage(204),
    },
    "api/": {"get": page()},
    "api/schema/": {"get": browse()},
    "v1/models": {"get": keyed(200, 200, Scope.READ)},
    "v1/models/<path:model>": {"get": keyed(200, 200, Scope.READ)},
    "v1/chat/completions": {
        "post": keyed(409, 404, Scope.CHAT, Scope.READ, body=COMPLETION, X_Verbatim_Conversation_ID="{busy}")
    },
    "v1/": NO_MODEL,
    r"v1/^(?P<rest>[\s\S]+)": NO_MODEL,
    "api/v1/": NOWHERE,
    r"^api/v1/(?P<rest>[\s\S]+)": NOWHERE,
}
"""Every address but the admin's, which have one rule together (`test_matrix_admin.py`)."""


def doors(patterns: Patterns, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every address of a URLconf, with its route."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route, pattern
        elif pattern.namespace != "admin":
            yield from doors(pattern.url_patterns, route)


def unruled(patterns: Patterns) -> set[str]:
    """The doors, and the methods of REST views, that have no rule."""
    missing = set()
    for route, pattern in doors(patterns):
        view = getattr(pattern.callback, "cls", None)
        answered = {method for method in METHODS if hasattr(view, method)}
        missing |= {f"{method} {route}" for method in answered - DOORS.get(route, {}).keys()}
        missing |= {route} - DOORS.keys()
    return missing


class Ids(NamedTuple):
    """What is asked for."""

    conversation: UUID
    turn: UUID
    busy: UUID
    """A conversation in which an answer is in progress."""

    def put_into(self, text: str) -> str:
        """Text with these ids in their places."""
        for name, value in self._asdict().items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def taken_from(self, text: str) -> str:
        """Text with these ids' places left empty."""
        for name, value in self._asdict().items():
            text = text.replace(str(value), f"{{{name}}}")
        return text


class World:
    """Ada with a conversation and a turn in it, Bob, and a way to ask as either."""

    def __init__(self) -> None:
        self.ada, self.bob = (User.objects.create_user(name) for name in ("ada", "bob"))
        conversation, busy = (conversations.create(self.ada.pk) for _ in range(2))
        begin_turn(busy)
        turn = add_turn(conversation)
        with appending(conversation.pk) as log:
            calls.tell(log, turn.pk, call(attempt=1, hop=0))
        self.ids = Ids(conversation.pk, turn.pk, busy.pk)
        Profile.objects.create(name="fast")

    def client(self, role: str) -> Client:
        """Somebody at the door."""
        user = self.bob if role.startswith("other") else self.ada
        if role in ("session", "other session"):
            client = Client()
            client.force_login(user)
            return client
        if role == "nobody":
            return Client()
        scopes = [scope for scope in (Scope.READ, Scope.CHAT) if role != f"without {scope}"]
        if role.startswith("manager"):
            user.user_permissions.set(Permission.objects.filter(codename__endswith="_profile"))
            scopes = [scope for scope in Scope if role != f"manager without {scope}"]
        key = create_key(user, scopes=scopes).text
        form = KEY_HEADERS.get(role, "X-API-Key")
        return Client(headers={form: f"Bearer {key}" if form == "Authorization" else key})

    def ask(self, role: str, route: str, method: str, *, about: Ids | None = None) -> Any:
        """The answer, to a question about Ada's if not about something else."""
        rule, ids = DOORS[route][method], about or self.ids
        body = ids.put_into(json.dumps(rule.body))
        headers = {name: ids.put_into(value) for name, value in rule.headers.items()}
        return self.client(role).generic(method, address(route, ids), body, "application/json", headers=headers)


def told(answer: Any, ids: Ids) -> tuple[int, str, dict[str, str]]:
    """All that an answer tells, beside the ids that it was asked with."""
    headers = {name: ids.taken_from(value) for name, value in answer.headers.items() if name != "Expires"}  # a time
    return answer.status_code, ids.taken_from(answer.content.decode()), headers


def address(route: str, ids: Ids) -> str:
    """Where a route leads."""
    route = re.sub(r"<uuid:(\w+)_id>", r"{\1}", route).replace("<path:model>", "demo").replace("<int:seq>", LOG)
    written = ids.put_into(route).replace("^", "")
    return "/" + written.replace(r"(?P<rest>[\s\S]+)", "more/of/it").replace("(?P<name>.+?)/?$", "fast")


@pytest.fixture
def world(db: None) -> World:
    return World()


RULES = [(route, method) for route, rules in DOORS.items() for method in rules]
TRIED = [(route, method, role) for route, method in RULES for role in DOORS[route][method].status]
OWNED = [(route, method) for route, method in RULES if DOORS[route][method].is_owned]


def test_every_door_has_a_rule_and_every_rule_a_door() -> None:
    """S1."""
    assert unruled(urlpatterns) == set()
    assert DOORS.keys() - dict(doors(urlpatterns)).keys() == set()


def test_a_new_door_and_a_new_method_are_missed() -> None:
    class Wider(ConversationDetail):
        def put(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

    class Plain(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

    grown: Patterns = [
        *urlpatterns,
        path("new/door/", Plain.as_view()),
        path("house/", include([path("inner/<uuid:turn_id>/", Plain.as_view())])),
        path(ONE, Wider.as_view()),
    ]

    assert unruled(grown) - unruled(urlpatterns) == {"new/door/", "house/inner/<uuid:turn_id>/", f"put {ONE}"}


@pytest.mark.parametrize(("route", "method", "role"), TRIED)
def test_everybody_gets_what_the_rule_says(world: World, route: str, method: str, role: str) -> None:
    """S1."""
    answer = world.ask(role, route, method)

    assert answer.status_code == DOORS[route][method].status[role]


@pytest.mark.parametrize("role", OTHERS)
@pytest.mark.parametrize(("route", "method"), OWNED)
def test_what_is_somebody_elses_answers_exactly_like_what_is_missing(
    world: World, route: str, method: str, role: str
) -> None:
    """S1."""
    nothing = Ids(uuid4(), uuid4(), uuid4())

    foreign = world.ask(role, route, method)
    missing = world.ask(role, route, method, about=nothing)

    assert told(foreign, world.ids) == told(missing, nothing)
    assert Conversation.objects.filter(pk=world.ids.conversation, title="").exists()
    assert Turn.objects.count() == 2
