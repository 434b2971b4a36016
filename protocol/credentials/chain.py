"""The chain of certificates from a group's root to one member, checked as it was sent.

Nobody searches for a path here: the sender gives the chain in order, root first, so a check costs one
signature per certificate and no more (reliability study F15). A chain is good when its form is
(`decode_untrusted_certificate`), when every rule of `RULES` holds, and when the signatures of `chain_checks`
do. What it is worth now, windows, revocations and the acts behind it, is the view's matter. The original's
rules: windows-grouping.md 3.3.

Differs: the original compares no dates between parent and child; here windows nest. Its classifier lists,
which one list per role made pointless, are gone. Its roles that a parent's role may issue are levels that
rise: administrators issue everything junior to them, inviting members only members, and members nothing,
since no level is above theirs. Whether a certificate may sign others at all follows from its level, and the
profile holds it to that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from protocol.credentials.certificates import Certificate, decode_untrusted_certificate
from protocol.credentials.keys import PublicKey, SignatureCheck
from protocol.credentials.profile import Kind
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import AUTHORITY_BYTES
from protocol.limits import CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX, LEVEL_ROOT

Chain = tuple[Certificate, ...]


def decode_untrusted_chain(ders: Sequence[bytes], gid: bytes) -> Chain:
    """Read a chain from anywhere, root first: the GRC of the group `gid` (32 bytes), then at least one GMC.

    Signatures are left to `chain_checks`. Raises: RemoteProtocolError.
    """
    # Guards: both limits come before any certificate is looked at.
    if len(ders) > CHAIN_CERTIFICATES_MAX:
        raise RemoteProtocolError(Fault.OVER_LIMIT, f"a chain of {len(ders)} certificates")
    if sum(map(len, ders)) > CHAIN_BYTES_MAX:
        raise RemoteProtocolError(Fault.OVER_LIMIT, f"a chain of {sum(map(len, ders))} bytes")
    chain = check_untrusted_chain([decode_untrusted_certificate(der) for der in ders])
    if chain[0].gid != gid:
        raise RemoteProtocolError(Fault.WRONG_GROUP, "a chain of another group")
    return chain


def check_untrusted_chain(certificates: Sequence[Certificate]) -> Chain:
    """Apply the rules to certificates, root first, of whatever group. Raises: RemoteProtocolError."""
    chain = tuple(certificates)
    for rule in RULES:
        flaw = rule(chain)
        if flaw is not None:
            raise RemoteProtocolError(Fault.BAD_EVIDENCE, f"a chain in which {flaw}")
    return chain


def chain_checks(chain: Chain, root_key: PublicKey) -> list[SignatureCheck]:
    """The signatures still to be checked, under the root key known from elsewhere.

    Raises: RemoteProtocolError.
    """
    # Guards: a root certificate with the group's names and another key; names prove nothing (promise P1).
    if chain[0].key != root_key:
        raise RemoteProtocolError(Fault.BAD_EVIDENCE, "a chain begins with another root key than the group's")
    links = itertools.pairwise(chain)
    return [chain[0].check(root_key), *(certificate.check(issuer.key) for issuer, certificate in links)]


# --- the rules; an answer goes on "a chain in which …"
# ---------------------------------------------------------


def _root_comes_first(chain: Chain) -> str | None:
    """The first certificate, and no other, is a GRC; then come GMCs, at least one. Windows 2 and 3."""
    kinds = [certificate.kind for certificate in chain]
    expected = [Kind.GRC, Kind.GMC, *[Kind.GMC] * (len(kinds) - 2)]
    return None if kinds == expected else "the kinds are out of place"


def _group_is_one(chain: Chain) -> str | None:
    """All name one group. Windows 4."""
    one = all(certificate.gid == chain[0].gid for certificate in chain)
    return None if one else "two groups meet"


def _issuers_are_named(chain: Chain) -> str | None:
    """Each names as its issuer the subject before it. Windows 5."""
    named = all(issuer.subject_name == below.issuer_name for issuer, below in itertools.pairwise(chain))
    return None if named else "an issuer's name is not that of the certificate before"


def _issuers_keys_match(chain: Chain) -> str | None:
    """Each names as its issuer's key the key before it. Windows 3, with `chain_checks`."""
    pairs = itertools.pairwise(chain)
    match = all(issuer.key.pid[:AUTHORITY_BYTES] == below.issuer_authority for issuer, below in pairs)
    return None if match else "an issuer's key is not that of the certificate before"


def _levels_rise(chain: Chain) -> str | None:
    """Each is junior to the one before it: nobody hands on more than his own right. Windows 8."""
    levels = [certificate.level or LEVEL_ROOT for certificate in chain]
    rise = all(senior < junior for senior, junior in itertools.pairwise(levels))
    return None if rise else "a level does not rise"


def _windows_nest(chain: Chain) -> str | None:
    """None is valid outside the window of the one before it, so that the last window says when all are."""
    nest = all(below.window.within(issuer.window) for issuer, below in itertools.pairwise(chain))
    return None if nest else "a window is not inside its issuer's"


def _keys_differ(chain: Chain) -> str | None:
    """No key comes twice: neither the root's as a member, nor a subject among its own issuers."""
    keys = {certificate.key.raw for certificate in chain}
    return None if len(keys) == len(chain) else "a key comes twice"


RULES: tuple[Callable[[Chain], str | None], ...] = (
    _root_comes_first,
    _group_is_one,
    _issuers_are_named,
    _issuers_keys_match,
    _levels_rise,
    _windows_nest,
    _keys_differ,
)
