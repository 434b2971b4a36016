"""The OpenAPI 3.1 document, made from the route table and the types of the schema: it cannot differ from
either.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from peerd.control import schema
from peerd.control.http1 import JSON, OCTETS, PROBLEM_JSON
from peerd.control.route import COMMON_ERRORS, Route
from peerd.control.routes import ROUTES
from peerd.errors import status_of

API_VERSION = "1"
_REF = "#/components/schemas/{name}"
_NAMES = {
    "group": "A group's name: in full, by an unambiguous beginning, or its classifier.",
    "peer_name": "A peer name: in full, by an unambiguous beginning, or its classifier.",
    "grant_id": "A grant's id in hex, or an unambiguous beginning of it.",
    "act_id": "An act's id in hex, or an unambiguous beginning of it.",
    "record_id": "A record's id in hex, or an unambiguous beginning of it or of its second half.",
}
_ABOUT = """The control API of peerd, spoken over a Unix socket:
`curl --unix-socket DIR/control.sock http://peerd/v1/status`. Errors are `application/problem+json`; their
`type` is a stable slug. Unknown fields of a request are refused; those of an answer should be ignored."""

Json = dict[str, Any]


def document() -> Json:
    """The whole document as plain JSON values."""
    types = _types(ROUTES)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    known = dict(zip(types, schemas, strict=True))
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, known, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "peerd", "version": API_VERSION, "summary": "A trust group without a server"}
        | {"description": _ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "http://peerd"}],
        "paths": paths,
        "components": {
            "schemas": {name: _tidy(components[name]) for name in sorted(components) if _is_shared(name)},
            "responses": {
                str(status): _problem(slugs) for status, slugs in _by_status(COMMON_ERRORS).items()
            },
        },
    }


@cache
def document_json() -> bytes:
    """The document as it is served; made when it is first asked for."""
    return msgspec.json.encode(document())


def _is_shared(name: str) -> bool:
    """Queries are written out as parameters, so the document has no component for them."""
    return name not in {route.query.__name__ for route in ROUTES if route.query is not None}


def _types(routes: Iterable[Route]) -> list[type[msgspec.Struct]]:
    """Every type that the routes name, once, in the order of the table."""
    found: dict[type[msgspec.Struct], None] = {schema.Problem: None, schema.Event: None}
    for route in routes:
        named = (route.reply, route.body, route.query)
        found |= dict.fromkeys(kind for kind in named if kind is not None)
    return list(found)


def _operation(route: Route, known: Mapping[type, Json], components: Mapping[str, Json]) -> Json:
    slugs = (*COMMON_ERRORS, *route.errors)
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "x-access": route.access.name.lower(),
        "x-problems": sorted(set(slugs)),
        "responses": {str(int(route.status)): _success(route, known)} | _problems(slugs),
    }
    parameters = _path_parameters(route) + _query_parameters(route, components)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = _request_body(route, known[route.body])
    elif route.octets is not None:
        operation["requestBody"] = {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
    return operation


def _success(route: Route, known: Mapping[type, Json]) -> Json:
    if route.reply is not None:
        content: Json = {JSON: {"schema": known[route.reply]}}
    elif route.media_types == (JSON,):
        content = {JSON: {"schema": {"type": "object"}}}
    else:
        content = {media_type: {"schema": {"type": "string"}} for media_type in route.media_types}
    return {"description": route.summary, "content": content}


def _problems(slugs: Iterable[str]) -> Json:
    """One response for each status; those that every route has stand among the components."""
    common = _by_status(COMMON_ERRORS)
    return {
        str(status): {"$ref": f"#/components/responses/{status}"}
        if common.get(status) == found
        else _problem(found)
        for status, found in _by_status(slugs).items()
    }


def _problem(slugs: Iterable[str]) -> Json:
    shape = {"$ref": _REF.format(name=schema.Problem.__name__)}
    return {"description": ", ".join(slugs), "content": {PROBLEM_JSON: {"schema": shape}}}


def _by_status(slugs: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for slug in sorted(set(slugs), key=lambda slug: (status_of(slug), slug)):
        found.setdefault(status_of(slug), []).append(slug)
    return found


def _tidy(component: Json) -> Json:
    """A component whose description has the lines of a text and not those of the source."""
    paragraphs = inspect.cleandoc(component.get("description", "")).split("\n\n")
    return component | {"description": "\n\n".join(part.replace("\n", " ") for part in paragraphs)}


def _path_parameters(route: Route) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _NAMES[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in route.parameters
    ]


def _query_parameters(route: Route, components: Mapping[str, Json]) -> list[Json]:
    """The fields of the query's type; what may be absent is not sent as null."""
    if route.query is None:
        return []
    shape = components[route.query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in shape.get("required", ()),
            "schema": _without_null(kind),
        }
        for name, kind in shape["properties"].items()
    ]


def _without_null(kind: Json) -> Json:
    options = [option for option in kind.get("anyOf", ()) if option != {"type": "null"}]
    if not options:
        return kind
    (only,) = options
    return dict(only)


def _request_body(route: Route, shape: Json) -> Json:
    content: Json = {"schema": shape}
    if route.example is not None:
        content["example"] = msgspec.to_builtins(route.example)
    return {"required": _has_required(route), "content": {JSON: content}}


def _has_required(route: Route) -> bool:
    """Whether a body must be there: an absent one is an object without fields."""
    assert route.body is not None
    return any(field.required for field in msgspec.structs.fields(route.body))
