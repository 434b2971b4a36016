"""The use cases behind the control API, as the handlers call them.

The daemon passes in an object with these methods; tests pass in a fake. Names of groups, identities and
members come as callers wrote them (in full, by an unambiguous beginning, or by classifier) and are resolved
behind this border.

Every method may raise `RuleError` (a rule refuses the wish; nothing has changed) and children of
`PeerdError`; a name that fits nothing is `NotFound`, one that fits more than one thing
`Conflict("ambiguous-name")`. What is `async` is durable when it returns, or waits its turn to read what is
durable; the others answer at once. A caller that goes away does not undo what was begun: the method
finishes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from peerd.control import authority_schema, record_schema, root_schema, schema

Upload = Callable[[], Awaitable[bytes]]  # the next part of what a caller sends; empty at its end
Download = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]  # told how to send a part


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events somebody wants; `None` stands for all."""

    kinds: frozenset[str] | None = None
    group: str | None = None
    record_type: str | None = None

    def wants(self, kind: str, group: str | None, facts: Callable[[], Mapping[str, Any]]) -> bool:
        """Whether an event is one of them; `facts` is asked only if that depends on them."""
        if self.kinds is not None and kind not in self.kinds:
            return False
        if self.group is not None and group != self.group:
            return False
        return self.record_type is None or facts().get("record_type") == self.record_type


ALL_EVENTS = Selection()


@dataclass(frozen=True, slots=True)
class EventPage:
    """The selected ones among the next events after a position of the log.

    `cursor` is the position to read on from, behind all that was looked at; the one asked for when there is
    nothing more, or when `lagged` the log's start. `lagged`: events between the position asked for and the
    first one looked at are no longer kept.
    """

    events: Sequence[schema.Event]
    cursor: str
    lagged: bool = False


class EventLog(Protocol):
    """The committed events of this daemon; a cursor is an opaque text of URL-safe characters."""

    def start(self) -> str:
        """The position before the oldest event kept."""

    def end(self) -> str:
        """The position after the newest event."""

    def after(self, cursor: str, limit: int, selection: Selection = ALL_EVENTS) -> EventPage:
        """Those selected among the next `limit` events after `cursor`.

        Raises:
            RuleError: `invalid-argument`, it is no cursor of this daemon's.
        """


class Operations(Protocol):
    """What a caller can ask of the daemon."""

    @property
    def events(self) -> EventLog:
        """Where the event stream reads; whoever commits an event rings the server's bell afterwards."""

    def api(self) -> schema.Api:
        """Which daemon this is."""

    async def status(self) -> schema.Status:
        """The daemon at a glance."""

    async def health(self) -> schema.Health:
        """Whether all is well."""

    async def metrics(self) -> bytes:
        """The figures in Prometheus' text format, version 0.0.4."""

    # --- identities ---

    def identities(self) -> schema.Identities:
        """All identities."""

    def identity(self, name: str) -> schema.Identity:
        """One identity."""

    def identity_document(self, name: str) -> schema.IdentityDocument:
        """One identity's document."""

    async def create_identity(self, wish: schema.IdentityCreate) -> schema.Identity:
        """Make a key pair."""

    async def change_identity(self, name: str, wish: schema.IdentityChange) -> schema.Identity:
        """Rename an identity for the eyes of people."""

    async def delete_identity(self, name: str) -> schema.Identity:
        """Delete a private key for good; refused (`identity-in-use`) while a group is open under it."""

    # --- groups ---

    async def groups(self) -> schema.Groups:
        """All groups."""

    async def group(self, name: str) -> schema.Group:
        """One group."""

    def group_name(self, name: str) -> str:
        """The full name of one group."""

    def make_recovery_key(self, wish: root_schema.RecoveryDraw) -> schema.RecoveryKey:
        """Draw recovery keys for a `create_group` or `rotate_root` soon to follow; only their public halves
        stay, in memory.
        """

    async def create_group(self, wish: schema.GroupCreate) -> schema.Group:
        """Make a group and its creator's credential."""

    async def join_group(self, wish: schema.GroupJoin) -> schema.Group:
        """Start to take part in a group; repeating it changes nothing."""

    async def connect_group(self, name: str, wish: schema.GroupConnect) -> schema.Group:
        """Let the group have links."""

    async def disconnect_group(self, name: str) -> schema.Group:
        """Close the group's links and make none until it is connected again."""

    async def delete_group(self, name: str) -> schema.GroupDeleted:
        """Forget a group and its data here."""

    async def properties(self, group: str) -> schema.Properties:
        """The group's properties."""

    async def change_properties(self, group: str, wish: schema.PropertiesChange) -> schema.Properties:
        """Publish changed properties, signed by the root."""

    # --- credentials ---

    async def credentials(self, group: str, query: schema.CredentialsQuery) -> schema.Credentials:
        """One page of credentials."""

    async def credential(self, group: str, grant_id: str) -> schema.CredentialChain:
        """One credential with its certificates; `grant_id` may be an unambiguous beginning."""

    async def issue(
        self, group: str, wishes: Sequence[schema.CredentialIssue]
    ) -> Sequence[schema.CredentialIssued]:
        """Issue all of them in one transaction, or none; the answers stand in the order of the wishes."""

    def parse_invitation(self, wish: schema.InvitationParse) -> schema.InvitationContents:
        """Look into an invitation after checking its signatures."""

    # --- members and acts ---

    async def members(self, group: str, query: schema.Page) -> schema.Members:
        """One page of members."""

    async def member(self, group: str, name: str) -> schema.MemberCredentials:
        """One member."""

    async def acts(self, group: str, query: schema.Page) -> schema.Acts:
        """One page of acts."""

    # --- removal ---

    async def revoke_member(
        self, group: str, name: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        """Remove whoever is meant, also one that holds nothing any more."""

    async def revoke_credential(
        self, group: str, grant_id: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        """Remove the member that holds a credential."""

    async def annul_act(
        self, group: str, act_id: str, wish: authority_schema.Annulment
    ) -> authority_schema.Removal:
        """Take one act back; `act_id` may be an unambiguous beginning."""

    async def leave_group(self, name: str, wish: authority_schema.GroupLeave) -> authority_schema.Removal:
        """Give up the own membership, then close the group's links."""

    # --- the root ---

    async def root(self, group: str) -> root_schema.Root:
        """A group's root."""

    async def rotate_root(self, group: str, wish: root_schema.RootRotation) -> root_schema.RootRotated:
        """Replace the root, or tell what would stop counting. Raises also RuleError `not-authorized` for
        recovery keys that are not those of the root as it is.
        """

    async def prepare_root_act(self, group: str, wish: root_schema.RootPreparation) -> root_schema.RootFile:
        """Prepare something that the root is to sign elsewhere; nothing changes."""

    async def sign_root_file(self, wish: root_schema.RootSigning) -> root_schema.RootFile:
        """Sign what was prepared with the keys in this home; a key that is wanted is made here."""

    async def import_root_act(self, group: str, wish: root_schema.RootImport) -> root_schema.RootImported:
        """Publish what all its keys have signed; repeating it changes nothing."""

    async def protect_root(self, group: str, wish: root_schema.RootProtection) -> root_schema.RootKeys:
        """Put the root keys in this home under a passphrase, or under none; they are locked afterwards. The
        group need not be open here; so too for the next two.
        """

    async def unlock_root(self, group: str, wish: root_schema.RootUnlocking) -> root_schema.RootKeys:
        """Open the root keys in this home until they are locked."""

    async def lock_root(self, group: str) -> root_schema.RootKeys:
        """Forget the passphrase of the root keys in this home."""

    # --- explaining ---

    async def audit(self, group: str, query: schema.Page) -> authority_schema.Audit:
        """One page of all acts, with what became of them."""

    async def why_member(self, group: str, name: str) -> authority_schema.WhyMember:
        """Why somebody is a member or not, also one that was a member once."""

    async def why_record(self, group: str, record_id: str) -> authority_schema.WhyRecord:
        """Why a record is as it is."""

    # --- records ---

    async def records(self, group: str, query: record_schema.RecordsQuery) -> record_schema.Records:
        """One page of records."""

    async def search_records(self, group: str, wish: record_schema.RecordSearch) -> record_schema.Records:
        """One page of what a search finds. Raises also RuleError `invalid-search`."""

    async def record(
        self, group: str, record_id: str, query: record_schema.RecordQuery
    ) -> record_schema.Record:
        """One record; `record_id` may be an unambiguous beginning, here and below."""

    async def record_data(self, group: str, record_id: str) -> tuple[str, bytes]:
        """The version id of a record, and its data."""

    async def add_record(self, group: str, wish: record_schema.RecordAdd) -> record_schema.Record:
        """Write a new record. With `wait_replicated` it may be durable here, and still be `not-replicated`;
        so too for the other writes.
        """

    async def change_record(
        self, group: str, record_id: str, wish: record_schema.RecordChange
    ) -> record_schema.Record:
        """Write a new version of a record."""

    async def set_record_data(
        self, group: str, record_id: str, data: bytes, query: record_schema.WriteQuery
    ) -> record_schema.Record:
        """Write a new version of a record with other data."""

    async def delete_record(
        self, group: str, record_id: str, query: record_schema.WriteQuery
    ) -> record_schema.RecordDeleted:
        """Write that a record is deleted."""

    async def export_group(self, group: str) -> Download:
        """All acts and records of a group as one file, checked that there is something to export."""

    async def import_group(self, group: str, upload: Upload) -> record_schema.Imported:
        """Take in such a file as if it came from the network. Raises also RuleError `wrong-group`, and
        `invalid-database` for one that is damaged: what stood before the damage is taken in.
        """
