"""The pages: the chat itself, signing in and out. In DEBUG a visitor may be signed in as a guest of their own."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse, reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from access import selectors
from access.principals import principal_of_session
from chat.policy import strict
from history.conf import chat_settings
from history.errors import NotFound

NO_ID = UUID(int=0)
"""Stands in an address for the id that the page puts there."""
SOCKET = f"ws/conversations/{NO_ID}/"
"""Where the socket is, below the prefix under which a site includes `chat.routing`."""
GUEST = "verbatim_guest"
"""The session of a guest has this key. It is the only session such a user ever has: there is no password."""


@require_safe
@never_cache
@strict
def home(request: HttpRequest) -> HttpResponse:
    """An empty page, ready for a new conversation."""
    return _signed_in(request) or _page(request, conversation=None)


@require_safe
@never_cache
@strict
def conversation(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """A conversation's page; 404 unless it is the visitor's."""
    refused = _signed_in(request)
    if refused is not None:
        return refused
    assert not isinstance(request.user, AnonymousUser)
    principal = principal_of_session(request.user, session_key=request.session.session_key)
    try:
        selectors.conversation(principal, conversation_id)
    except NotFound as error:
        raise Http404(error.message) from None
    return _page(request, conversation=str(conversation_id))


sign_in = strict(LoginView.as_view(template_name="verbatim/login.html", next_page=reverse_lazy("verbatim:home")))
sign_out = LogoutView.as_view(next_page=reverse_lazy("verbatim:home"))


def _signed_in(request: HttpRequest) -> HttpResponse | None:
    """None once there is a user, else the way to the sign-in page."""
    if request.user.is_authenticated:
        return None
    if settings.DEBUG and chat_settings().guests:
        _sign_guest_in(request)
        return None
    return redirect_to_login(request.get_full_path(), login_url=reverse("verbatim:login"))


def _sign_guest_in(request: HttpRequest) -> None:
    model = get_user_model()
    guest = model(**{model.USERNAME_FIELD: f"guest-{secrets.token_hex(4)}"})
    guest.set_unusable_password()
    guest.save()
    login(request, guest, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session[GUEST] = True


def _page(request: HttpRequest, *, conversation: str | None) -> HttpResponse:
    return render(request, "verbatim/chat.html", {"config": _config(request, conversation=conversation)})


def _config(request: HttpRequest, *, conversation: str | None) -> dict[str, Any]:
    """What chat/static/verbatim/config.js reads."""
    home = reverse("verbatim:home")
    is_staff = bool(getattr(request.user, "is_staff", False))
    return {
        "urls": {
            "home": home,
            "conversation": reverse("verbatim:conversation_page", args=[NO_ID]),
            "login": reverse("verbatim:login"),
            "api": reverse("verbatim:api"),
            "socket": (chat_settings().socket_prefix or home) + SOCKET,
            "admin": _admin() if is_staff else None,
        },
        "user": {
            "name": request.user.get_username(),
            "is_guest": GUEST in request.session,
            "is_staff": is_staff,
        },
        "conversation": conversation,
    }


def _admin() -> str | None:
    """Where the admin is, if the site has one."""
    try:
        return reverse("admin:index")
    except NoReverseMatch:
        return None
