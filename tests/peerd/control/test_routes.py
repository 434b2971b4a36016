"""The route table is complete and unambiguous."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given, settings, strategies as st

from peerd.control import authority_schema, handlers, record_schema, root_schema, schema
from peerd.control.access import Access
from peerd.control.operations import Operations
from peerd.control.route import COMMON_ERRORS
from peerd.control.routes import ROUTES, Match, is_upload, match_path
from peerd.errors import BadRequest, status_of

by_name = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)

OFFERED = """
GET /v1
GET /v1/status
GET /v1/health
GET /v1/metrics
GET /v1/openapi.json
GET /v1/events
GET POST /v1/identities
GET PATCH DELETE /v1/identities/{peer_name}
GET /v1/identities/{peer_name}/document
GET POST /v1/groups
POST /v1/groups/recovery
POST /v1/groups/join
GET DELETE /v1/groups/{group}
POST /v1/groups/{group}/connect
POST /v1/groups/{group}/disconnect
GET PATCH /v1/groups/{group}/properties
GET POST /v1/groups/{group}/credentials
POST /v1/groups/{group}/credentials/batch
GET /v1/groups/{group}/credentials/{grant_id}
POST /v1/groups/{group}/invitations
POST /v1/invitations/parse
GET /v1/groups/{group}/members
GET /v1/groups/{group}/members/{peer_name}
GET /v1/groups/{group}/acts
POST /v1/groups/{group}/members/{peer_name}/revoke
POST /v1/groups/{group}/credentials/{grant_id}/revoke
POST /v1/groups/{group}/acts/{act_id}/annul
POST /v1/groups/{group}/leave
GET /v1/groups/{group}/root
POST /v1/groups/{group}/root/rotate
POST /v1/groups/{group}/root/prepare
POST /v1/groups/{group}/root/import
POST /v1/groups/{group}/root/protect
POST /v1/groups/{group}/root/unlock
POST /v1/groups/{group}/root/lock
POST /v1/root/sign
GET /v1/groups/{group}/audit
GET /v1/groups/{group}/why/members/{peer_name}
GET /v1/groups/{group}/why/records/{record_id}
GET POST /v1/groups/{group}/records
POST /v1/groups/{group}/records/search
GET PATCH DELETE /v1/groups/{group}/records/{record_id}
GET PUT /v1/groups/{group}/records/{record_id}/data
GET /v1/groups/{group}/export
POST /v1/groups/{group}/import
"""

SCHEMAS = (schema.__name__, record_schema.__name__, authority_schema.__name__, root_schema.__name__)
LOOKS = ("parse_invitation", "search_records")  # reads, although it sends a body


def test_the_routes_are_those_of_the_design():
    offered = set()
    for line in OFFERED.split("\n"):
        *methods, path = line.split() or [""]
        offered |= {(method, path) for method in methods}
    assert {(route.method, route.path) for route in ROUTES} == offered
    assert len(offered) == len(ROUTES)


@by_name
def test_every_route_declares_who_may_use_it(route):
    assert route.access in (Access.READ, Access.OPERATE, Access.ADMIN)
    if route.method == "GET":
        assert route.access is Access.READ
    elif route.name not in LOOKS:
        assert route.access > Access.READ


@by_name
def test_what_makes_or_uses_a_key_is_for_the_owner_alone(route):
    assert (route.access is Access.ADMIN) == (
        route.method != "GET" and route.name not in ("connect_group", "disconnect_group", *LOOKS)
    )


@by_name
def test_every_slug_that_a_route_declares_has_a_status(route):
    for slug in (*COMMON_ERRORS, *route.errors):
        assert 400 <= status_of(slug) < 600
    assert len(set(route.errors)) == len(route.errors)


@by_name
def test_every_route_explains_itself(route):
    assert route.summary[0].isupper()
    assert "\n" not in route.summary


@by_name
def test_a_route_has_a_body_only_where_http_has_one(route):
    assert (route.body is not None or route.octets is not None) == (route.method in ("POST", "PATCH", "PUT"))
    assert route.body is None or (route.octets is None and route.query is None)
    assert route.example is None or type(route.example) is route.body
    assert (route.reply is None) == (
        route.name in ("get_metrics", "get_openapi", "get_events", "get_record_data", "export_group")
    )


def test_operation_names_are_unique():
    assert len({route.name for route in ROUTES}) == len(ROUTES)


def test_every_handler_has_a_route_and_every_use_case_a_handler():
    public = {
        name
        for name, value in vars(handlers).items()
        if getattr(value, "__module__", None) == handlers.__name__
        and callable(value)
        and name[0].islower()
        and not isinstance(value, type)
    }
    assert public == {route.name for route in ROUTES}
    source = set().union(*(route.handler.__code__.co_names for route in ROUTES))
    cases = {name for name in vars(Operations) if not name.startswith("_")}
    assert cases <= source


@by_name
def test_every_struct_on_a_route_is_of_the_schema(route):
    for kind in (route.reply, route.body, route.query):
        assert kind is None or kind.__module__ in SCHEMAS


def matched(path: str) -> Match:
    """What stands at a path where something does."""
    match = match_path(path)
    assert match is not None
    return match


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=300)
@given(st.sampled_from(ROUTES), st.data())
def test_a_path_leads_to_its_route_and_gives_its_names(route, data):
    given_names = {parameter: data.draw(names) for parameter in route.parameters}
    path = route.path
    for parameter, name in given_names.items():
        path = path.replace("{" + parameter + "}", quote(name, safe=""))
    match = matched(path)
    if match.routes.get(route.method) is not route:  # the name is a fixed segment elsewhere
        assert set(given_names.values()) & {"join", "recovery", "batch", "search"}
        return
    assert match.names == given_names


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_only_an_import_is_taken_part_by_part(route):
    target = "/" + "/".join(segment.strip("{}") for segment in route.path.split("/")[1:]) + "?a=b"
    assert is_upload(route.method, target) == (route.name == "import_group")
    assert not is_upload("GET", target)
    assert not is_upload(route.method, target.replace("/v1", "/%ff"))


@pytest.mark.parametrize("path", ["/v1/groups/join", "/v1/groups/recovery"])
def test_a_fixed_segment_wins_over_a_name(path):
    assert set(matched(path).routes) == {"POST"}


def test_a_group_with_the_name_of_a_fixed_segment_is_reached_below_it():
    assert matched("/v1/groups/join/members").names == {"group": "join"}


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1/", "/v2", "//v1", "/v1/groups/", "/v1/groups//members", "/v1/groups/a/b", "/V1", "/v1 "],
)
def test_elsewhere_is_nothing(path):
    assert match_path(path) is None


def test_an_encoded_slash_belongs_to_the_name():
    assert matched("/v1/groups/a%2Fmembers").names == {"group": "a/members"}


def test_a_path_that_is_no_utf8_is_refused():
    with pytest.raises(BadRequest):
        match_path("/v1/groups/%ff")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_no_path_makes_anything_but_a_match_or_a_refusal(path):
    with suppress(BadRequest):
        match_path("/v1/" + path)
