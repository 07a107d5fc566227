"""The base of every view of ours. It brings its own rules, so that a site's settings for other views do not matter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from access.authentication import principal_of
from access.principals import Principal
from web.parsing import BoundedJsonParser
from web.schema import DoorSchema


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


class DoorView(APIView):
    """Takes and gives JSON, knows the principal, and has its answers kept by nobody. Who may come in, and in which
    words one is refused, each face says."""

    permission_classes = (IsAuthenticated,)
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)
    parser_classes: Any = (BoundedJsonParser,)
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
            request.META.setdefault("CONTENT_LENGTH", "1")
        return super().initialize_request(request, *args, **kwargs)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response
