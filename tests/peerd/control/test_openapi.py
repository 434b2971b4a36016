"""The OpenAPI document: pinned, complete, and true.

After a wanted change, `python -m tests.peerd.control.test_openapi` writes the pinned document anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peerd.control import schema
from peerd.control.access import Access
from peerd.control.openapi import document, document_json
from peerd.control.route import COMMON_ERRORS
from peerd.control.routes import ROUTES
from peerd.errors import status_of

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "openapi.json"
DOCUMENT = document()

by_name = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


def pinned_form() -> bytes:
    return msgspec.json.format(document_json(), indent=1) + b"\n"


def operation(route) -> dict[str, Any]:
    return DOCUMENT["paths"][route.path][route.method.lower()]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_pinned_document_is_current():
    message = "the API has changed: if that is wanted, python -m tests.peerd.control.test_openapi"
    assert GOLDEN.read_bytes() == pinned_form(), message


def test_the_document_is_the_same_each_time():
    assert document() == DOCUMENT


def test_every_reference_leads_somewhere():
    for reference in references(DOCUMENT):
        _, _, kind, name = reference.split("/")
        assert name in DOCUMENT["components"][kind]


def test_every_component_is_used():
    used = set(references(DOCUMENT))
    for kind, components in DOCUMENT["components"].items():
        for name in components:
            assert f"#/components/{kind}/{name}" in used or name == schema.Event.__name__


def test_the_operations_are_the_routes():
    found = {(method.upper(), path) for path, ways in DOCUMENT["paths"].items() for method in ways}
    assert found == {(route.method, route.path) for route in ROUTES}


@by_name
def test_an_operation_says_who_may_use_it_and_what_it_refuses(route):
    said = operation(route)
    assert Access[said["x-access"].upper()] is route.access
    assert set(said["x-problems"]) == {*COMMON_ERRORS, *route.errors}
    assert {str(status_of(slug)) for slug in said["x-problems"]} | {str(int(route.status))} == set(
        said["responses"]
    )


@by_name
def test_every_name_in_a_path_is_described(route):
    parameters = [one for one in operation(route).get("parameters", []) if one["in"] == "path"]
    assert tuple(one["name"] for one in parameters) == route.parameters
    assert all(one["description"] and one["required"] for one in parameters)


@by_name
def test_what_a_query_may_hold_is_described(route):
    parameters = {one["name"]: one for one in operation(route).get("parameters", []) if one["in"] == "query"}
    fields = () if route.query is None else msgspec.structs.fields(route.query)
    assert set(parameters) == {field.name for field in fields}
    assert all("null" not in str(one["schema"]) and not one["required"] for one in parameters.values())


@by_name
def test_an_example_is_a_request_that_is_taken(route):
    if route.example is not None:
        example = operation(route)["requestBody"]["content"]["application/json"]["example"]
        assert msgspec.convert(example, route.body) == route.example


def test_components_read_as_text():
    for component in DOCUMENT["components"]["schemas"].values():
        assert component["description"]
        assert "\n " not in component["description"]


if __name__ == "__main__":
    GOLDEN.write_bytes(pinned_form())
