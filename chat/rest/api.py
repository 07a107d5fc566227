"""The base of the REST views: who is let in, and what with which scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from access.authentication import ApiKeyAuthentication, BrowserAuthentication
from access.principals import Scope
from chat.rest import problems
from history.errors import NotFound
from web.views import DoorView


class ApiView(DoorView):
    """For keys and for browsers; reading needs the scope `read`, everything else `chat`, or what the view says."""

    scope_to_change = Scope.CHAT
    authentication_classes = (ApiKeyAuthentication, BrowserAuthentication)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.principal.require(Scope.READ if request.method in SAFE_METHODS else self.scope_to_change)

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], HttpResponse]:
        return problems.respond


class Nothing(ApiView):
    """Whatever else is asked for below the interface's address."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound
