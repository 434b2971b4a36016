"""Invitations: the XML that carries a credential by hand, made and read here, agreed with its evidence."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.authority.bundle import Bundle, decode_untrusted_bundle
from protocol.credentials.invitation import Invitation, read_invitation, write_invitation
from protocol.credentials.keys import all_hold
from protocol.credentials.names import name_of_group
from protocol.errors import RemoteProtocolError, RuleError
from protocol.limits import INVITATION_ADDRESSES_MAX

_MARK = "invitation-not-trusted"


def write(bundle: Bundle, group_friendly_name: str, addresses: Sequence[str]) -> str:
    """The invitation for the subject of a bundle."""
    return write_invitation(
        Invitation(
            chain=tuple(certificate.der for certificate in bundle.chain),
            bundle=bundle.raw,
            group_name=group_name(bundle),
            group_friendly_name=group_friendly_name,
            addresses=tuple(addresses)[:INVITATION_ADDRESSES_MAX],
        )
    )


def read(xml: str) -> tuple[Invitation, Bundle]:
    """An invitation that holds together. Raises: RuleError(invitation-not-trusted)."""
    invitation = read_invitation(xml)
    try:
        bundle = decode_untrusted_bundle(invitation.bundle, authority=b"")
    except RemoteProtocolError as error:
        raise RuleError(_MARK, f"the evidence in the invitation is not acceptable: {error.detail}") from None
    if tuple(certificate.der for certificate in bundle.chain) != invitation.chain:
        raise RuleError(_MARK, "the certificates in the invitation are not those of its evidence")
    if invitation.group_name != group_name(bundle):
        raise RuleError(_MARK, "the group's name in the invitation is not that of its evidence")
    if not all_hold(bundle.checks()):
        raise RuleError(
            _MARK, "a signature in the invitation does not hold", hint="ask for the invitation again"
        )
    return invitation, bundle


def group_name(bundle: Bundle) -> str:
    """The full name of the group that a bundle belongs to."""
    return str(name_of_group(bundle.gid, bundle.root.classifier))
