"""Root certificates: where chains of certificates begin, one for each operating key of a root version.

All that such a certificate says follows from genesis and from the key: group, name, and a window that every
version shares, so that what one version granted stays inside what the next one may. The one of the first
version is an element of AUTH (elements.py); those of later versions stand in the rotation that installs their
keys, in the order of `operating`. Nothing of the group needs to be known to make one but `GroupFacts`, so a
key can have its certificate made where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from protocol.authority.root import Root, grc_window
from protocol.credentials.certificates import Certificate, build_grc
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.credentials.names import name_of_group
from protocol.credentials.profile import Kind
from protocol.peer_time import Window


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What genesis lays down for every root certificate: `gid` (32 bytes), the classifier, the hlc of
    genesis.
    """

    gid: bytes
    classifier: str
    created: int

    @classmethod
    def of(cls, root: Root) -> GroupFacts:
        """Those of a group whose root is known."""
        return cls(root.gid, root.classifier, root.created)

    @property
    def name(self) -> str:
        """The group's full name."""
        return str(name_of_group(self.gid, self.classifier))

    @property
    def window(self) -> Window:
        """The life of every root certificate of the group."""
        return grc_window(self.created)


def build_root_certificate(facts: GroupFacts, key: PrivateKey) -> bytes:
    """The DER of an operating key's root certificate, signed by that key; the same arguments give the same
    bytes.
    """
    return build_grc(facts.gid, facts.name, facts.window, key)


def certifies(facts: GroupFacts, certificate: Certificate, key: PublicKey) -> bool:
    """Whether a certificate whose form was checked is the root certificate of a key, signature aside."""
    said = (certificate.kind, certificate.gid, certificate.peer_name, certificate.window, certificate.key)
    return said == (Kind.GRC, facts.gid, facts.name, facts.window, key)


def are_in_order(certificates: Sequence[Certificate]) -> bool:
    """Whether they stand ascending by raw key, each key once, as a rotation lists them."""
    raws = [one.key.raw for one in certificates]
    return all(a < b for a, b in pairwise(raws))
