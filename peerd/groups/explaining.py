"""What a user can ask about the reasons: why somebody is a member or not, why a record counts, all acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal, cast

from msgspec.structs import asdict, replace

from peerd.control import authority_schema, schema
from peerd.control.schema import time_at_ms
from peerd.groups.open_group import OpenGroup
from peerd.groups.paging import page_of
from peerd.groups.people import person_pid
from peerd.groups.registry import Registry
from peerd.groups.rendering import act, credential
from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.bodies import ResignBody, RevokeBody
from protocol.authority.explain import Oddities, Standing, explain_grant, explain_person, oddities
from protocol.authority.grants import Grant
from protocol.authority.removal_proof import RemovalProof
from protocol.authority.view import Hit, View
from protocol.credentials.keys import public_key_untrusted
from protocol.errors import RuleError
from protocol.ids import authority_of
from protocol.machines.evidence import Finding as Found
from protocol.peer_time import hlc_ms
from protocol.records.record_set import RecordSet, State, Version

FindRecord = Callable[[OpenGroup, str], Awaitable[bytes]]
Verdict = Literal["current", "good", "void", "revoked", "undelivered", "not-begun", "ended"]
Finding = Literal["forked", "back-dated", "fallen", "used-elsewhere"]


class WhyCases:
    """Explanations in the open groups."""

    def __init__(self, registry: Registry, find_record: FindRecord) -> None:
        """Finds groups in the registry, and records as a person names them by `find_record`."""
        self._registry = registry
        self._find_record = find_record
        self._odd: dict[bytes, tuple[tuple[int, int], Oddities]] = {}

    def _teller(self, opened: OpenGroup, store: ActSet) -> Teller:
        at_s = self._registry.environment.clock.moment().utc_s
        view = opened.machine.members.view
        proofs = opened.machine.members.evidence.proofs()
        elsewhere = [act_id for one in proofs if one.finding is Found.USED_ELSEWHERE for act_id in one.acts]
        name, odd = opened.entry.group_name, self._oddities(view)
        return Teller(view, name, store, at_s, odd, frozenset(elsewhere))

    def _oddities(self, view: View) -> Oddities:
        """Worked out once for each state of the set, not for each page."""
        state = (len(view), view.generation)
        known = self._odd.get(view.gid)
        if known is None or known[0] != state:
            known = self._odd[view.gid] = (state, oddities(view))
        return known[1]

    async def audit(self, group: str, query: schema.Page) -> authority_schema.Audit:
        """One page of all acts, with what became of them."""
        opened = self._registry.ready(group)

        def read(store: ActSet) -> authority_schema.Audit:
            teller = self._teller(opened, store)
            numbered = [(f"{place:012d}", act_id) for place, act_id in enumerate(teller.view.act_ids())]
            part, following = page_of(numbered, lambda one: one[0], query)
            return authority_schema.Audit(acts=teller.acts(act_id for _, act_id in part), next=following)

        return await opened.node.runner.ask(read)

    async def why_member(self, group: str, name: str) -> authority_schema.WhyMember:
        """Why somebody is a member or not, also one that was a member once."""
        opened = self._registry.ready(group)

        def read(store: ActSet) -> authority_schema.WhyMember:
            teller, members = self._teller(opened, store), opened.machine.members
            pid = person_pid(teller.view, name)
            standings = explain_person(teller.view, pid, teller.at_s)
            grants = [teller.grant(one) for one in standings]
            removal = members.own_removal(teller.at_s) if pid == opened.machine.own.public.pid else None
            if removal is not None and (told := members.told_removal(removal)) is not None:
                taken = [members.is_told_revoked(one.grant) for one in standings]
                grants = [teller.as_told(*pair, told) for pair in zip(grants, taken, strict=True)]
            return authority_schema.WhyMember(
                group=teller.group,
                subject=teller.view.name_of(pid),
                member=any(one.verdict == "current" for one in grants),
                grants=grants,
            )

        return await opened.node.runner.ask(read)

    async def why_record(self, group: str, record_id: str) -> authority_schema.WhyRecord:
        """Why a record is as it is."""
        opened = self._registry.ready(group)
        found = await self._find_record(opened, record_id)

        def read(store: ActSet) -> authority_schema.WhyRecord:
            versions = cast("RecordSet", store).versions(found)
            if not versions:
                raise RuleError(
                    "record-not-found",
                    f"no record {found.hex()} is known here",
                    hint="peerd record list GROUP",
                )
            teller = self._teller(opened, store)
            newest_first = sorted(versions, key=lambda one: (one.hlc, one.id), reverse=True)
            return authority_schema.WhyRecord(
                group=teller.group,
                record_id=found.hex(),
                creator=teller.name(versions[0].creator),
                versions=[teller.version(one) for one in newest_first],
            )

        return await opened.node.runner.ask(read)


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts explanations into the words of the control API, for one moment of one group."""

    view: View
    group: str
    store: ActSet
    at_s: int
    odd: Oddities
    elsewhere: frozenset[bytes]  # acts on this node's own chains that it did not sign

    def name(self, pid: bytes) -> str:
        """The name of a key; of one that was never granted anything, its authority."""
        return self.view.name_of(pid) if self.view.grants_ever(pid) else authority_of(pid)

    def acts(self, act_ids: Iterable[bytes]) -> list[authority_schema.AuditedAct]:
        """These acts, as far as they are here."""
        found = ((act_id, self.store.get(act_id)) for act_id in act_ids)
        return [self._act(decode_untrusted_act(raw)) for _, raw in found if raw is not None]

    def _act(self, signed: Act) -> authority_schema.AuditedAct:
        view, odd, body = self.view, self.odd, signed.body
        why = view.why_void(signed.id)
        checks: tuple[tuple[bool, Finding], ...] = (
            (signed.id in odd.forked, "forked"),
            (signed.id in odd.backdated, "back-dated"),
            (signed.id in odd.fallen, "fallen"),
            (signed.id in self.elsewhere, "used-elsewhere"),
        )
        said = asdict(act(view, signed))
        if isinstance(body, RevokeBody):
            said["subject"] = self.name(public_key_untrusted(body.key).pid)
        elif isinstance(body, ResignBody):
            said["subject"] = self.name(signed.place.author)
        return authority_schema.AuditedAct(
            **said,
            effective=view.is_effective(signed.id),
            rule=None if why is None else why.rule,
            because=[] if why is None else [one.hex() for one in why.acts],
            hit_by=[one.hex() for one in view.hits_of(signed.id)],
            reason=body.reason if isinstance(body, RevokeBody | ResignBody) else "",
            findings=[finding for holds, finding in checks if holds],
        )

    def grant(self, one: Standing) -> authority_schema.WhyGrant:
        """How one grant stands."""
        because = one.hits if one.reason is None else one.reason.acts
        return authority_schema.WhyGrant(
            credential=self._credential(one.grant),
            verdict=cast("Verdict", one.verdict),
            rule=None if one.reason is None else one.reason.rule,
            acts=self.acts(because),
            path=[self._credential(grant) for grant in one.path],
        )

    def as_told(
        self, one: authority_schema.WhyGrant, taken: bool, told: RemovalProof
    ) -> authority_schema.WhyGrant:
        """How a credential of our own stands, given what we were told of its removal."""
        if not taken or one.verdict in ("void", "revoked"):
            return one
        by = str(told.path[-1].peer_name) if told.path else None
        removal = replace(self._act(told.removal), effective=True, peer_name=by)
        return replace(one, verdict="revoked", acts=[removal])

    def _credential(self, grant: Grant) -> schema.Credential:
        return credential(self.view, self.group, grant, self.at_s)

    def version(self, one: Version) -> authority_schema.WhyVersion:
        """How one version of a record stands."""
        admitted = self.view.admitted(one.cred)
        grant = None if admitted is None else admitted.grant
        return authority_schema.WhyVersion(
            version_id=one.id.hex(),
            modified_by=self.name(one.author),
            modified=time_at_ms(hlc_ms(one.hlc)),
            kept=one.state is State.KEPT,
            rules=[_rule(hit) for hit in self.view.data_hits(one.cred) or ()],
            grant=None if grant is None else self.grant(explain_grant(self.view, grant, self.at_s)),
        )


def _rule(hit: Hit) -> str:
    return f"{hit.rule} {hit.act_id.hex()}"
