"""A small world behind the control API: identities, groups and credentials that are lists in memory.

It refuses what the real one refuses, under the same names, as far as the API's tests need it.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from msgspec import UNSET
from msgspec.structs import asdict, replace

from peerd.control import record_schema, root_schema, schema
from peerd.control.events import EventBell
from peerd.control.limits import RECORD_DATA_SHOWN_BYTES_MAX
from peerd.control.operations import ALL_EVENTS, Download, EventPage, Selection, Upload
from peerd.errors import Conflict, NotFound, NotReady
from protocol.errors import RuleError
from tests.peerd.control.fake_authority import FakeAuthority, hex_of
from tests.peerd.control.fake_root import FakeRoot

NOW_S = 1_790_000_000
NOW = schema.time_at(NOW_S)
LIFE_S = 90 * 86_400
RECOVERY_KEY = "-".join(["AAAA"] * 14)


class FakeEvents:
    """A log that keeps the newest `kept_max` events; a cursor is a number."""

    def __init__(self, bell: EventBell, kept_max: int = 1_000) -> None:
        self.bell = bell
        self.kept_max = kept_max
        self.kept: list[schema.Event] = []
        self.count = 0

    def add(self, kind: str, group: str | None = None, **facts: object) -> schema.Event:
        """Commit one event and ring."""
        self.count += 1
        event = schema.Event(cursor=str(self.count), kind=kind, time=NOW, group=group, facts=facts)
        self.kept = [*self.kept, event][-self.kept_max :]
        self.bell.ring()
        return event

    def start(self) -> str:
        return str(self.count - len(self.kept))

    def end(self) -> str:
        return str(self.count)

    def after(self, cursor: str, limit: int, selection: Selection = ALL_EVENTS) -> EventPage:
        if not (cursor.isascii() and cursor.isdecimal()) or len(cursor) > 18 or int(cursor) > self.count:
            raise RuleError("invalid-argument", "This is no cursor of this daemon's.")
        first = self.count - len(self.kept)
        lagged = int(cursor) < first
        position = max(int(cursor), first)
        seen = self.kept[position - first : position - first + limit]
        events = [one for one in seen if selection.wants(one.kind, one.group, partial(getattr, one, "facts"))]
        return EventPage(events, seen[-1].cursor if seen else str(position), lagged)


class FakeOperations(FakeAuthority, FakeRoot):
    """`Operations` in memory."""

    def __init__(self, bell: EventBell | None = None, *, kept_max: int = 1_000) -> None:
        self.bell = bell or EventBell()
        self.log = FakeEvents(self.bell, kept_max)
        self.all_identities: dict[str, schema.Identity] = {}
        self.all_groups: dict[str, schema.Group] = {}
        self.all_properties: dict[str, schema.Properties] = {}
        self.issued: dict[str, list[schema.Credential]] = {}
        self.all_records: dict[str, dict[str, record_schema.Record]] = {}
        self.all_data: dict[str, bytes] = {}
        self.neighbors = 1
        self.imported: list[bytes] = []
        self.tokens: list[str] = []
        self.fail_with: Exception | None = None

    @property
    def events(self) -> FakeEvents:
        return self.log

    def _check(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with

    def api(self) -> schema.Api:
        self._check()
        return schema.Api(version="0.1.0", api_extensions=[], pid=1, started=NOW)

    async def status(self) -> schema.Status:
        return schema.Status(
            version="0.1.0",
            pid=1,
            started=NOW,
            home="/home/ada/peerd",
            addresses=["127.0.0.1:3587"],
            versions={"python": "3.11"},
            health="healthy",
            findings=[],
            identities=len(self.all_identities),
            groups=list(self.all_groups.values()),
            cursor=self.log.end(),
        )

    async def health(self) -> schema.Health:
        return schema.Health(health="healthy", findings=[])

    async def metrics(self) -> bytes:
        return b"# TYPE peerd_groups gauge\npeerd_groups 0.0\n"

    # --- identities ---

    def identities(self) -> schema.Identities:
        return schema.Identities(identities=sorted(self.all_identities.values(), key=lambda i: i.peer_name))

    def identity(self, name: str) -> schema.Identity:
        def missing(detail: str) -> Exception:
            return RuleError("identity-not-found", detail, hint="peerd identity list")

        return self.all_identities[_resolve(name, self.all_identities, missing)]

    def identity_document(self, name: str) -> schema.IdentityDocument:
        return schema.IdentityDocument(
            peer_name=self.identity(name).peer_name, document="<PEERIDENTITYINFO/>"
        )

    async def create_identity(self, wish: schema.IdentityCreate) -> schema.Identity:
        _check_names(wish.classifier, wish.friendly_name)
        key = hex_of("identity", str(len(self.all_identities)))
        identity = schema.Identity(
            peer_name=f"{key[:40]}.{wish.classifier}",
            friendly_name=wish.friendly_name,
            public_key=base64.urlsafe_b64encode(bytes.fromhex(key)).decode().rstrip("="),
            created=NOW,
            groups=[],
        )
        self.all_identities[identity.peer_name] = identity
        self.log.add("identity-created", peer_name=identity.peer_name)
        return identity

    async def change_identity(self, name: str, wish: schema.IdentityChange) -> schema.Identity:
        _check_names("", wish.friendly_name)
        changed = replace(self.identity(name), friendly_name=wish.friendly_name)
        self.all_identities[changed.peer_name] = changed
        return changed

    async def delete_identity(self, name: str) -> schema.Identity:
        identity = self.identity(name)
        if any(group.peer_name == identity.peer_name for group in self.all_groups.values()):
            raise Conflict("A group is open under it.", code="identity-in-use", hint="peerd group list")
        del self.all_identities[identity.peer_name]
        return replace(identity, deleted=True)

    # --- groups ---

    async def groups(self) -> schema.Groups:
        return schema.Groups(groups=list(self.all_groups.values()))

    async def group(self, name: str) -> schema.Group:
        return self.all_groups[self.group_name(name)]

    def group_name(self, name: str) -> str:
        def missing(detail: str) -> Exception:
            return NotFound(detail, code="group-not-found", hint="peerd group list")

        return _resolve(name, self.all_groups, missing)

    def make_recovery_key(self, wish: root_schema.RecoveryDraw) -> schema.RecoveryKey:
        self.tokens.append(hex_of("token", str(len(self.tokens)))[:32])
        return schema.RecoveryKey(
            recovery_key=RECOVERY_KEY,
            recovery_token=self.tokens[-1],
            expires=schema.time_at(NOW_S + 600),
            recovery_keys=[RECOVERY_KEY] * wish.keys,
            recovery_set=f"{wish.threshold} of A",
        )

    async def create_group(self, wish: schema.GroupCreate) -> schema.Group:
        _check_names(wish.classifier, wish.friendly_name)
        if wish.recovery_token not in self.tokens:
            raise RuleError("invalid-argument", "The recovery token is not known.", hint="ask for a new one")
        creator = self.identity(wish.identity or next(iter(self.all_identities), "none"))
        self.tokens.remove(wish.recovery_token)
        gid = hex_of("group", str(len(self.all_groups)))
        group = self._group(
            f"{gid[:40]}.{wish.classifier}", gid, wish.friendly_name, creator.peer_name, "open"
        )
        self.all_properties[group.group] = schema.Properties(
            group=group.group,
            classifier=wish.classifier,
            friendly_name=wish.friendly_name,
            comment=wish.comment,
            default_life_s=wish.default_life_s or LIFE_S,
            renew_auto=True,
            renew_left=3,
            renew_valid_s=0,
            renew_unseen_s=30 * 86_400,
            modified=NOW,
        )
        return group

    async def join_group(self, wish: schema.GroupJoin) -> schema.Group:
        if (wish.invitation is None) == (wish.group is None):
            raise RuleError("invalid-argument", "Give one of invitation and group.")
        if wish.invitation is not None:
            raise RuleError("invitation-not-trusted", "This is no invitation.")
        own = self.identity(wish.identity or next(iter(self.all_identities), "none"))
        name = wish.group or ""
        if len(name) < 41 or name[40] != ".":
            raise RuleError("invalid-peer-name", "This is no group name.")
        return self.all_groups.get(name) or self._group(name, None, "", own.peer_name, "joining")

    def _group(self, name: str, gid: str | None, friendly: str, own: str, state: str) -> schema.Group:
        assert state in ("open", "joining")
        group = schema.Group(
            group=name,
            gid=gid,
            classifier=name[41:],
            friendly_name=friendly,
            peer_name=own,
            state="open" if state == "open" else "joining",
            connected=True,
            only=False,
            addresses=[],
            node_id="0" * 32,
            neighbors=[],
            synchronized=True,
            members=1,
            acts=2,
            digest="0" * 32,
            records=0,
            synchronizing=None,
            credential=None,
        )
        self.all_groups[name] = group
        self.issued[name] = []
        self.all_records[name] = {}
        self.log.add("group-opened", group=name)
        return group

    async def connect_group(self, name: str, wish: schema.GroupConnect) -> schema.Group:
        group = replace(await self.group(name), connected=True, only=wish.only, addresses=wish.addresses)
        self.all_groups[group.group] = group
        return group

    async def disconnect_group(self, name: str) -> schema.Group:
        group = replace(await self.group(name), connected=False)
        self.all_groups[group.group] = group
        return group

    async def delete_group(self, name: str) -> schema.GroupDeleted:
        full = self.group_name(name)
        del self.all_groups[full]
        return schema.GroupDeleted(group=full)

    async def properties(self, group: str) -> schema.Properties:
        name = self.group_name(group)
        if name not in self.all_properties:
            raise RuleError("group-not-ready", "The group's genesis has not arrived.")
        return self.all_properties[name]

    async def change_properties(self, group: str, wish: schema.PropertiesChange) -> schema.Properties:
        given = {name: value for name, value in asdict(wish).items() if value is not UNSET}
        del given["passphrase"]
        changed = replace(await self.properties(group), **given)
        self.all_properties[changed.group] = changed
        return changed

    # --- credentials ---

    async def credentials(self, group: str, query: schema.CredentialsQuery) -> schema.Credentials:
        found = self.issued[self.group_name(group)]
        if query.subject is not None:
            found = [credential for credential in found if credential.subject == query.subject]
        part, following = _part(found, query)
        return schema.Credentials(credentials=part, next=following)

    async def credential(self, group: str, grant_id: str) -> schema.CredentialChain:
        for credential in self.issued[self.group_name(group)]:
            if credential.grant_id.startswith(grant_id):
                return schema.CredentialChain(credential=credential, chain=[])
        raise NotFound("No grant has this id.", code="credential-not-found", hint="peerd credential list")

    async def issue(
        self, group: str, wishes: Sequence[schema.CredentialIssue]
    ) -> Sequence[schema.CredentialIssued]:
        name = self.group_name(group)
        issued = [self._issue(name, wish, number) for number, wish in enumerate(wishes)]
        self.issued[name] += [one.credential for one in issued]
        for one in issued:
            self.log.add("credential-issued", group=name, grant_id=one.credential.grant_id)
        return issued

    def _issue(self, group: str, wish: schema.CredentialIssue, number: int) -> schema.CredentialIssued:
        if not (wish.subject or wish.document):
            raise RuleError("identity-not-found", "No subject is named.")
        if wish.role not in (None, "admin", "inviting_member", "member"):
            raise RuleError("invalid-role", "There is no such role.", hint="admin, inviting_member or member")
        start = wish.not_before or NOW
        end = wish.not_after or schema.time_at(NOW_S + (wish.valid_s or LIFE_S))
        if schema.seconds_at(end) <= schema.seconds_at(start):
            raise RuleError("invalid-time-period", "It would end before it begins.")
        grant_id = hex_of("grant", group, str(len(self.issued[group]) + number))
        credential = self._credential(group, wish, grant_id, start, end)
        return schema.CredentialIssued(
            credential=credential, invitation="<PEERINVITATION/>" if wish.invitation else None
        )

    def _credential(
        self, group: str, wish: schema.CredentialIssue, grant_id: str, start: datetime, end: datetime
    ) -> schema.Credential:
        return schema.Credential(
            grant_id=grant_id,
            group=group,
            subject=wish.subject or f"{'0' * 40}.",
            friendly_name=wish.friendly_name or "",
            issuer=self.all_groups[group].peer_name,
            issuer_friendly_name="",
            roles=[wish.role or "member"],
            level=255,
            issued=NOW,
            not_before=start,
            not_after=end,
            serial="01",
            stored=wish.store,
            held=True,
            live=True,
            current=True,
        )

    def parse_invitation(self, wish: schema.InvitationParse) -> schema.InvitationContents:
        raise RuleError("invitation-not-trusted", f"{len(wish.invitation)} characters are no invitation.")

    # --- members and acts ---

    async def members(self, group: str, query: schema.Page) -> schema.Members:
        subjects = sorted({credential.subject for credential in self.issued[self.group_name(group)]})
        part, following = _part(subjects, query)
        return schema.Members(members=[self._member(group, name) for name in part], next=following)

    async def member(self, group: str, name: str) -> schema.MemberCredentials:
        found = [c for c in self.issued[self.group_name(group)] if c.subject == name]
        if not found:
            raise NotFound("No credential names it.", code="member-not-found", hint="peerd member list")
        return schema.MemberCredentials(member=self._member(group, name), credentials=found[::-1])

    def _member(self, group: str, name: str) -> schema.Member:
        latest = next(c for c in reversed(self.issued[self.group_name(group)]) if c.subject == name)
        return schema.Member(
            peer_name=name,
            friendly_name=latest.friendly_name,
            state="member",
            roles=latest.roles,
            level=latest.level,
            not_before=latest.not_before,
            not_after=latest.not_after,
            issuer=latest.issuer,
            grant_id=latest.grant_id,
            public_key="",
            own=False,
            neighbor=False,
        )

    async def acts(self, group: str, query: schema.Page) -> schema.Acts:
        part, following = _part(self.issued[self.group_name(group)], query)
        acts = [
            schema.Act(
                act_id=credential.grant_id,
                kind="grant",
                author="0" * 64,
                peer_name=credential.issuer,
                subject=credential.subject,
                chain="0" * 32,
                seq=number,
                level=1,
                time=NOW,
            )
            for number, credential in enumerate(part)
        ]
        return schema.Acts(acts=acts, next=following)

    # --- records ---

    async def records(self, group: str, query: record_schema.RecordsQuery) -> record_schema.Records:
        found = list(self.all_records[self.group_name(group)].values())
        if query.record_type is not None:
            found = [record for record in found if record.record_type == query.record_type]
        if query.creator is not None:
            found = [record for record in found if record.creator == query.creator]
        part, following = _part(found, query)
        return record_schema.Records(records=part, next=following)

    async def search_records(self, group: str, wish: record_schema.RecordSearch) -> record_schema.Records:
        if (wish.query is None) == (wish.xml is None):
            raise RuleError("invalid-argument", "Give one of query and xml.")
        if wish.xml is not None or wish.query not in ("", "all"):
            raise RuleError("invalid-search", "This is no search.", hint="peerd record search --help")
        return await self.records(group, record_schema.RecordsQuery(cursor=wish.cursor, limit=wish.limit))

    async def record(
        self, group: str, record_id: str, query: record_schema.RecordQuery
    ) -> record_schema.Record:
        found = self._record(group, record_id)
        wanted = found.size <= RECORD_DATA_SHOWN_BYTES_MAX if query.data is None else query.data
        data = self.all_data[found.version_id]
        return replace(found, data=base64.urlsafe_b64encode(data).decode().rstrip("=")) if wanted else found

    def _record(self, group: str, record_id: str) -> record_schema.Record:
        known = self.all_records[self.group_name(group)]
        found = [one for one in known if one.startswith(record_id)]
        if len(found) > 1:
            raise Conflict("It fits several.", code="ambiguous-name")
        if not found:
            raise RuleError("record-not-found", "No record has this id.", hint="peerd record list GROUP")
        return known[found[0]]

    async def record_data(self, group: str, record_id: str) -> tuple[str, bytes]:
        version_id = self._record(group, record_id).version_id
        return version_id, self.all_data[version_id]

    async def add_record(self, group: str, wish: record_schema.RecordAdd) -> record_schema.Record:
        name = self.group_name(group)
        if not wish.record_type.isascii() or not 0 < len(wish.record_type) <= 64:
            raise RuleError("invalid-record", "This is no type.")
        record_id = hex_of("record", name, str(len(self.all_records[name])))[:32]
        end = wish.expires if wish.valid_s is None else schema.time_at(NOW_S + wish.valid_s)
        record = record_schema.Record(
            record_id=record_id,
            group=name,
            record_type=wish.record_type,
            version_id="",
            version=0,
            creator=self.all_groups[name].peer_name,
            modified_by="",
            created=NOW,
            modified=NOW,
            expires=end,
            durable=end is None,
            auto_refresh=wish.auto_refresh,
            attributes=dict(wish.attributes),
            size=0,
            data_held=True,
        )
        return self._written(record, _decoded(wish.data), wish, "record-added")

    async def change_record(
        self, group: str, record_id: str, wish: record_schema.RecordChange
    ) -> record_schema.Record:
        before = self._expected(group, record_id, wish.if_version)
        after = before if wish.attributes is UNSET else replace(before, attributes=dict(wish.attributes))
        data = self.all_data[before.version_id] if wish.data is UNSET else _decoded(wish.data)
        return self._written(after, data, wish, "record-changed")

    async def set_record_data(
        self, group: str, record_id: str, data: bytes, query: record_schema.WriteQuery
    ) -> record_schema.Record:
        before = self._expected(group, record_id, query.if_version)
        return self._written(before, data, query, "record-changed")

    async def delete_record(
        self, group: str, record_id: str, query: record_schema.WriteQuery
    ) -> record_schema.RecordDeleted:
        gone = self._expected(group, record_id, query.if_version)
        replicated = self._replicated(query)
        del self.all_records[gone.group][gone.record_id]
        return record_schema.RecordDeleted(
            record_id=gone.record_id, group=gone.group, version_id=gone.version_id, replicated=replicated
        )

    def _expected(self, group: str, record_id: str, if_version: str | None) -> record_schema.Record:
        found = self._record(group, record_id)
        if if_version not in (None, found.version_id):
            raise RuleError("version-conflict", "It has a newer version.", hint="peerd record get")
        return found

    def _written(self, record: record_schema.Record, data: bytes, wish: _Write, kind: str):
        if len(data) > 1024 * 1024:
            raise RuleError("record-too-large", "Data have at most 1 MiB.")
        version_id = hex_of("version", record.record_id, str(record.version + 1))
        written = replace(
            record,
            version_id=version_id,
            version=record.version + 1,
            modified_by=record.creator,
            size=len(data),
        )
        self.all_records[record.group][record.record_id] = written
        self.all_data[version_id] = data
        self.log.add(kind, group=record.group, record_id=record.record_id, record_type=record.record_type)
        return replace(written, replicated=self._replicated(wish))

    def _replicated(self, wish: _Write) -> int | None:
        if wish.wait_replicated > self.neighbors:
            raise NotReady("Too few neighbors hold it.", code="not-replicated", hint="peerd status")
        return self.neighbors if wish.wait_replicated else None

    async def export_group(self, group: str) -> Download:
        name = self.group_name(group)

        async def run(send: Callable[[bytes], Awaitable[None]]) -> None:
            await send(b"export of ")
            await send(name.encode())
            if self.fail_with is not None:
                raise self.fail_with

        return run

    async def import_group(self, group: str, upload: Upload) -> record_schema.Imported:
        name = self.group_name(group)
        while part := await upload():
            self.imported.append(part)
            if part.startswith(b"damaged"):
                raise RuleError("invalid-database", "It is damaged at its beginning.")
        if b"".join(self.imported[-1:]).endswith(b".other"):
            raise RuleError("wrong-group", "This is an export of another group.")
        return record_schema.Imported(group=name, elements=0, records=len(self.imported), refused=0)


_Write = record_schema.RecordAdd | record_schema.RecordChange | record_schema.WriteQuery


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        raise RuleError("invalid-argument", "This is no base64url.") from None


def _resolve(name: str, known: dict, missing: Callable[[str], Exception]) -> str:
    if name in known:
        return name
    found = [full for full in known if full.startswith(name) or full[41:] == name]
    if len(found) > 1:
        raise Conflict(f"{name!r} fits {len(found)} names.", code="ambiguous-name", hint="write more of it")
    if not found:
        raise missing(f"{name!r} fits no name.")
    return found[0]


def _check_names(classifier: str, friendly_name: str) -> None:
    if len(classifier) > 149:
        raise RuleError("classifier-too-long", "A classifier has at most 149 characters.")
    if not classifier.isprintable():
        raise RuleError("invalid-classifier", "A classifier has no control characters.")
    if len(friendly_name) > 255 or not friendly_name.isprintable():
        raise RuleError("invalid-friendly-name", "At most 255 characters, none of them a control character.")


def _part(items: Sequence, query: schema.Page) -> tuple[list, str | None]:
    cursor = query.cursor or "0"
    if not (cursor.isascii() and cursor.isdecimal()) or len(cursor) > 18:
        raise RuleError("invalid-argument", "This is no cursor.")
    start = int(cursor)
    following = str(start + query.limit) if start + query.limit < len(items) else None
    return list(items[start : start + query.limit]), following
