from __future__ import annotations

import pytest

from peerd.groups import invitations
from protocol.authority.bundle import Bundle, encode_bundle
from protocol.credentials.invitation import Invitation, write_invitation
from protocol.credentials.names import name_of_group
from protocol.errors import RuleError
from protocol.limits import INVITATION_ADDRESSES_MAX
from tests.support.builders import Group


@pytest.fixture(scope="module")
def group():
    return Group()


@pytest.fixture(scope="module")
def bundle(group):
    return group.bundle(group.grant("grc -> alice:admin -> bob:member"))


def form(bundle: Bundle, /, **changed: object) -> str:
    """An invitation whose parts may be those of others."""
    fields: dict[str, object] = {
        "chain": tuple(certificate.der for certificate in bundle.chain),
        "bundle": bundle.raw,
        "group_name": invitations.group_name(bundle),
        "group_friendly_name": "Family",
        "addresses": (),
    }
    return write_invitation(Invitation(**(fields | changed)))  # type: ignore[arg-type]


def refusal(xml: str) -> str:
    with pytest.raises(RuleError) as refused:
        invitations.read(xml)
    assert refused.value.code == "invitation-not-trusted"
    return refused.value.detail


def test_what_is_written_is_read(group, bundle):
    xml = invitations.write(bundle, "Family", ["192.0.2.1:3587"])
    invitation, read = invitations.read(xml)
    assert read.raw == bundle.raw
    assert read.leaf == bundle.leaf
    assert invitation.addresses == ("192.0.2.1:3587",)
    assert invitation.group_friendly_name == "Family"
    assert invitation.group_name == str(name_of_group(group.gid, "family"))


def test_an_invitation_takes_as_many_addresses_as_it_holds(bundle):
    addresses = [f"192.0.2.{number}:3587" for number in range(INVITATION_ADDRESSES_MAX + 3)]
    invitation, _ = invitations.read(invitations.write(bundle, "", addresses))
    assert invitation.addresses == tuple(addresses[:INVITATION_ADDRESSES_MAX])


def test_a_chain_without_its_evidence_is_refused(bundle):
    assert "not acceptable" in refusal(form(bundle, bundle=b"\x80"))


def test_the_evidence_of_another_credential_is_refused(group, bundle):
    other = group.bundle(group.grant("grc -> alice:admin -> carol:member"))
    assert "not those of its evidence" in refusal(form(bundle, bundle=other.raw))


def test_the_evidence_of_another_group_is_refused(bundle):
    elsewhere = Group("elsewhere")
    assert refusal(form(bundle, bundle=elsewhere.bundle(elsewhere.creator).raw))


def test_the_name_of_another_group_is_refused(bundle):
    assert "name" in refusal(form(bundle, group_name=str(name_of_group(Group("elsewhere").gid, "family"))))
    assert "name" in refusal(form(bundle, group_name=invitations.group_name(bundle).replace("family", "x")))


def test_evidence_whose_signatures_do_not_hold_is_refused(bundle):
    raw = bundle.acts[-1].raw
    forged = encode_bundle(
        [*(act.raw for act in bundle.acts[:-1]), raw[:-1] + bytes([raw[-1] ^ 1])],
        [certificate.der for certificate in bundle.chain],
    )
    assert refusal(form(bundle, bundle=forged))


def test_no_changed_byte_is_taken_for_a_good_invitation(bundle):
    for position in range(0, len(bundle.raw), 37):
        changed = bytearray(bundle.raw)
        changed[position] ^= 1
        refusal(form(bundle, bundle=bytes(changed)))
