"""Invitations: everything that an invited identity needs to join, in one document.

PEERINVITATION of the original (windows-grouping.md 3.8): its GMC element holds the invitee's whole chain.
Ours adds the evidence bundle behind the chain, the group's names, and addresses to dial. CLOUDNAME, SCOPE
and CLOUDFLAGS, which told the original where to look for the group, always say the same.

An invitation is bound to the invitee's key, so whoever else reads it learns names and addresses, and gains
nothing. The chain's signatures are checked here, under the root certificate's own key; that this is the
group's key, and that bundle and chain agree, is checked where the bundle is read. The display name and the
addresses are signed by nobody: the first is shown to people only, and behind the second a wrong group is
noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.credentials.addresses import check_address
from protocol.credentials.certificates import Certificate
from protocol.credentials.chain import Chain, chain_checks, check_untrusted_chain
from protocol.credentials.keys import all_hold
from protocol.credentials.markup import Element, Form, not_trusted, read_document, write_document
from protocol.credentials.names import check_friendly_name
from protocol.credentials.pkcs7 import read_untrusted_bag, write_bag
from protocol.credentials.profile import Kind
from protocol.errors import RemoteProtocolError, RuleError, malformed
from protocol.ids import AUTHORITY_BYTES
from protocol.limits import BUNDLE_BYTES_MAX, INVITATION_ADDRESSES_MAX

_FIXED = {"CLOUDNAME": "Global_", "SCOPE": "GLOBAL", "CLOUDFLAGS": "0"}
_FORM = Form(
    "PEERINVITATION",
    (
        *(Element(name) for name in _FIXED),
        Element("GMC", binary=True),
        Element("BUNDLE", binary=True, ours=True),
        Element("GROUPPEERNAME", ours=True),
        Element("GROUPFRIENDLYNAME", ours=True),
        Element("ADDRESS", ours=True, times_min=0, times_max=INVITATION_ADDRESSES_MAX),
    ),
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an invitation says; `chain` holds DERs, root first, `bundle` the bytes of the evidence."""

    chain: tuple[bytes, ...]
    bundle: bytes
    group_name: str
    group_friendly_name: str
    addresses: tuple[str, ...]


def write_invitation(invitation: Invitation) -> str:
    """The document of an invitation. Raises: RuleError (invalid-argument)."""
    if len(invitation.addresses) > INVITATION_ADDRESSES_MAX:
        raise RuleError(
            "invalid-argument",
            f"an invitation holds at most {INVITATION_ADDRESSES_MAX} addresses",
            hint="leave some out",
        )
    return write_document(
        _FORM,
        {
            **{name: (text,) for name, text in _FIXED.items()},
            "GMC": (write_bag(invitation.chain),),
            "BUNDLE": (invitation.bundle,),
            "GROUPPEERNAME": (invitation.group_name,),
            "GROUPFRIENDLYNAME": (invitation.group_friendly_name,),
            "ADDRESS": tuple(check_address(address) for address in invitation.addresses),
        },
    )


def read_invitation(xml: str | bytes) -> Invitation:
    """Read an invitation from anywhere. Raises: RuleError (as `read_document`)."""
    filled = read_document(_FORM, xml)
    for name, text in _FIXED.items():
        if filled.text(name) != text:
            raise not_trusted(f"{name} is not {text}")
    chain = _read_chain(filled.binary("GMC"))
    if filled.text("GROUPPEERNAME") != chain[0].peer_name:
        raise not_trusted("its group's name is not that of its root certificate")
    bundle = filled.binary("BUNDLE")
    if not 0 < len(bundle) <= BUNDLE_BYTES_MAX:
        raise not_trusted(f"its evidence has {len(bundle)} bytes, 1 to {BUNDLE_BYTES_MAX} are allowed")
    try:
        friendly_name = check_friendly_name(filled.text("GROUPFRIENDLYNAME"))
        addresses = tuple(check_address(address) for address in filled.texts("ADDRESS"))
    except RuleError as error:
        raise not_trusted(error.detail) from None
    return Invitation(
        chain=tuple(certificate.der for certificate in chain),
        bundle=bundle,
        group_name=chain[0].peer_name,
        group_friendly_name=friendly_name,
        addresses=addresses,
    )


def _read_chain(bag: bytes) -> Chain:
    """The chain in a bag, whose signatures hold under its own root. Raises: RuleError."""
    try:
        chain = check_untrusted_chain(_root_first(read_untrusted_bag(bag)))
        checks = chain_checks(chain, chain[0].key)
    except RemoteProtocolError as error:
        raise not_trusted(error.detail) from None
    if not all_hold(checks):
        raise not_trusted("the signature of a certificate does not hold")
    return chain


def _root_first(certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """A set of certificates in the order of a chain, by their issuers' keys. Raises: RemoteProtocolError."""
    issued_by = {c.issuer_authority: c for c in certificates if c.kind is not Kind.GRC}
    ordered = [c for c in certificates if c.kind is Kind.GRC]
    while ordered and (below := issued_by.pop(ordered[-1].key.pid[:AUTHORITY_BYTES], None)) is not None:
        ordered.append(below)
    if len(ordered) != len(certificates):
        raise malformed("the certificates do not make one chain")
    return tuple(ordered)
