"""Who is a member, and which credential goes to whom: what the handshake decides, apart from its order.

A credential reaches its subject here: whoever proves a key gets the best credential that the other side
holds for that key, if it is better than the one shown. Nothing else is ever handed over: the proved key is
the lookup, not a parameter, and a bundle must be the proved key's at both ends. So a bundle may come from
anybody, a member that has expired or a liar, since it is judged on its own evidence.

The same of removals: who proves a key that has been removed, and nobody else, gets the proof of it, in the
answer that strangers get, which is as long and comes at the same point whatever is in it.

Source: design section 7, steps 2 and 3.
"""

from __future__ import annotations

from typing import Protocol

from protocol.authority.bundle import Bundle, decode_untrusted_bundle
from protocol.authority.removal_proof import RemovalProof, decode_untrusted_removal_proof
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.errors import Fault, RemoteProtocolError
from protocol.wire.messages import Nothing, nothing_with


class Group(Protocol):
    """What opening a connection may ask of a group; every answer is by this node's view at the moment."""

    @property
    def authority(self) -> bytes:
        """The group authority, 20 bytes; all that a subject which never was a member knows."""

    @property
    def node_id(self) -> bytes:
        """This store's 16 random bytes."""

    def own_key(self) -> PrivateKey:
        """The identity under which the group is open."""

    def own_bundle(self, at_s: int) -> bytes:
        """The bundle of our own best credential at `at_s`, else of the last one; b"" if there was none."""

    def is_member(self, pid: bytes, at_s: int) -> bool:
        """Whether the key has a live grant whose window holds and whose certificate we hold."""

    def bundle_for(self, pid: bytes, at_s: int) -> bytes:
        """The bundle of the best credential we hold for a key that is valid at `at_s`; b"" for none."""

    def accepts(self, bundle: Bundle, at_s: int) -> bool:
        """Whether a bundle makes its subject a member: our gid, its window holds, nothing on it is hit."""

    def removal_proof(self, pid: bytes, shown: Bundle | None) -> bytes:
        """The proof that a key has been removed, at most NOTHING_PROOF_BYTES_MAX long, without the acts of
        the bundle that the key has shown; b"" for none.
        """

    def is_removed_by(self, proof: RemovalProof, at_s: int) -> bool:
        """Whether a removal of our own key counts by our view, and leaves us nothing to go by."""


def read_untrusted_evidence(raw: bytes, group: Group, key: PublicKey) -> Bundle | None:
    """The bundle in a message, which must prove a grant to `key`; None for no bundle.

    Its signatures are still to be checked. Raises: RemoteProtocolError.
    """
    if not raw:
        return None
    bundle = decode_untrusted_bundle(raw, authority=group.authority)
    # Guards: passing off somebody else's membership as one's own, and slipping a credential to the wrong
    # subject.
    if bundle.leaf.key != key:
        raise RemoteProtocolError(Fault.BAD_EVIDENCE, "a bundle for another key than the proved one")
    return bundle


def read_untrusted_removal(raw: bytes, group: Group, shown: bytes) -> RemovalProof | None:
    """The proof in a refusal, which must be of our own key's removal; None for no proof. `shown` is the
    bundle that we have shown, if any.

    Its signatures are still to be checked. Raises: RemoteProtocolError.
    """
    if not raw:
        return None
    acts = _our_own(shown, group).acts if shown else ()
    own = group.own_key().public
    return decode_untrusted_removal_proof(raw, authority=group.authority, key=own, shown=acts)


def refusal_of(group: Group, key: PublicKey, shown: Bundle | None) -> Nothing:
    """What a proved key that is no member is told: nothing, but for its own removal if it was removed."""
    return nothing_with(group.removal_proof(key.pid, shown))


def is_member(group: Group, key: PublicKey, shown: Bundle | None, at_s: int) -> bool:
    """Whether a proved key is a member, by the bundle that it showed or by our view."""
    return (shown is not None and group.accepts(shown, at_s)) or group.is_member(key.pid, at_s)


def newer_for(group: Group, key: PublicKey, shown: Bundle | None, at_s: int) -> bytes:
    """The bundle to hand to a proved key: better than the one that it showed; b"" when we hold no such."""
    raw = group.bundle_for(key.pid, at_s)
    if not raw or (shown is not None and raw == shown.raw):
        return b""
    candidate = _our_own(raw, group)
    assert candidate.leaf.key == key
    return raw if better(group, candidate, shown, at_s) else b""


def shown_by_us(group: Group, at_s: int) -> Bundle | None:
    """Our own bundle as the other side reads it, or None when we have none."""
    raw = group.own_bundle(at_s)
    return _our_own(raw, group) if raw else None


def better(group: Group, candidate: Bundle, other: Bundle | None, at_s: int) -> bool:
    """Whether a bundle makes its subject a member and beats another of the same key by the current rule."""
    if not group.accepts(candidate, at_s):
        return False
    if other is None or not group.accepts(other, at_s):
        return True
    return candidate.leaf.rank() < other.leaf.rank()


def _our_own(raw: bytes, group: Group) -> Bundle:
    """Decode what this node made or accepted itself: a failure is our mistake, not the other side's."""
    try:
        return decode_untrusted_bundle(raw, authority=group.authority)
    except RemoteProtocolError as error:
        raise AssertionError(f"a bundle of our own is not acceptable: {error.detail}") from error
