"""Founding a group: its genesis, its root certificate, the creator's credential and the first properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.admission import Admitted
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.elements import Element, make_grc
from protocol.authority.issuers import Issuer
from protocol.authority.issuing import Plan, write_grant
from protocol.authority.root import Root, make_genesis, read_untrusted_genesis
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.credentials.names import PeerName, check_classifier, name_of_group
from protocol.credentials.roles import ADMIN
from protocol.limits import LEVEL_ROOT
from protocol.peer_time import Moment, hlc_at


@dataclass(frozen=True, slots=True)
class Founding:
    """A new group: what its root is, the first elements of AUTH, parents first, and the last act among
    them, after which this store goes on as the root.
    """

    root: Root
    elements: tuple[Element, ...]
    last: Act

    @property
    def group_name(self) -> str:
        """The group's full name."""
        return str(name_of_group(self.root.gid, self.root.classifier))


def found_group(
    *,
    grc: PrivateKey,
    creator: PublicKey,
    creator_name: PeerName,
    creator_friendly_name: str,
    classifier: str,
    properties: PropertiesBody,
    recovery: Sequence[PublicKey],
    nonce: bytes,
    now: Moment,
) -> Founding:
    """Sign a group into being; `nonce` is 32 random bytes. Raises: RuleError for a name that is not
    acceptable.

    The creator is an administrator of level 1 without an end (windows-grouping.md 3.5); the root signs that
    grant.
    """
    check_classifier(classifier)
    created = hlc_at(now.utc_ms)
    genesis = make_genesis(grc=grc, classifier=classifier, recovery=recovery, nonce=nonce, created=created)
    root = read_untrusted_genesis(genesis)
    issuer = Issuer.root(grc, root)
    chain = genesis.place.chain
    plan = Plan(
        key=creator,
        name=creator_name,
        friendly_name=creator_friendly_name,
        level=1,
        roles=(ADMIN,),
        window=root.window,
        wanted=0,
        stored=True,
        renews=None,
    )
    grant, der = write_grant(
        plan, issuer, Place(root.gid, root.gid, chain, 2, genesis.id, LEVEL_ROOT, genesis.id, created + 1)
    )
    first_properties = sign_act(
        Place(root.gid, root.gid, chain, 3, grant.id, LEVEL_ROOT, genesis.id, created + 2),
        Kind.PROPERTIES,
        properties,
        [grc],
    )
    grc_der = make_grc(Admitted(genesis.id, genesis.place, genesis.kind, None, root), grc)
    return Founding(root, (genesis, grc_der, grant, der, first_properties), first_properties)
