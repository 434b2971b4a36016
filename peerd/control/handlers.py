"""From a checked request to the use case behind it: one short function for each route.

A handler decides nothing. It takes names and structs out of the call, asks `Operations`, and returns the
reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from msgspec.structs import replace

from peerd.control import authority_schema, record_schema, root_schema, schema
from peerd.control.events import EventBell, subscribe
from peerd.control.http1 import JSON, OCTETS, Answer, StopSignal, Streaming, Upload
from peerd.control.operations import Operations
from peerd.errors import BadRequest

T = TypeVar("T", bound=schema.Request)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Context:
    """What all calls share."""

    operations: Operations
    bell: EventBell
    stop: StopSignal
    openapi: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """One request after all checks: the names in its path, query and body of the types that its route
    declares. `octets` is a body that is no JSON, `upload` one that comes in parts.
    """

    path: Mapping[str, str]
    query: schema.Request | None
    body: schema.Request | None
    headers: Mapping[str, str]
    octets: bytes = b""
    upload: Upload | None = None


def _typed(value: schema.Request | None, kind: type[T]) -> T:
    """The query or body as the type that its route declares."""
    assert type(value) is kind, (value, kind)
    return value


# --- the daemon ---------------------------------------------------------------------------------------------


def get_api(context: Context, _call: Call) -> schema.Api:
    """Which daemon answers."""
    return context.operations.api()


async def get_status(context: Context, _call: Call) -> schema.Status:
    """The daemon at a glance."""
    return await context.operations.status()


async def get_health(context: Context, _call: Call) -> schema.Health:
    """Whether all is well."""
    return await context.operations.health()


async def get_metrics(context: Context, _call: Call) -> Answer:
    """The daemon's figures in Prometheus' text format."""
    return Answer(HTTPStatus.OK, METRICS_TYPE, await context.operations.metrics())


def get_openapi(context: Context, _call: Call) -> Answer:
    """This document."""
    return Answer(HTTPStatus.OK, JSON, context.openapi())


def get_events(context: Context, call: Call) -> Streaming:
    """Events as they come, until either side stops."""
    query = _typed(call.query, schema.EventsQuery)
    subscription = subscribe(
        context.operations.events,
        context.bell,
        context.stop,
        query,
        group=None if query.group is None else context.operations.group_name(query.group),
        accept=call.headers.get("accept", ""),
        last_event_id=call.headers.get("last-event-id", ""),
    )
    return Streaming(subscription.form.media_type, subscription.run)


# --- identities ---------------------------------------------------------------------------------------------


def list_identities(context: Context, _call: Call) -> schema.Identities:
    """All identities."""
    return context.operations.identities()


async def create_identity(context: Context, call: Call) -> schema.Identity:
    """Make a key pair."""
    return await context.operations.create_identity(_typed(call.body, schema.IdentityCreate))


def get_identity(context: Context, call: Call) -> schema.Identity:
    """One identity."""
    return context.operations.identity(call.path["peer_name"])


async def change_identity(context: Context, call: Call) -> schema.Identity:
    """Rename an identity for the eyes of people."""
    wish = _typed(call.body, schema.IdentityChange)
    return await context.operations.change_identity(call.path["peer_name"], wish)


async def delete_identity(context: Context, call: Call) -> schema.Identity:
    """Delete a private key for good."""
    return await context.operations.delete_identity(call.path["peer_name"])


def get_identity_document(context: Context, call: Call) -> schema.IdentityDocument:
    """An identity as XML, for an administrator."""
    return context.operations.identity_document(call.path["peer_name"])


# --- groups -------------------------------------------------------------------------------------------------


async def list_groups(context: Context, _call: Call) -> schema.Groups:
    """All groups."""
    return await context.operations.groups()


def make_recovery_key(context: Context, call: Call) -> schema.RecoveryKey:
    """Draw the recovery keys that the next group, or the next root of one, will be committed to."""
    return context.operations.make_recovery_key(_typed(call.body, root_schema.RecoveryDraw))


async def create_group(context: Context, call: Call) -> schema.Group:
    """Make a group."""
    return await context.operations.create_group(_typed(call.body, schema.GroupCreate))


async def join_group(context: Context, call: Call) -> schema.Group:
    """Start to take part in a group."""
    return await context.operations.join_group(_typed(call.body, schema.GroupJoin))


async def get_group(context: Context, call: Call) -> schema.Group:
    """One group."""
    return await context.operations.group(call.path["group"])


async def delete_group(context: Context, call: Call) -> schema.GroupDeleted:
    """Forget a group and its data here."""
    return await context.operations.delete_group(call.path["group"])


async def connect_group(context: Context, call: Call) -> schema.Group:
    """Let the group have links."""
    wish = _typed(call.body, schema.GroupConnect)
    return await context.operations.connect_group(call.path["group"], wish)


async def disconnect_group(context: Context, call: Call) -> schema.Group:
    """Close the group's links and make none."""
    return await context.operations.disconnect_group(call.path["group"])


async def get_properties(context: Context, call: Call) -> schema.Properties:
    """The group's properties."""
    return await context.operations.properties(call.path["group"])


async def change_properties(context: Context, call: Call) -> schema.Properties:
    """Publish changed properties."""
    wish = _typed(call.body, schema.PropertiesChange)
    return await context.operations.change_properties(call.path["group"], wish)


# --- credentials --------------------------------------------------------------------------------------------


async def list_credentials(context: Context, call: Call) -> schema.Credentials:
    """One page of credentials."""
    query = _typed(call.query, schema.CredentialsQuery)
    return await context.operations.credentials(call.path["group"], query)


async def issue_credential(context: Context, call: Call) -> schema.CredentialIssued:
    """Issue one credential."""
    wish = _typed(call.body, schema.CredentialIssue)
    (issued,) = await context.operations.issue(call.path["group"], [wish])
    return issued


async def issue_credentials(context: Context, call: Call) -> schema.CredentialsIssued:
    """Issue several credentials in one transaction."""
    wishes = _typed(call.body, schema.CredentialBatch).issues
    return schema.CredentialsIssued(issued=list(await context.operations.issue(call.path["group"], wishes)))


async def get_credential(context: Context, call: Call) -> schema.CredentialChain:
    """One credential with its certificates."""
    return await context.operations.credential(call.path["group"], call.path["grant_id"])


async def create_invitation(context: Context, call: Call) -> schema.CredentialIssued:
    """Issue one credential that is not stored, as an invitation."""
    asked = _typed(call.body, schema.InvitationCreate)
    given: dict[str, Any] = {name: getattr(asked, name) for name in asked.__struct_fields__}
    wish = schema.CredentialIssue(**given, store=False, invitation=True)
    (issued,) = await context.operations.issue(call.path["group"], [wish])
    return issued


def parse_invitation(context: Context, call: Call) -> schema.InvitationContents:
    """Look into an invitation."""
    return context.operations.parse_invitation(_typed(call.body, schema.InvitationParse))


# --- members and acts ---------------------------------------------------------------------------------------


async def list_members(context: Context, call: Call) -> schema.Members:
    """One page of members."""
    return await context.operations.members(call.path["group"], _typed(call.query, schema.Page))


async def get_member(context: Context, call: Call) -> schema.MemberCredentials:
    """One member and its credentials."""
    return await context.operations.member(call.path["group"], call.path["peer_name"])


async def list_acts(context: Context, call: Call) -> schema.Acts:
    """One page of acts, in the order of their arrival."""
    return await context.operations.acts(call.path["group"], _typed(call.query, schema.Page))


# --- removal ------------------------------------------------------------------------------------------------


async def revoke_member(context: Context, call: Call) -> authority_schema.Removal:
    """Remove a member, or tell what that would take down."""
    wish = _typed(call.body, authority_schema.Revocation)
    return await context.operations.revoke_member(call.path["group"], call.path["peer_name"], wish)


async def revoke_credential(context: Context, call: Call) -> authority_schema.Removal:
    """Remove the member that holds a credential."""
    wish = _typed(call.body, authority_schema.Revocation)
    return await context.operations.revoke_credential(call.path["group"], call.path["grant_id"], wish)


async def annul_act(context: Context, call: Call) -> authority_schema.Removal:
    """Take one act of somebody junior back."""
    wish = _typed(call.body, authority_schema.Annulment)
    return await context.operations.annul_act(call.path["group"], call.path["act_id"], wish)


async def leave_group(context: Context, call: Call) -> authority_schema.Removal:
    """Give up this node's membership."""
    wish = _typed(call.body, authority_schema.GroupLeave)
    return await context.operations.leave_group(call.path["group"], wish)


# --- the root -----------------------------------------------------------------------------------------------


async def get_root(context: Context, call: Call) -> root_schema.Root:
    """A group's root: its keys, its history, its rivals."""
    return await context.operations.root(call.path["group"])


async def rotate_root(context: Context, call: Call) -> root_schema.RootRotated:
    """Replace the root with its recovery keys, or tell what would stop counting."""
    wish = _typed(call.body, root_schema.RootRotation)
    return await context.operations.rotate_root(call.path["group"], wish)


async def prepare_root_act(context: Context, call: Call) -> root_schema.RootFile:
    """Prepare something that the root is to sign elsewhere."""
    wish = _typed(call.body, root_schema.RootPreparation)
    return await context.operations.prepare_root_act(call.path["group"], wish)


async def sign_root_file(context: Context, call: Call) -> root_schema.RootFile:
    """Sign what was prepared with the keys in this home, also for groups that are not open here."""
    return await context.operations.sign_root_file(_typed(call.body, root_schema.RootSigning))


async def import_root_act(context: Context, call: Call) -> root_schema.RootImported:
    """Publish what all its keys have signed."""
    wish = _typed(call.body, root_schema.RootImport)
    return await context.operations.import_root_act(call.path["group"], wish)


async def protect_root(context: Context, call: Call) -> root_schema.RootKeys:
    """Put the root keys in this home under a passphrase, or under none."""
    wish = _typed(call.body, root_schema.RootProtection)
    return await context.operations.protect_root(call.path["group"], wish)


async def unlock_root(context: Context, call: Call) -> root_schema.RootKeys:
    """Open the root keys in this home until they are locked."""
    wish = _typed(call.body, root_schema.RootUnlocking)
    return await context.operations.unlock_root(call.path["group"], wish)


async def lock_root(context: Context, call: Call) -> root_schema.RootKeys:
    """Forget the passphrase of the root keys in this home."""
    return await context.operations.lock_root(call.path["group"])


# --- explaining ---------------------------------------------------------------------------------------------


async def audit_group(context: Context, call: Call) -> authority_schema.Audit:
    """One page of all acts, with what became of them."""
    return await context.operations.audit(call.path["group"], _typed(call.query, schema.Page))


async def explain_member(context: Context, call: Call) -> authority_schema.WhyMember:
    """Why somebody is a member or not."""
    return await context.operations.why_member(call.path["group"], call.path["peer_name"])


async def explain_record(context: Context, call: Call) -> authority_schema.WhyRecord:
    """Why a record is as it is."""
    return await context.operations.why_record(call.path["group"], call.path["record_id"])


# --- records ------------------------------------------------------------------------------------------------


async def list_records(context: Context, call: Call) -> record_schema.Records:
    """One page of records."""
    query = _typed(call.query, record_schema.RecordsQuery)
    return await context.operations.records(call.path["group"], query)


async def add_record(context: Context, call: Call) -> record_schema.Record:
    """Write a new record."""
    wish = _typed(call.body, record_schema.RecordAdd)
    return await context.operations.add_record(call.path["group"], wish)


async def search_records(context: Context, call: Call) -> record_schema.Records:
    """Find records by an expression or a peersearch document."""
    wish = _typed(call.body, record_schema.RecordSearch)
    return await context.operations.search_records(call.path["group"], wish)


async def get_record(context: Context, call: Call) -> record_schema.Record:
    """One record, with its data when they are small or asked for."""
    query = _typed(call.query, record_schema.RecordQuery)
    return await context.operations.record(call.path["group"], call.path["record_id"], query)


async def change_record(context: Context, call: Call) -> record_schema.Record:
    """Write a new version of a record."""
    wish = _typed(call.body, record_schema.RecordChange)
    wish = replace(wish, if_version=_if_version(call, wish.if_version))
    return await context.operations.change_record(call.path["group"], call.path["record_id"], wish)


async def delete_record(context: Context, call: Call) -> record_schema.RecordDeleted:
    """Delete a record."""
    query = _write_query(call)
    return await context.operations.delete_record(call.path["group"], call.path["record_id"], query)


async def get_record_data(context: Context, call: Call) -> Answer:
    """The data of a record, unchanged; ETag is the version's id."""
    version_id, data = await context.operations.record_data(call.path["group"], call.path["record_id"])
    return Answer(HTTPStatus.OK, OCTETS, data, (("ETag", f'"{version_id}"'),))


async def set_record_data(context: Context, call: Call) -> record_schema.Record:
    """Write a new version of a record with these data."""
    group, record_id = call.path["group"], call.path["record_id"]
    return await context.operations.set_record_data(group, record_id, call.octets, _write_query(call))


async def export_group(context: Context, call: Call) -> Streaming:
    """All acts and records of a group, as one file."""
    return Streaming(OCTETS, await context.operations.export_group(call.path["group"]))


async def import_group(context: Context, call: Call) -> record_schema.Imported:
    """Take in an exported file, checked as if it came from the network."""
    assert call.upload is not None
    return await context.operations.import_group(call.path["group"], call.upload)


def _write_query(call: Call) -> record_schema.WriteQuery:
    query = _typed(call.query, record_schema.WriteQuery)
    return replace(query, if_version=_if_version(call, query.if_version))


def _if_version(call: Call, said: str | None) -> str | None:
    """The version that a write depends on, said in a field or in the header If-Match. Raises: BadRequest."""
    header = call.headers.get("if-match", "").strip()
    if header in ("", "*"):  # a record that is not there cannot be written anyway
        return said
    tag = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not tag.isalnum() or said not in (None, tag):
        raise BadRequest("If-Match names one version, and the same as if_version.", hint='If-Match: "ID"')
    return tag
