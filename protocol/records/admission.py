"""Which versions of records count: static rules, and what revocations leave standing.

The static rules look at the signed header and at the grant that it names by hash, so every node decides
alike, whenever the header and the grant came: a version that breaks one is Invalid for ever, on all nodes. A
version whose grant has not arrived is Deferred. What revocations say depends on the view of the authority,
and may change with it: a version that they hit is Void while they do, and is kept aside in case that ends.

Not looked at, on purpose: the clock (a version from the future is quarantined, one that is too old is past
the horizon: both are the machine's to say), other versions of the same record (the order decides among
them), Windows' `version`, and the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from protocol.authority.admission import Admitted, Deferred, Invalid
from protocol.authority.grants import Grant
from protocol.authority.view import Hit
from protocol.credentials.roles import ADMIN
from protocol.limits import CONTACT_BYTES_MAX, EXPIRING_LIFE_S_MAX
from protocol.records.record import Header, id_is_of_creator
from protocol.records.reserved import CONTACT_TYPE, EMPTY_MANIFEST


@dataclass(frozen=True, slots=True)
class Valid:
    """The version counts."""


@dataclass(frozen=True, slots=True)
class Void:
    """The version does not count as long as the view of the authority is what it is.

    `reason` tells why; `missing` is the hash of a manifest that is not here and might let the version stand.
    """

    reason: str
    missing: bytes | None = None


Verdict = Valid | Invalid | Deferred | Void
_VALID = Valid()

Manifests = Callable[[bytes], frozenset[bytes] | None]


def no_manifests(manifest: bytes) -> frozenset[bytes] | None:
    """Where no manifest is here."""
    return None


class Authority(Protocol):
    """What records need of the view of the authority."""

    @property
    def gid(self) -> bytes:
        """The group."""

    def admitted(self, act_id: bytes) -> Admitted | None:
        """An admitted act, or None."""

    def data_hits(self, cred: bytes) -> tuple[Hit, ...] | None:
        """The revocations that hit what was written under an admitted grant; None when the grant is void and
        nothing adopted it.
        """


class Case(msgspec.Struct, frozen=True):
    """One version before the rules. `cred` is the act that it names, None while that is missing; the rules
    about it pass meanwhile.
    """

    header: Header
    gid: bytes
    cred: Admitted | None

    @property
    def grant(self) -> Grant | None:
        """The grant that it was written under."""
        return None if self.cred is None else self.cred.grant


Rule = Callable[[Case], str | None]


def judge(header: Header, authority: Authority, manifest: Manifests = no_manifests) -> Verdict:
    """Judge a version whose signature holds. `manifest` gives the list that a hash names, None while it is
    not here. The same header, authority and manifests give the same verdict, whatever came when.
    """
    cred = authority.admitted(header.cred)
    case = Case(header, authority.gid, cred)
    for rule in RECORD_RULES:
        if (reason := rule(case)) is not None:
            return Invalid(reason)
    if cred is None:
        return Deferred((header.cred,))
    return _stands(header, authority.data_hits(header.cred), manifest)


# --- the record and its life --------------------------------------------------------------------------------


def record_is_of_the_group(case: Case) -> str | None:
    """The header names this group."""
    return None if case.header.gid == case.gid else "record_is_of_the_group"


def id_is_bound_to_creator(case: Case) -> str | None:
    """Nobody claims an id for somebody else."""
    header = case.header
    bound = id_is_of_creator(header.record_id, header.gid, header.creator)
    return None if bound else "id_is_bound_to_creator"


def created_before_written(case: Case) -> str | None:
    """A record is not older than its versions."""
    return None if case.header.created <= case.header.hlc else "created_before_written"


def expiring_class_expires(case: Case) -> str | None:
    """A record of the expiring class says when it ends, a durable one has no end."""
    return None if case.header.durable == (case.header.expires is None) else "expiring_class_expires"


def expires_after_written(case: Case) -> str | None:
    """It ends after it was written …"""
    expires = case.header.expires
    return None if expires is None or expires > case.header.hlc_s else "expires_after_written"


def expires_within_the_longest_life(case: Case) -> str | None:
    """… and while its header is kept, so that no version outlives the one that beats it."""
    expires = case.header.expires
    within = expires is None or expires <= case.header.hlc_s + EXPIRING_LIFE_S_MAX
    return None if within else "expires_within_the_longest_life"


def deleted_has_no_body(case: Case) -> str | None:
    """A deletion carries no data …"""
    return "deleted_has_no_body" if case.header.deleted and case.header.body_hash else None


def deleted_has_no_attributes(case: Case) -> str | None:
    """… and no attributes."""
    return "deleted_has_no_attributes" if case.header.deleted and case.header.attributes else None


# --- reserved types -----------------------------------------------------------------------------------------


def contact_is_its_creators(case: Case) -> str | None:
    """Nobody tells where somebody else is reached."""
    header = case.header
    fits = header.type != CONTACT_TYPE or header.author == header.creator
    return None if fits else "contact_is_its_creators"


def contact_is_expiring(case: Case) -> str | None:
    """What nobody renews is forgotten."""
    return "contact_is_expiring" if case.header.type == CONTACT_TYPE and case.header.durable else None


def contact_is_small(case: Case) -> str | None:
    """Every node keeps everybody's."""
    large = case.header.type == CONTACT_TYPE and case.header.size > CONTACT_BYTES_MAX
    return "contact_is_small" if large else None


# --- the credential -----------------------------------------------------------------------------------------


def cred_is_grant_to_author(case: Case) -> str | None:
    """`cred` is a GRANT to the version's author; the root, which has none, writes no records."""
    if case.cred is None:
        return None
    grant = case.grant
    fits = grant is not None and grant.pid == case.header.author
    return None if fits else "cred_is_grant_to_author"


def hlc_inside_cred(case: Case) -> str | None:
    """The version is dated inside the credential's window."""
    grant = case.grant
    return None if grant is None or grant.window.holds(case.header.hlc_s) else "hlc_inside_cred"


def expires_within_cred(case: Case) -> str | None:
    """A record that expires does so before its author's credential; a durable one outlives it."""
    grant, expires = case.grant, case.header.expires
    within = grant is None or expires is None or expires <= grant.window.end
    return None if within else "expires_within_cred"


def others_records_need_an_administrator(case: Case) -> str | None:
    """Any member writes its own records, an administrator everybody's."""
    grant, header = case.grant, case.header
    allowed = grant is None or header.author == header.creator or ADMIN in grant.roles
    return None if allowed else "others_records_need_an_administrator"


RECORD_RULES: tuple[Rule, ...] = (
    record_is_of_the_group,
    id_is_bound_to_creator,
    created_before_written,
    expiring_class_expires,
    expires_after_written,
    expires_within_the_longest_life,
    deleted_has_no_body,
    deleted_has_no_attributes,
    contact_is_its_creators,
    contact_is_expiring,
    contact_is_small,
    cred_is_grant_to_author,
    hlc_inside_cred,
    expires_within_cred,
    others_records_need_an_administrator,
)


# --- what revocations leave standing ------------------------------------------------------------------------


def _stands(header: Header, hits: tuple[Hit, ...] | None, manifest: Manifests) -> Verdict:
    """The version counts when its grant does and each revocation lets it stand."""
    if hits is None:
        return Void("grant_is_void")
    if not hits:
        return _VALID
    verdicts = [_under(hit, header, manifest) for hit in hits]
    voids = [verdict for verdict in verdicts if isinstance(verdict, Void)]
    # One that no manifest can mend says more than one that waits.
    return min(voids, key=lambda void: void.missing is not None, default=Valid())


def _under(hit: Hit, header: Header, manifest: Manifests) -> Verdict:
    """What one revocation says of a version; a rule from the future lets nothing stand."""
    if hit.rule == "time":
        return Valid() if header.hlc <= hit.hlc else Void("written_after_the_revocation")
    if hit.rule != "manifest" or hit.manifest is None:
        return Void("dropped_by_the_revocation")
    if hit.manifest == EMPTY_MANIFEST:
        return Void("not_in_the_manifest")
    listed = manifest(hit.manifest)
    if listed is None:
        return Void("manifest_is_missing", hit.manifest)
    return Valid() if header.id in listed else Void("not_in_the_manifest")
