"""What is said on the control API: one checked struct for each request, reply and notification.

Server, OpenAPI document, client and command line all use these types and declare none of their own.

They hold shapes and sizes. What a value *means* is decided by the rules further down, so that a refusal comes
under the rule's own name (`invalid-role`, `invalid-time-period`) and not as a generic one. Hence roles, names
and addresses are plain text here.

Requests refuse unknown fields; replies may grow, and a client ignores what it does not know. A field never
changes its meaning and never leaves.

Text forms: times are RFC 3339; the daemon writes them in UTC with `Z`, and `null` for the end of what never
ends · ids are lower-case hex, 64 digits for a gid, grant or act, 32 for a node · binary values are base64url
without padding · names of identities and groups are `authority.classifier`, and may be given in full, by an
unambiguous beginning, or by the classifier alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from peerd.control.limits import (
    ADDRESSES_MAX,
    CURSOR_CHARACTERS_MAX,
    ISSUES_MAX,
    PAGE_LIMIT_DEFAULT,
    PAGE_LIMIT_MAX,
    PASSPHRASE_CHARACTERS_MAX,
    SECONDS_MAX,
)

Time = Annotated[datetime, Meta(tz=True)]
Addresses = Annotated[list[str], Meta(max_length=ADDRESSES_MAX)]
Seconds = Annotated[int, Meta(ge=0, le=SECONDS_MAX)]
Passphrase = Annotated[str, Meta(max_length=PASSPHRASE_CHARACTERS_MAX)]  # of the group's root key
Cursor = Annotated[str, Meta(max_length=CURSOR_CHARACTERS_MAX)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_at(utc_s: int) -> datetime:
    """The time `utc_s` whole seconds after 1970 UTC, which others chose: cut to the years 1970 to 9999."""
    return time_at_ms(1000 * utc_s)


def time_at_ms(utc_ms: int) -> datetime:
    """The time `utc_ms` milliseconds after 1970 UTC, cut to the years 1970 to 9999."""
    return _EPOCH + timedelta(milliseconds=max(0, min(utc_ms, 1000 * SECONDS_MAX)))


def end_at(utc_s: int) -> datetime | None:
    """The end of a period of validity; `None` for the year 9999's last second, the "never" of RFC 5280
    4.1.2.5.
    """
    return None if utc_s >= SECONDS_MAX else time_at(utc_s)


def seconds_at(time: datetime) -> int:
    """Whole seconds since 1970 UTC of an aware time, rounded down; negative before 1970."""
    return (time - _EPOCH) // timedelta(seconds=1)


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The root of what callers send; an unknown field is a mistake of theirs.

    Fields at their default are not sent, so that a new client can speak to an older daemon.
    """


class Reply(Struct, frozen=True, kw_only=True):
    """The root of what the daemon sends."""


# --- errors -------------------------------------------------------------------------------------------------


class Problem(Reply, frozen=True, kw_only=True, rename={"slug": "type"}):
    """Why a request was refused (RFC 9457).

    `type` is the stable slug that programs match; `hint` the next command to type, perhaps empty; `instance`
    the number of the request in the daemon's log; `windows_code` the HRESULT of the original system where it
    had one.
    """

    slug: str
    title: str
    status: int
    detail: str
    hint: str = ""
    instance: str = ""
    windows_code: int | None = None


# --- the daemon ---------------------------------------------------------------------------------------------


class Empty(Request, frozen=True, kw_only=True):
    """A request that needs no fields; an empty body is the same."""


class Api(Reply, frozen=True, kw_only=True):
    """Which daemon answers; `api_extensions` names what was added to version 1 of the API."""

    version: str
    api_extensions: list[str]
    pid: int
    started: Time


class Finding(Reply, frozen=True, kw_only=True):
    """One thing that is not as it should be, why, and the command that mends it."""

    code: str
    detail: str
    hint: str = ""
    group: str | None = None


class Health(Reply, frozen=True, kw_only=True):
    """Whether all is well: `degraded` when there is a finding."""

    health: Literal["healthy", "degraded"]
    findings: list[Finding]


class Neighbor(Reply, frozen=True, kw_only=True):
    """The other node of a live link; `outgoing`: we dialled; `synchronized`: its last digest was ours."""

    node_id: str
    peer_name: str
    address: str
    outgoing: bool
    synchronized: bool
    since: Time


class Credential(Reply, frozen=True, kw_only=True):
    """A grant and the certificate that goes with it.

    `issuer` is the peer name of the author, or the group's name for a grant by the root. `live`: passes
    evaluation and is hit by no revocation. `current`: the one its subject goes by now. `stored`: published in
    the group's database by its issuer. `held`: its certificate is here.
    """

    grant_id: str
    group: str
    subject: str
    friendly_name: str
    issuer: str
    issuer_friendly_name: str
    roles: list[str]
    level: int
    issued: Time
    not_before: Time
    not_after: Time | None
    serial: str
    stored: bool
    held: bool
    live: bool
    current: bool


class Progress(Reply, frozen=True, kw_only=True):
    """How far the node has come with what its neighbors hold and it does not: `received` of `expected`
    elements and records; how many are expected is known only once sets have been compared.
    """

    received: int
    expected: int


class Group(Reply, frozen=True, kw_only=True):
    """A group as this daemon sees it.

    `group` is its full name and `peer_name` the identity it is open under. `joining`: the group's genesis has
    not arrived, so `gid` is `null`. `removed`: our identity was, by `removal`. `credential` is what we go by;
    `null` while it is awaited or has ended. `only`: links to `addresses` alone. `acts` and `digest` describe
    the replicated set of acts: equal on two nodes when they hold the same. `records` counts versions held,
    deleted ones and peerd's own too; `synchronizing` is `null` when nothing is being caught up with.
    """

    group: str
    gid: str | None
    classifier: str
    friendly_name: str
    peer_name: str
    state: Literal["joining", "open", "removed"]
    connected: bool
    only: bool
    addresses: list[str]
    node_id: str
    neighbors: list[Neighbor]
    synchronized: bool
    members: int
    acts: int
    digest: str
    records: int
    synchronizing: Progress | None
    credential: Credential | None
    removal: Act | None = None


class Status(Reply, frozen=True, kw_only=True):
    """The daemon at a glance.

    `addresses` are those it listens on, `versions` those of what it runs on; who reads
    the events after `cursor` misses nothing that this answer does not tell.
    """

    version: str
    pid: int
    started: Time
    home: str
    addresses: list[str]
    versions: dict[str, str]
    health: Literal["healthy", "degraded"]
    findings: list[Finding]
    identities: int
    groups: list[Group]
    cursor: str


# --- events -------------------------------------------------------------------------------------------------


class EventsQuery(Request, frozen=True, kw_only=True):
    """Which events.

    Those after the cursor `since` (`start` for the oldest kept, absent for new ones only), of these `kinds`
    (separated by commas; absent for all), of one `group`, about records of one `record_type`. With
    `follow=false` the answer ends with the last event there is.
    """

    since: Cursor | None = None
    kinds: str | None = None
    group: str | None = None
    record_type: str | None = None
    follow: bool = True


class Event(Reply, frozen=True, kw_only=True):
    """Something that happened; reading goes on after `cursor`.

    Two kinds are of the stream itself: `lagged`, events after the cursor asked for are no longer kept, so
    read the state anew and go on from here; and `bye`, the daemon stops. They alone have no time.

    Of authority tell `credential-added`, `credential-revoked` (a removal hits it), `credential-voided` (what
    it rests on is gone) and `credential-restored`; of our own `credential-adopted`, `-expiring` (soon, and
    nobody has renewed it), `-expired` and `-removed`. `facts.removals` are the acts that hit it.
    `member-revoked`: our own identity was removed, by whom and when. `root-rotated`: the root was replaced;
    `root-rival`: somebody else tried to. Alarms: `key-used-elsewhere` (somebody signs with this node's key),
    `fork-seen` (its key is in two hands), `act-rate-exceeded` (it signs so much that the rest waits).
    """

    cursor: str
    kind: str
    time: Time | None
    group: str | None = None
    facts: dict[str, Any] = {}


# --- identities ---------------------------------------------------------------------------------------------


class IdentityCreate(Request, frozen=True, kw_only=True):
    """A new key pair."""

    classifier: str = ""
    friendly_name: str = ""


class IdentityChange(Request, frozen=True, kw_only=True):
    """What of an identity can change."""

    friendly_name: str


class Identity(Reply, frozen=True, kw_only=True):
    """A key pair of this daemon.

    `public_key` is the 32 raw bytes of Ed25519; `groups` are the names of those open under it.
    """

    peer_name: str
    friendly_name: str
    public_key: str
    created: Time
    groups: list[str]
    deleted: bool = False


class Identities(Reply, frozen=True, kw_only=True):
    """The identities of this daemon, by peer name."""

    identities: list[Identity]


class IdentityDocument(Reply, frozen=True, kw_only=True):
    """An identity as XML, to be handed to an administrator; it holds no secret."""

    peer_name: str
    document: str


# --- groups -------------------------------------------------------------------------------------------------


class RecoveryKey(Reply, frozen=True, kw_only=True):
    """The keys that can replace a group's root if that is lost or stolen; `recovery_key` is the first.

    Keep them elsewhere: they are shown once and kept nowhere here. `recovery_token` stands for them in
    `GroupCreate` and `RootRotation`, until `expires` or until the daemon stops. `recovery_set` names their
    public halves; where there are several, it belongs beside each of them.
    """

    recovery_key: str
    recovery_token: str
    expires: Time
    recovery_keys: list[str] = []
    recovery_set: str = ""


class GroupCreate(Request, frozen=True, kw_only=True):
    """A new group, committed to the recovery key handed out under `recovery_token`.

    `recovery_delivered` says that the caller has put the key where it will be found again. `identity` is the
    creator's peer name, absent for the default one; `default_life_s` is how long credentials issued later
    hold.
    """

    classifier: str
    recovery_token: str
    recovery_delivered: Literal[True]
    friendly_name: str = ""
    comment: str = ""
    identity: str | None = None
    default_life_s: Seconds | None = None


class GroupJoin(Request, frozen=True, kw_only=True):
    """Join with an invitation, or wait for a stored credential.

    Give one of `invitation` (its XML) and `group` (its full name), the latter with `addresses` to ask at.

    Repeating it changes nothing. The answer comes at once; whether the credential has arrived shows in
    `Group.credential` and in the events.
    """

    invitation: str | None = None
    group: str | None = None
    identity: str | None = None
    addresses: Addresses = []
    only: bool = False


class GroupConnect(Request, frozen=True, kw_only=True):
    """Dial these addresses (`host:port`) as well, or `only` these; without any, those known."""

    addresses: Addresses = []
    only: bool = False


class Groups(Reply, frozen=True, kw_only=True):
    """The groups of this daemon, by name."""

    groups: list[Group]


class GroupDeleted(Reply, frozen=True, kw_only=True):
    """The group's data here are gone; the group itself goes on without us."""

    group: str
    deleted: bool = True


class PropertiesChange(Request, frozen=True, kw_only=True):
    """What of the group's properties is to change; the rest stays. The fields are those of `Properties`;
    `passphrase` opens the group's root key for this call.
    """

    friendly_name: str | UnsetType = UNSET
    comment: str | UnsetType = UNSET
    default_life_s: Seconds | UnsetType = UNSET
    renew_auto: bool | UnsetType = UNSET
    renew_left: Annotated[int, Meta(ge=2, le=100)] | UnsetType = UNSET
    renew_valid_s: Seconds | UnsetType = UNSET
    renew_unseen_s: Annotated[int, Meta(ge=1, le=SECONDS_MAX)] | UnsetType = UNSET
    passphrase: Passphrase | None = None


class Properties(Reply, frozen=True, kw_only=True):
    """The group's properties, signed by its root at `modified`; `default_life_s` is ours where none is set.

    `renew_auto`: administrators' daemons renew credentials by themselves, when `1 / renew_left` of a life is
    left, for `renew_valid_s` (0: as long as before), but not whom they have not seen for `renew_unseen_s`.
    """

    group: str
    classifier: str
    friendly_name: str
    comment: str
    default_life_s: int
    renew_auto: bool
    renew_left: int
    renew_valid_s: int
    renew_unseen_s: int
    modified: Time


# --- credentials --------------------------------------------------------------------------------------------


class Page(Request, frozen=True, kw_only=True):
    """Which part of a list: up to `limit` entries after `cursor`, the `next` of the part before."""

    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class CredentialsQuery(Page, frozen=True, kw_only=True):
    """Which credentials: those of one `subject`, or all."""

    subject: str | None = None


class CredentialIssue(Request, frozen=True, kw_only=True):
    """A credential for `subject`, a peer name, or for the identity of `document`.

    With neither `document`, `role`, `friendly_name` nor any time: a renewal, the same key, role, name and
    duration anew. Give at most one of `not_after` and `valid_s`. `store` publishes it in the group's
    database, from where the subject's daemon fetches it; `invitation` returns it as XML, to be delivered by
    hand. `replace` takes what the subject holds away, so that the new credential may be a lesser one.
    `adopt` names a credential, by its id or an unambiguous beginning, that became void when its issuer was
    removed: the new one stands in for it, with all that its subject did under it; `subject` may be left
    out.
    `as_root` signs with the group's root key, which `passphrase` opens for this call; `trust_clock` signs
    although this machine's clock is far behind the group's. `issuer` and `issuer_friendly_name` are taken for
    compatibility and ignored: the issuer is the caller's identity.
    """

    subject: str | None = None
    document: str | None = None
    role: str | None = None
    friendly_name: str | None = None
    not_before: Time | None = None
    not_after: Time | None = None
    valid_s: Seconds | None = None
    store: bool = False
    invitation: bool = False
    as_root: bool = False
    replace: bool = False
    adopt: str | None = None
    trust_clock: bool = False
    passphrase: Passphrase | None = None
    issuer: str | None = None
    issuer_friendly_name: str | None = None


class CredentialBatch(Request, frozen=True, kw_only=True):
    """Credentials to issue in one transaction: all of them, or none."""

    issues: Annotated[list[CredentialIssue], Meta(min_length=1, max_length=ISSUES_MAX)]


class InvitationCreate(Request, frozen=True, kw_only=True):
    """An invitation for `subject`, or for the identity of `document`: a credential that is not stored, as
    XML. The fields are those of `CredentialIssue`.
    """

    subject: str | None = None
    document: str | None = None
    role: str | None = None
    friendly_name: str | None = None
    not_before: Time | None = None
    not_after: Time | None = None
    valid_s: Seconds | None = None
    as_root: bool = False
    passphrase: Passphrase | None = None


class CredentialIssued(Reply, frozen=True, kw_only=True):
    """What was issued; `invitation` only when it was asked for."""

    credential: Credential
    invitation: str | None = None


class CredentialsIssued(Reply, frozen=True, kw_only=True):
    """What a batch has issued, in the order asked for."""

    issued: list[CredentialIssued]


class Credentials(Reply, frozen=True, kw_only=True):
    """One page of credentials, by time of issue; `next` is `null` on the last page."""

    credentials: list[Credential]
    next: str | None = None


class CredentialChain(Reply, frozen=True, kw_only=True):
    """A credential with its certificates in PEM, root first; none when one of them is not here."""

    credential: Credential
    chain: list[str]


class InvitationParse(Request, frozen=True, kw_only=True):
    """The XML of an invitation, to be looked into."""

    invitation: str


class InvitationContents(Reply, frozen=True, kw_only=True):
    """What an invitation says, after all its signatures were checked; `own` when its subject is an identity
    of this daemon.
    """

    group: str
    gid: str
    group_friendly_name: str
    subject: str
    friendly_name: str
    issuer: str
    roles: list[str]
    level: int
    not_before: Time
    not_after: Time | None
    serial: str
    grant_id: str
    addresses: list[str]
    own: bool


# --- members and acts ---------------------------------------------------------------------------------------


class Member(Reply, frozen=True, kw_only=True):
    """A subject of the group's credentials.

    `member`: its current credential holds. `expired`: none holds any more. `awaited`: granted, but the
    certificate is not here yet, or its time has not come. Roles and times are those of `grant_id`, its
    current or else its latest credential. `own`: an identity of this daemon. `neighbor`: linked with us now.
    """

    peer_name: str
    friendly_name: str
    state: Literal["member", "expired", "awaited"]
    roles: list[str]
    level: int
    not_before: Time
    not_after: Time | None
    issuer: str
    grant_id: str
    public_key: str
    own: bool
    neighbor: bool


class Members(Reply, frozen=True, kw_only=True):
    """One page of members, by peer name; `next` is `null` on the last page."""

    members: list[Member]
    next: str | None = None


class MemberCredentials(Reply, frozen=True, kw_only=True):
    """A member and all its credentials, the latest first."""

    member: Member
    credentials: list[Credential]


class Act(Reply, frozen=True, kw_only=True):
    """One signed authority statement.

    `author` is the SHA-256 of the author's key, or the gid at level 0; `peer_name` its name where a grant
    tells it; `subject` the name that the act is about; `chain` and `seq` its place among the author's acts;
    `time` what its author's clock said.
    """

    act_id: str
    kind: str
    author: str
    peer_name: str | None
    subject: str | None
    chain: str
    seq: int
    level: int
    time: Time


class Acts(Reply, frozen=True, kw_only=True):
    """One page of acts in the order of their arrival here; `next` is `null` on the last page."""

    acts: list[Act]
    next: str | None = None
