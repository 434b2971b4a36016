"""The part of the small world in which things are taken away and explained."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from msgspec.structs import asdict, replace

from peerd.control import authority_schema, record_schema, schema
from protocol.errors import RuleError

_RemovalKind = Literal["revoke_credential", "revoke_key", "resign", "annul"]


def hex_of(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class FakeAuthority:
    """A part of `FakeOperations`, which has what is left open here."""

    issued: dict[str, list[schema.Credential]]
    group_name: Any
    member: Any
    credential: Any
    disconnect_group: Any
    acts: Any
    _record: Any

    async def revoke_member(
        self, group: str, name: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        held = (await self.member(group, name)).credentials
        return self._removed(group, "revoke_key" if wish.for_ever else "revoke_credential", name, held, wish)

    async def revoke_credential(
        self, group: str, grant_id: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        one = (await self.credential(group, grant_id)).credential
        return self._removed(group, "revoke_credential", one.subject, [one], wish)

    async def annul_act(
        self, group: str, act_id: str, wish: authority_schema.Annulment
    ) -> authority_schema.Removal:
        name = self.group_name(group)
        if len(act_id) != 64:
            raise RuleError("invalid-argument", "There is no such act.", hint="peerd audit GROUP")
        return self._removed(name, "annul", None, [], wish)

    async def leave_group(self, name: str, wish: authority_schema.GroupLeave) -> authority_schema.Removal:
        group = await self.disconnect_group(name)
        return self._removed(group.group, "resign", group.peer_name, [], wish)

    def _removed(
        self, group: str, kind: _RemovalKind, subject: str | None, held: list[schema.Credential], wish: object
    ) -> authority_schema.Removal:
        name, dry_run = self.group_name(group), getattr(wish, "dry_run", False)
        if not dry_run:
            self.issued[name] = [replace(one, live=one not in held) for one in self.issued[name]]
        return authority_schema.Removal(
            group=name,
            kind=kind,
            act_id=None if dry_run else hex_of("act", name, kind),
            subject=subject,
            credentials=list(held),
            members_lost=[] if subject is None else [subject],
            members_back=[],
            void_acts=len(held) if dry_run else 0,
            void_removals=[],
        )

    # --- explaining ---

    async def audit(self, group: str, query: schema.Page) -> authority_schema.Audit:
        page = await self.acts(group, query)
        acts = [
            authority_schema.AuditedAct(
                **asdict(act), effective=True, rule=None, because=[], hit_by=[], reason="", findings=[]
            )
            for act in page.acts
        ]
        return authority_schema.Audit(acts=acts, next=page.next)

    async def why_member(self, group: str, name: str) -> authority_schema.WhyMember:
        found = (await self.member(group, name)).credentials
        return authority_schema.WhyMember(
            group=self.group_name(group),
            subject=name,
            member=True,
            grants=[
                authority_schema.WhyGrant(credential=one, verdict="current", rule=None, acts=[], path=[one])
                for one in found
            ],
        )

    async def why_record(self, group: str, record_id: str) -> authority_schema.WhyRecord:
        found: record_schema.Record = self._record(group, record_id)
        version = authority_schema.WhyVersion(
            version_id=found.version_id,
            modified_by=found.modified_by,
            modified=found.modified,
            kept=True,
            rules=[],
            grant=None,
        )
        return authority_schema.WhyRecord(
            group=found.group, record_id=found.record_id, creator=found.creator, versions=[version]
        )
