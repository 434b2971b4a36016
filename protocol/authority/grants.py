"""A grant as the rest of the house sees it: the facts of one GRANT act, without its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.authority.acts import Act
from protocol.authority.bodies import GrantBody
from protocol.credentials.certificates import GmcFacts, serial_of
from protocol.credentials.keys import PublicKey, public_key_untrusted
from protocol.credentials.names import PeerName, parse_peer_name
from protocol.errors import RuleError, malformed
from protocol.ids import authority_of
from protocol.peer_time import Window


@dataclass(frozen=True, slots=True)
class Grant:
    """Who was granted what, by whom, until when. `act_id` is the grant id that users see."""

    act_id: bytes
    gid: bytes
    author: bytes
    author_level: int
    chain: bytes
    seq: int
    hlc: int
    cred: bytes
    key: PublicKey
    peer_name: PeerName
    friendly_name: str
    level: int
    roles: tuple[int, ...]
    window: Window
    wanted: int
    stored: bool
    der_hash: bytes
    renews: bytes | None

    @property
    def pid(self) -> bytes:
        """The subject's pid (32 bytes)."""
        return self.key.pid

    @property
    def serial(self) -> int:
        """The serial number of the GMC."""
        return serial_of(self.author, self.chain, self.seq, self.pid)

    def rank(self) -> tuple[int, int, bytes]:
        """The order of "current": smallest level, then latest start, then act id (design section 5). The
        smallest rank wins.
        """
        return (self.level, -self.window.start, self.act_id)

    def gmc_facts(self, issuer: PublicKey) -> GmcFacts:
        """What the GMC that goes with this grant must say."""
        return GmcFacts(
            gid=self.gid,
            level=self.level,
            roles=self.roles,
            peer_name=str(self.peer_name),
            window=self.window,
            serial=self.serial,
            subject=self.key,
            issuer=issuer,
            issuer_is_root=self.author_level == 0,
        )


def best_first(grants: Iterable[Grant], at_s: int) -> list[Grant]:
    """Those whose window holds at a second UTC, by the rule for "current", then the others, latest start
    first.
    """
    return sorted(
        grants,
        key=lambda grant: (
            (0, *grant.rank())
            if grant.window.holds(at_s)
            else (1, -grant.window.start, grant.level, grant.act_id)
        ),
    )


def read_untrusted_grant(act: Act) -> Grant:
    """The facts of a GRANT act, its names and key checked. Raises: RemoteProtocolError, and nothing else."""
    body, place = act.body, act.place
    if not isinstance(body, GrantBody):
        raise malformed("not a GRANT")
    if place.cred is None:
        raise malformed("a GRANT names the credential that it is signed under")
    key = public_key_untrusted(body.key)
    try:
        name = parse_peer_name(body.name)
    except RuleError as error:
        raise malformed(error.detail) from None
    if name.authority != authority_of(key.pid):
        raise malformed("the peer name is not the key's")
    return Grant(
        act_id=act.id,
        gid=place.gid,
        author=place.author,
        author_level=place.level,
        chain=place.chain,
        seq=place.seq,
        hlc=place.hlc,
        cred=place.cred,
        key=key,
        peer_name=name,
        friendly_name=body.friendly,
        level=body.level,
        roles=tuple(body.roles),
        window=Window(body.start, body.end),
        wanted=body.wanted,
        stored=body.store,
        der_hash=body.der,
        renews=body.renews,
    )
