"""The routes: one table from which the server dispatches and the OpenAPI document is made.

Names in a path are percent-encoded segments. A fixed segment wins over a name, for all methods: a group that
somebody has called `join` is reached under its full name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from peerd.control import authority_schema, handlers, record_schema, root_schema, schema
from peerd.control.access import Access
from peerd.control.decoding import decode_segment
from peerd.control.events import NDJSON, SSE
from peerd.control.handlers import METRICS_TYPE
from peerd.control.http1 import OCTETS
from peerd.control.root_routes import ROOT_ROUTES
from peerd.control.route import (
    GROUP_ERRORS,
    IDENTITY_ERRORS,
    ISSUE_ERRORS,
    SIGN_ERRORS,
    STORE_ERRORS,
    Octets,
    Route,
    is_name,
)
from peerd.errors import BadRequest

_RECORD = (*GROUP_ERRORS, "invalid-argument", "record-deleted", "record-not-found")
_WRITE = (
    *GROUP_ERRORS,
    *SIGN_ERRORS,
    "invalid-argument",
    "invalid-attributes",
    "invalid-record",
    "invalid-record-expiration",
    "not-replicated",
    "quota-exceeded",
    "record-too-large",
)
_REWRITE = (*_WRITE, "record-deleted", "record-not-found", "version-conflict")
_REMOVE = (
    *GROUP_ERRORS,
    *SIGN_ERRORS,
    "already-exists",
    "identity-not-found",
    "invalid-argument",
    "invalid-properties",
    "quota-exceeded",
)
_NAMES = ("invalid-classifier", "classifier-too-long", "invalid-friendly-name")

_SUBJECT = "4c1e7ac12d3f5b6a798800112233445566778899.laptop"
_EXAMPLE_ID = "1f7d03c5a86e4b92"
_GROUP_NAME = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3.family"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1", handlers.get_api, Access.READ, schema.Api),
    Route("GET", "/v1/status", handlers.get_status, Access.READ, schema.Status),
    Route("GET", "/v1/health", handlers.get_health, Access.READ, schema.Health),
    Route("GET", "/v1/metrics", handlers.get_metrics, Access.READ, media_types=(METRICS_TYPE,)),
    Route("GET", "/v1/openapi.json", handlers.get_openapi, Access.READ),
    Route(
        "GET",
        "/v1/events",
        handlers.get_events,
        Access.READ,
        query=schema.EventsQuery,
        errors=("group-not-found", "ambiguous-name", "invalid-argument", "not-acceptable"),
        media_types=(SSE, NDJSON),
    ),
    # --- identities ---
    Route("GET", "/v1/identities", handlers.list_identities, Access.READ, schema.Identities),
    Route(
        "POST",
        "/v1/identities",
        handlers.create_identity,
        Access.ADMIN,
        schema.Identity,
        body=schema.IdentityCreate,
        errors=(*_NAMES, *STORE_ERRORS),
        status=HTTPStatus.CREATED,
        example=schema.IdentityCreate(classifier="laptop", friendly_name="Ada's laptop"),
    ),
    Route(
        "GET",
        "/v1/identities/{peer_name}",
        handlers.get_identity,
        Access.READ,
        schema.Identity,
        errors=IDENTITY_ERRORS,
    ),
    Route(
        "PATCH",
        "/v1/identities/{peer_name}",
        handlers.change_identity,
        Access.ADMIN,
        schema.Identity,
        body=schema.IdentityChange,
        errors=(*IDENTITY_ERRORS, *STORE_ERRORS, "identity-deleted", "invalid-friendly-name"),
        example=schema.IdentityChange(friendly_name="Ada's new laptop"),
    ),
    Route(
        "DELETE",
        "/v1/identities/{peer_name}",
        handlers.delete_identity,
        Access.ADMIN,
        schema.Identity,
        errors=(*IDENTITY_ERRORS, *STORE_ERRORS, "identity-deleted", "identity-in-use"),
    ),
    Route(
        "GET",
        "/v1/identities/{peer_name}/document",
        handlers.get_identity_document,
        Access.READ,
        schema.IdentityDocument,
        errors=(*IDENTITY_ERRORS, "identity-deleted", "no-key-access"),
    ),
    # --- groups ---
    Route("GET", "/v1/groups", handlers.list_groups, Access.READ, schema.Groups),
    Route(
        "POST",
        "/v1/groups/recovery",
        handlers.make_recovery_key,
        Access.ADMIN,
        schema.RecoveryKey,
        body=root_schema.RecoveryDraw,
        errors=("invalid-argument",),
        status=HTTPStatus.CREATED,
    ),
    Route(
        "POST",
        "/v1/groups",
        handlers.create_group,
        Access.ADMIN,
        schema.Group,
        body=schema.GroupCreate,
        errors=(
            *_NAMES,
            *IDENTITY_ERRORS,
            *SIGN_ERRORS,
            "invalid-argument",
            "invalid-properties",
            "already-exists",
        ),
        status=HTTPStatus.CREATED,
        example=schema.GroupCreate(classifier="family", recovery_token=_EXAMPLE_ID, recovery_delivered=True),
    ),
    Route(
        "POST",
        "/v1/groups/join",
        handlers.join_group,
        Access.ADMIN,
        schema.Group,
        body=schema.GroupJoin,
        errors=(
            *IDENTITY_ERRORS,
            *STORE_ERRORS,
            "already-exists",
            "identity-deleted",
            "invalid-argument",
            "invalid-peer-name",
            "invitation-not-trusted",
            "no-key-access",
        ),
        example=schema.GroupJoin(group=_GROUP_NAME, addresses=["192.0.2.7:3587"]),
    ),
    Route("GET", "/v1/groups/{group}", handlers.get_group, Access.READ, schema.Group, errors=GROUP_ERRORS),
    Route(
        "DELETE",
        "/v1/groups/{group}",
        handlers.delete_group,
        Access.ADMIN,
        schema.GroupDeleted,
        errors=(*GROUP_ERRORS, *STORE_ERRORS),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/connect",
        handlers.connect_group,
        Access.OPERATE,
        schema.Group,
        body=schema.GroupConnect,
        errors=(*GROUP_ERRORS, *STORE_ERRORS, "invalid-argument"),
        example=schema.GroupConnect(addresses=["192.0.2.7:3587"], only=True),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/disconnect",
        handlers.disconnect_group,
        Access.OPERATE,
        schema.Group,
        body=schema.Empty,
        errors=(*GROUP_ERRORS, *STORE_ERRORS),
    ),
    Route(
        "GET",
        "/v1/groups/{group}/properties",
        handlers.get_properties,
        Access.READ,
        schema.Properties,
        errors=GROUP_ERRORS,
    ),
    Route(
        "PATCH",
        "/v1/groups/{group}/properties",
        handlers.change_properties,
        Access.ADMIN,
        schema.Properties,
        body=schema.PropertiesChange,
        errors=(*GROUP_ERRORS, *SIGN_ERRORS, "invalid-friendly-name", "invalid-properties"),
        example=schema.PropertiesChange(comment="Ada, Bob and their machines"),
    ),
    # --- credentials ---
    Route(
        "GET",
        "/v1/groups/{group}/credentials",
        handlers.list_credentials,
        Access.READ,
        schema.Credentials,
        query=schema.CredentialsQuery,
        errors=(*GROUP_ERRORS, "invalid-argument", "member-not-found"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/credentials",
        handlers.issue_credential,
        Access.ADMIN,
        schema.CredentialIssued,
        body=schema.CredentialIssue,
        errors=ISSUE_ERRORS,
        status=HTTPStatus.CREATED,
        example=schema.CredentialIssue(subject=_SUBJECT, role="member", valid_s=7_776_000, store=True),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/credentials/batch",
        handlers.issue_credentials,
        Access.ADMIN,
        schema.CredentialsIssued,
        body=schema.CredentialBatch,
        errors=ISSUE_ERRORS,
        status=HTTPStatus.CREATED,
        example=schema.CredentialBatch(issues=[schema.CredentialIssue(subject=_SUBJECT, store=True)]),
    ),
    Route(
        "GET",
        "/v1/groups/{group}/credentials/{grant_id}",
        handlers.get_credential,
        Access.READ,
        schema.CredentialChain,
        errors=(*GROUP_ERRORS, "credential-not-found", "invalid-argument"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/invitations",
        handlers.create_invitation,
        Access.ADMIN,
        schema.CredentialIssued,
        body=schema.InvitationCreate,
        errors=ISSUE_ERRORS,
        status=HTTPStatus.CREATED,
        example=schema.InvitationCreate(subject=_SUBJECT, role="member"),
    ),
    Route(
        "POST",
        "/v1/invitations/parse",
        handlers.parse_invitation,
        Access.READ,
        schema.InvitationContents,
        body=schema.InvitationParse,
        errors=("invitation-not-trusted",),
        example=schema.InvitationParse(invitation="<PEERINVITATION>…</PEERINVITATION>"),
    ),
    # --- members and acts ---
    Route(
        "GET",
        "/v1/groups/{group}/members",
        handlers.list_members,
        Access.READ,
        schema.Members,
        query=schema.Page,
        errors=(*GROUP_ERRORS, "invalid-argument"),
    ),
    Route(
        "GET",
        "/v1/groups/{group}/members/{peer_name}",
        handlers.get_member,
        Access.READ,
        schema.MemberCredentials,
        errors=(*GROUP_ERRORS, "member-not-found"),
    ),
    Route(
        "GET",
        "/v1/groups/{group}/acts",
        handlers.list_acts,
        Access.READ,
        schema.Acts,
        query=schema.Page,
        errors=(*GROUP_ERRORS, "invalid-argument"),
    ),
    # --- removal ---
    Route(
        "POST",
        "/v1/groups/{group}/members/{peer_name}/revoke",
        handlers.revoke_member,
        Access.ADMIN,
        authority_schema.Removal,
        body=authority_schema.Revocation,
        errors=(*_REMOVE, "member-not-found"),
        example=authority_schema.Revocation(reason="lost laptop", dry_run=True),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/credentials/{grant_id}/revoke",
        handlers.revoke_credential,
        Access.ADMIN,
        authority_schema.Removal,
        body=authority_schema.Revocation,
        errors=(*_REMOVE, "credential-not-found"),
        example=authority_schema.Revocation(reason="lost laptop"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/acts/{act_id}/annul",
        handlers.annul_act,
        Access.ADMIN,
        authority_schema.Removal,
        body=authority_schema.Annulment,
        errors=(*GROUP_ERRORS, *SIGN_ERRORS, "invalid-argument"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/leave",
        handlers.leave_group,
        Access.ADMIN,
        authority_schema.Removal,
        body=authority_schema.GroupLeave,
        errors=(*GROUP_ERRORS, *SIGN_ERRORS, "invalid-properties"),
    ),
    *ROOT_ROUTES,
    # --- explaining ---
    Route(
        "GET",
        "/v1/groups/{group}/audit",
        handlers.audit_group,
        Access.READ,
        authority_schema.Audit,
        query=schema.Page,
        errors=(*GROUP_ERRORS, "invalid-argument"),
    ),
    Route(
        "GET",
        "/v1/groups/{group}/why/members/{peer_name}",
        handlers.explain_member,
        Access.READ,
        authority_schema.WhyMember,
        errors=(*GROUP_ERRORS, "member-not-found"),
    ),
    Route(
        "GET",
        "/v1/groups/{group}/why/records/{record_id}",
        handlers.explain_record,
        Access.READ,
        authority_schema.WhyRecord,
        errors=_RECORD,
    ),
    # --- records ---
    Route(
        "GET",
        "/v1/groups/{group}/records",
        handlers.list_records,
        Access.READ,
        record_schema.Records,
        query=record_schema.RecordsQuery,
        errors=(*GROUP_ERRORS, "invalid-argument", "member-not-found"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/records",
        handlers.add_record,
        Access.ADMIN,
        record_schema.Record,
        body=record_schema.RecordAdd,
        errors=_WRITE,
        status=HTTPStatus.CREATED,
        example=record_schema.RecordAdd(
            record_type="note", attributes={"title": "Pizza", "people": 4}, data="RnJpZGF5", valid_s=604_800
        ),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/records/search",
        handlers.search_records,
        Access.READ,
        record_schema.Records,
        body=record_schema.RecordSearch,
        errors=(*GROUP_ERRORS, "invalid-argument", "invalid-search"),
        example=record_schema.RecordSearch(query='title ~ "Pizza*" and people >= 3 order by modified desc'),
    ),
    Route(
        "GET",
        "/v1/groups/{group}/records/{record_id}",
        handlers.get_record,
        Access.READ,
        record_schema.Record,
        query=record_schema.RecordQuery,
        errors=(*_RECORD, "data-not-here"),
    ),
    Route(
        "PATCH",
        "/v1/groups/{group}/records/{record_id}",
        handlers.change_record,
        Access.ADMIN,
        record_schema.Record,
        body=record_schema.RecordChange,
        errors=_REWRITE,
        example=record_schema.RecordChange(attributes={"title": "Pizza", "people": 5}),
    ),
    Route(
        "DELETE",
        "/v1/groups/{group}/records/{record_id}",
        handlers.delete_record,
        Access.ADMIN,
        record_schema.RecordDeleted,
        query=record_schema.WriteQuery,
        errors=_REWRITE,
    ),
    Route(
        "GET",
        "/v1/groups/{group}/records/{record_id}/data",
        handlers.get_record_data,
        Access.READ,
        errors=(*_RECORD, "data-not-here"),
        media_types=(OCTETS,),
    ),
    Route(
        "PUT",
        "/v1/groups/{group}/records/{record_id}/data",
        handlers.set_record_data,
        Access.ADMIN,
        record_schema.Record,
        query=record_schema.WriteQuery,
        errors=_REWRITE,
        octets=Octets.WHOLE,
    ),
    # --- export and import ---
    Route(
        "GET",
        "/v1/groups/{group}/export",
        handlers.export_group,
        Access.READ,
        errors=GROUP_ERRORS,
        media_types=(OCTETS,),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/import",
        handlers.import_group,
        Access.ADMIN,
        record_schema.Imported,
        errors=(*GROUP_ERRORS, *STORE_ERRORS, "invalid-database", "unsupported-version", "wrong-group"),
        octets=Octets.IN_PARTS,
    ),
)


@dataclass(frozen=True, slots=True)
class Match:
    """What stands at one path: a route for each method, and the names that the path gives."""

    routes: Mapping[str, Route]
    names: Mapping[str, str]


def match_path(path: str) -> Match | None:
    """What stands at a path as it was sent; None when nothing does. Raises: BadRequest, it is no UTF-8."""
    segments = [decode_segment(segment) for segment in path.split("/")]
    for template, routes in _TEMPLATES.get(len(segments), ()):
        if all(map(_fits, template, segments)):
            names = {part[1:-1]: text for part, text in zip(template, segments, strict=True) if is_name(part)}
            return Match(routes, names)
    return None


def is_upload(method: str, target: str) -> bool:
    """Whether the body of a request, by its method and target, is taken part by part."""
    try:
        match = match_path(target.partition("?")[0])
    except BadRequest:
        return False
    route = None if match is None else match.routes.get(method)
    return route is not None and route.octets is Octets.IN_PARTS


def _fits(part: str, segment: str) -> bool:
    return bool(segment) if is_name(part) else part == segment


def _by_length(routes: tuple[Route, ...]) -> dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]]:
    """The routes by the number of segments and then by their path, with fixed segments before names."""
    found: dict[tuple[str, ...], dict[str, Route]] = {}
    for route in routes:
        found.setdefault(tuple(route.path.split("/")), {})[route.method] = route
    lengths: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
    for template, methods in sorted(found.items(), key=lambda entry: [is_name(part) for part in entry[0]]):
        lengths.setdefault(len(template), []).append((template, methods))
    return lengths


_TEMPLATES = _by_length(ROUTES)
