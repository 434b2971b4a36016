"""What a user can do with credentials: issue them, look at them, read invitations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from peerd.control import schema
from peerd.control.schema import end_at, seconds_at, time_at
from peerd.errors import Conflict, NotFound
from peerd.gossip.offload import Offload
from peerd.groups import invitations
from peerd.groups.open_group import OpenGroup
from peerd.groups.paging import page_of
from peerd.groups.people import former_pid
from peerd.groups.registry import Registry
from peerd.groups.rendering import credential, pem_of
from peerd.lookup import find_meant, find_name
from protocol.authority.act_set import ActSet
from protocol.authority.bundle import decode_untrusted_bundle, make_bundle
from protocol.authority.grants import Grant
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.authority.view import View
from protocol.credentials.addresses import check_address
from protocol.credentials.certificates import Certificate
from protocol.credentials.documents import read_identity_document
from protocol.credentials.keys import PublicKey
from protocol.credentials.names import PeerName, parse_peer_name
from protocol.credentials.roles import role_codes, role_names
from protocol.errors import RuleError
from protocol.machines.events import Issue, Issued


class CredentialCases:
    """Credentials of the open groups."""

    def __init__(self, registry: Registry) -> None:
        """Finds groups in the registry."""
        self._registry = registry

    async def issue(
        self, group: str, wishes: Sequence[schema.CredentialIssue]
    ) -> Sequence[schema.CredentialIssued]:
        """Issue all of them in one transaction, or none."""
        opened = self._registry.ready(group)
        if not all(wish.as_root for wish in wishes):
            self._registry.identities.reread_key(opened.entry.identity)
        requests = await requested(opened, wishes, self._registry.environment.offload)
        as_root = [wish for wish in wishes if wish.as_root]
        passphrase = next((wish.passphrase for wish in as_root if wish.passphrase is not None), None)
        root = await self._registry.root_key(opened, passphrase) if as_root else None
        issued = cast("tuple[Issued, ...]", await opened.node.runner.submit(Issue(requests, root)))
        return await opened.node.runner.ask(lambda _: [self._issued(opened, one) for one in issued])

    def _issued(self, opened: OpenGroup, issued: Issued) -> schema.CredentialIssued:
        view = opened.machine.members.view
        admitted = view.admitted(issued.grant_id)
        assert admitted is not None
        assert admitted.grant is not None
        xml = None
        if issued.bundle:
            bundle = decode_untrusted_bundle(issued.bundle, authority=view.gid)
            xml = invitations.write(bundle, view.properties.friendly, self._addresses(opened))
        return schema.CredentialIssued(credential=self._shown(opened, admitted.grant), invitation=xml)

    def _addresses(self, opened: OpenGroup) -> list[str]:
        """Where the invited can ask: here, and where our neighbors say they are, if that is an address."""
        told = (*self._registry.environment.reachable, *opened.machine.links.referrals())
        return [address for address in dict.fromkeys(told) if _is_address(address)]

    def _shown(self, opened: OpenGroup, grant: Grant) -> schema.Credential:
        at_s = self._registry.environment.clock.moment().utc_s
        return credential(opened.machine.members.view, opened.entry.group_name, grant, at_s)

    # --- looking --------------------------------------------------------------------------------------------

    async def credentials(self, group: str, query: schema.CredentialsQuery) -> schema.Credentials:
        """One page of credentials, by time of issue."""
        opened = self._registry.ready(group)
        view = opened.machine.members.view

        def read(_: ActSet) -> schema.Credentials:
            pids = view.subjects() if query.subject is None else [pid_of(view, query.subject)]
            grants = sorted((grant for pid in pids for grant in view.live_grants(pid)), key=_position)
            part, following = page_of(grants, _position, query)
            return schema.Credentials(
                credentials=[self._shown(opened, grant) for grant in part], next=following
            )

        return await opened.node.runner.ask(read)

    async def credential(self, group: str, grant_id: str) -> schema.CredentialChain:
        """One credential with its certificates; `grant_id` may be an unambiguous beginning."""
        opened = self._registry.ready(group)

        def read(store: ActSet) -> schema.CredentialChain:
            view = opened.machine.members.view
            grant = grant_meant(view, grant_id)
            raw = make_bundle(view, grant, store.get)
            chain = [] if raw is None else decode_untrusted_bundle(raw, authority=view.gid).chain
            return schema.CredentialChain(
                credential=self._shown(opened, grant),
                chain=[pem_of(certificate.der) for certificate in chain],
            )

        return await opened.node.runner.ask(read)

    def parse_invitation(self, wish: schema.InvitationParse) -> schema.InvitationContents:
        """Look into an invitation after checking its signatures."""
        invitation, bundle = invitations.read(wish.invitation)
        leaf = bundle.leaf
        group = invitations.group_name(bundle)
        issuer = group if len(bundle.path) == 1 else str(bundle.path[-2].peer_name)
        own = [identity.peer_name for identity in self._registry.identities.all()]
        return schema.InvitationContents(
            group=group,
            gid=bundle.gid.hex(),
            group_friendly_name=invitation.group_friendly_name,
            subject=str(leaf.peer_name),
            friendly_name=leaf.friendly_name,
            issuer=issuer,
            roles=list(role_names(leaf.roles)),
            level=leaf.level,
            not_before=time_at(leaf.window.start),
            not_after=end_at(leaf.window.end),
            serial=f"{leaf.serial:x}",
            grant_id=leaf.act_id.hex(),
            addresses=list(invitation.addresses),
            own=str(leaf.peer_name) in own,
        )


def _is_address(text: str) -> bool:
    """Whether what a neighbor told of itself can stand in an invitation."""
    try:
        check_address(text)
    except RuleError:
        return False
    return True


def _position(grant: Grant) -> str:
    return f"{grant.hlc:016x}{grant.act_id.hex()}"


def grant_meant(view: View, grant_id: str) -> Grant:
    """The live grant that a person means by its id or a beginning of it. Raises: NotFound, Conflict."""
    return _meant([grant for pid in view.subjects() for grant in view.live_grants(pid)], grant_id)


def _meant(grants: Sequence[Grant], grant_id: str) -> Grant:
    fitting = (
        [grant for grant in grants if grant.act_id.hex().startswith(grant_id.lower())] if grant_id else []
    )
    if len(fitting) > 1:
        raise Conflict(
            f"“{grant_id}” fits {len(fitting)} credentials", code="ambiguous-name", hint="give more of the id"
        )
    if not fitting:
        raise NotFound(
            f"no credential “{grant_id}” is known here",
            code="credential-not-found",
            hint="peerd credential list GROUP, or peerd audit GROUP for those that are void",
        )
    return fitting[0]


def pid_of(view: View, subject: str) -> bytes:
    """The key of the member that a person means. Raises: NotFound(member-not-found), Conflict."""
    pid = find_meant(subject, _names(view))
    if pid is None:
        raise NotFound(
            f"no member “{subject}” is known here", code="member-not-found", hint="peerd member list GROUP"
        )
    return pid


def _names(view: View) -> dict[str, bytes]:
    """The key behind every name that anybody has or had."""
    return {str(grant.peer_name): pid for pid in view.subjects() for grant in view.live_grants(pid)}


async def requested(
    opened: OpenGroup, wishes: Sequence[schema.CredentialIssue], offload: Offload
) -> tuple[IssueRequest, ...]:
    """Wishes in the rules' own terms. Raises: RuleError, Conflict."""
    view, documents = opened.machine.members.view, await _documents(wishes, offload)
    return await opened.node.runner.ask(lambda _: _requests(wishes, documents, view))


async def _documents(wishes: Sequence[schema.CredentialIssue], offload: Offload) -> list[Certificate | None]:
    """The identity certificates that come with the wishes, each verified. Raises: RuleError."""
    texts = [wish.document for wish in wishes]
    if all(text is None for text in texts):
        return [None] * len(texts)
    return await offload(lambda: [None if text is None else read_identity_document(text) for text in texts])


def _requests(
    wishes: Sequence[schema.CredentialIssue], documents: Sequence[Certificate | None], view: View
) -> tuple[IssueRequest, ...]:
    """Wishes in the rules' own terms; `documents` came with them. Raises: RuleError, Conflict."""
    names = _names(view) if None in documents else {}
    return tuple(_request(wish, idc, view, names) for wish, idc in zip(wishes, documents, strict=True))


def _request(
    wish: schema.CredentialIssue, idc: Certificate | None, view: View, names: Mapping[str, bytes]
) -> IssueRequest:
    adopted = None if wish.adopt is None else _adopted(wish.adopt, view)
    if adopted is None:
        name, key = _subject(wish, idc, view, names)
    else:
        name, key = adopted.peer_name, adopted.key
    told = (wish.document, wish.role, wish.friendly_name, wish.not_before, wish.not_after, wish.valid_s)
    info = None
    if any(value is not None for value in told):
        info = CredentialInfo(
            friendly_name=wish.friendly_name,
            role=None if wish.role is None else role_codes([wish.role])[0],
            not_before=None if wish.not_before is None else seconds_at(wish.not_before),
            not_after=None if wish.not_after is None else seconds_at(wish.not_after),
            valid_s=wish.valid_s,
        )
    return IssueRequest(
        subject=name,
        key=key,
        info=info,
        store=wish.store,
        invitation=wish.invitation,
        as_root=wish.as_root,
        trust_clock=wish.trust_clock,
        replace=wish.replace,
        adopt=None if adopted is None else adopted.act_id,
    )


def _adopted(grant_id: str, view: View) -> Grant:
    """The grant that is to be stood in for, void or not. Raises: NotFound, Conflict."""
    admitted = (view.admitted(one) for one in view.grant_ids())
    return _meant([one.grant for one in admitted if one is not None and one.grant is not None], grant_id)


def _subject(
    wish: schema.CredentialIssue, idc: Certificate | None, view: View, names: Mapping[str, bytes]
) -> tuple[PeerName, PublicKey | None]:
    """Who is meant, and the key: that of the document, or that of a former member."""
    if idc is None:
        if not wish.subject:
            raise RuleError(
                "invalid-argument", "a subject is needed", hint="give a peer name, or an identity document"
            )
        name = _named(wish.subject, view, names)
        return name, _former_key(view, name)
    name = parse_peer_name(idc.peer_name)
    if wish.subject is not None and find_name(wish.subject, [idc.peer_name]) is None:
        raise RuleError(
            "key-mismatch",
            f"the identity document is that of {name}, not of {wish.subject}",
            hint="ask the subject for its document: peerd identity document",
        )
    return name, idc.key


def _named(subject: str, view: View, names: Mapping[str, bytes]) -> PeerName:
    """A known member by any form of its name, or a stranger by its full name."""
    pid = find_meant(subject, names)
    if pid is not None:
        return parse_peer_name(subject if subject in names else view.name_of(pid))
    pid = former_pid(view, subject)
    if pid is not None:
        return parse_peer_name(view.name_of(pid))
    try:
        return parse_peer_name(subject)
    except RuleError:
        raise RuleError(
            "identity-not-found",
            f"“{subject}” is neither a member known here nor a full peer name",
            hint="peerd member list GROUP shows the members; a stranger's document goes with --document FILE",
        ) from None


def _former_key(view: View, name: PeerName) -> PublicKey | None:
    """The key of somebody who was granted something once and holds nothing now: it is admitted anew."""
    pid = view.pid_ever(name.authority)
    if pid is None or view.pid_of(name.authority) is not None:
        return None
    return view.grants_ever(pid)[0].key
