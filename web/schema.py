"""The REST interface described: an OpenAPI document, made from the views, and a page to browse and try it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar, get_args

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers

from streaming import frames

View = TypeVar("View", bound=Callable[..., Any])
Schema = dict[str, Any]

JSON = "application/json"
PROBLEM = "application/problem+json"
EVENT_STREAM = "text/event-stream"
COMPONENTS = "#/components/schemas/"
PROBLEM_SCHEMA: Schema = {
    "description": "Why a request was refused (RFC 9457). PROTOCOL.md lists every `code`.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what to do."},
        "code": {"type": "string", "description": "The same for the same reason, for ever."},
        "turn": {"type": "string", "format": "uuid"},
        "conversation": {"type": "string", "format": "uuid"},
    },
    "required": ["type", "title", "status", "detail", "code"],
}
REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""What every door may answer."""
OF_BODIES = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
"""What doors that take a body may answer as well."""
REFUSED_TURN = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS)
"""Why a turn may not be started: another one is active, its key was used for something else, there are too many."""
KEYED = {"Idempotency-Key": "Makes the request repeatable: with the same key it gets the same turn."}

_structs: dict[str, type[msgspec.Struct]] = {}


def describes(
    responses: Mapping[int | tuple[int, str], Any],
    *,
    query: Any = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    refusals: tuple[HTTPStatus, ...] = (),
) -> Callable[[View], View]:
    """Say what a method of a view takes and gives; what every door may answer need not be said.

    Bodies are serializers, structs, responses as drf-spectacular has them, or None. `headers` are those the method
    reads, with a sentence each; `refusals` are the problems that only it may answer with.
    """
    read = [
        OpenApiParameter(name, str, OpenApiParameter.HEADER, description=sentence)
        for name, sentence in (headers or {}).items()
    ]
    given: dict[Any, Any] = {status: _shape(response) for status, response in responses.items()}
    given |= {(int(status), PROBLEM): _problem(status) for status in refusals}
    extended = extend_schema(request=body, parameters=[*([query] if query else []), *read], responses=given)

    def decorate(method: View) -> View:
        vars(method)["kwargs"] = {"schema": DoorSchema}  # or it would extend what the site has chosen for its own views
        return extended(method)

    return decorate


def of_struct(struct: type[msgspec.Struct]) -> Schema:
    """A struct as a body; its own schema is put among the document's components."""
    _structs[struct.__name__] = struct
    return {"$ref": COMPONENTS + struct.__name__}


def stream_of(what: str, *, frame: Any = frames.ServerFrame) -> Schema:
    """A body of server-sent events: this is the shape of each."""
    shapes = [of_struct(each) for each in get_args(frame) or (frame,)]
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"oneOf": shapes}}
    properties = {"event": {"type": "string"}, "id": {"type": "string"}, "data": data}
    return {"description": what, "type": "object", "properties": properties, "required": ["data"]}


def only_ours(endpoints: list[tuple[str, str, str, Any]], **more: Any) -> list[tuple[str, str, str, Any]]:
    """Of all addresses of a site (path, its pattern, method and view), those of our views."""
    return [endpoint for endpoint in endpoints if isinstance(endpoint[3].cls.schema, DoorSchema)]


def with_structs(result: Schema, **more: Any) -> Schema:
    """Put the structs that bodies refer to among the components."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    _, found = msgspec.json.schema_components(list(_structs.values()), ref_template=COMPONENTS + "{name}")
    schemas |= {"Problem": PROBLEM_SCHEMA, **found}
    return result


def page_of(shown: type[serializers.Serializer[Any]]) -> Any:
    """A body with one page of a list."""
    fields: dict[str, Any] = {
        "next": serializers.CharField(allow_null=True),
        "previous": serializers.CharField(allow_null=True),
        "results": shown(many=True),
    }
    return inline_serializer(f"PageOf{shown.__name__}", fields)


class DoorSchema(AutoSchema):
    """How a view is described: by its methods' docstrings, with the refusals that every door has."""

    def get_operation_id(self) -> str:
        return f"{type(self.view).__name__}.{self.method.lower()}"

    def _get_response_bodies(self, direction: Any = "response") -> Schema:
        bodies: Schema = super()._get_response_bodies(direction)
        for status in (*REFUSALS, *(OF_BODIES if self.get_request_serializer() else ())):
            bodies.setdefault(str(int(status)), {"description": status.phrase, "content": _content(PROBLEM)})
        return dict(sorted(bodies.items()))


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The key of a program."""

    target_class = "access.authentication.ApiKeyAuthentication"
    name = ["bearer", "key", "session_key"]  # noqa: RUF012

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[Schema]:
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Schema]:
        return [
            {"type": "http", "scheme": "bearer"},
            {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            {"type": "apiKey", "in": "header", "name": "X-Session-API-Key"},
        ]


class BrowserScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The session of a person."""

    target_class = "access.authentication.BrowserAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> Schema:
        from django.conf import settings

        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


def _shape(response: Any) -> Any:
    if isinstance(response, type) and issubclass(response, msgspec.Struct):
        return of_struct(response)
    return response


def _problem(status: HTTPStatus) -> OpenApiResponse:
    return OpenApiResponse(response={"$ref": COMPONENTS + "Problem"}, description=status.phrase)


def _content(media_type: str) -> Schema:
    return {media_type: {"schema": {"$ref": COMPONENTS + "Problem"}}}
