"""The OpenAPI document at its address, and the page to browse it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from rest_framework.request import Request
from rest_framework.response import Response

from chat.policy import SELF, strict_but
from chat.rest.api import ApiView

SETTINGS: dict[str, Any] = {
    "TITLE": "Verbatim",
    "VERSION": "1",
    "DESCRIPTION": "Chat with a language model: what a viewer saw is, word for word, what is stored.",
    "OAS_VERSION": "3.1.0",
    "PREPROCESSING_HOOKS": ["web.schema.only_ours"],
    "POSTPROCESSING_HOOKS": ["web.schema.with_structs"],
    "SORT_OPERATIONS": False,
    "COMPONENT_SPLIT_PATCH": False,
}


class Schema(ApiView):
    """`schema/`"""

    schema = None

    def get(self, request: Request) -> Response:
        """The interface as OpenAPI 3.1, in JSON."""
        return Response(document(), content_type="application/vnd.oai.openapi+json")


def document() -> Any:
    """The OpenAPI document of all our views, at the addresses that the site has given them."""
    with patched_settings({**SETTINGS, "SCHEMA_PATH_PREFIX": reverse("verbatim:api").removesuffix("/")}):
        generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
        return generator.get_schema(public=True)


@strict_but(img_src=(SELF, "data:"))  # its style sheet brings its own icons
@login_required(login_url="verbatim:login")
def page(request: HttpRequest) -> HttpResponse:
    """The interface to be browsed and tried."""
    return render(request, "verbatim/interface.html")
