"""The door of Prometheus."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from history.conf import chat_settings
from streaming.metrics import exposition

SCHEME = "Bearer "


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """`GET /metrics` with `Authorization: Bearer <METRICS_TOKEN>`: 200 and Prometheus' text format, 401 without the
    token; 404 where none is set, unless DEBUG is on."""
    token = chat_settings().metrics_token
    if not token and not settings.DEBUG:
        return HttpResponse("METRICS_TOKEN is not set\n", status=404, content_type="text/plain")
    said = request.headers.get("Authorization", "")
    if token and not constant_time_compare(said, f"{SCHEME}{token}"):
        refused = HttpResponse("a bearer token, please\n", status=401, content_type="text/plain")
        refused["WWW-Authenticate"] = SCHEME.strip()
        return refused
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
