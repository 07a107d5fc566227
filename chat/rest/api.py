"""The base of the REST views. It brings its own rules, so that a site's settings for other views do not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from access.authentication import ApiKeyAuthentication, BrowserAuthentication, principal_of
from access.principals import Principal, Scope
from chat.rest import problems
from chat.rest.parsing import BoundedJsonParser
from chat.rest.schema import DoorSchema
from history.conf import chat_settings
from history.errors import NotFound


class AlwaysJson(BaseContentNegotiation):
    """Answers in JSON whatever a client says it accepts; better understood than 406."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class ApiView(APIView):
    """Knows the principal; reading needs the scope `read`, everything else `chat`, unless the view says otherwise."""

    scope_to_change = Scope.CHAT
    authentication_classes = (ApiKeyAuthentication, BrowserAuthentication)
    permission_classes = (IsAuthenticated,)
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)
    parser_classes = (BoundedJsonParser,)
    content_negotiation_class = AlwaysJson
    versioning_class = None
    metadata_class = None
    schema: Any = DoorSchema()

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return principal_of(self.request)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        if request.content_type:  # a body in chunks has no length, and the framework would take it for none
            request.META.setdefault("CONTENT_LENGTH", str(chat_settings().max_message_bytes))
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.principal.require(Scope.READ if request.method in SAFE_METHODS else self.scope_to_change)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], HttpResponse]:
        return problems.respond


class Nothing(ApiView):
    """Whatever else is asked for below the interface's address."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound
