"""Record types that are peerd's own, and what their bodies say.

Types that begin with `peerd.` are reserved. Two are known: `peerd.contact`, under which a node tells where it
can be reached, and `peerd.manifest`, which carries the list of the versions that a revocation lets stand. One
that is not known here was made by a newer release: it is admitted and carried like any other.

Differs: the original kept membership and group properties in reserved records too; here they are acts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.codec import decode_untrusted_struct, encode_struct, prepared
from protocol.credentials.addresses import check_address
from protocol.errors import RuleError, malformed
from protocol.ids import NODE_ID_BYTES, split_ids
from protocol.limits import (
    ADDRESS_CHARACTERS_MAX,
    BODY_BYTES_MAX,
    CONTACT_ADDRESSES_MAX,
    CONTACT_BYTES_MAX,
)
from protocol.records.record import TYPE_PATTERN

RESERVED_PREFIX = "peerd."
CONTACT_TYPE = "peerd.contact"
MANIFEST_TYPE = "peerd.manifest"
KNOWN_RESERVED_TYPES = frozenset({CONTACT_TYPE, MANIFEST_TYPE})
# windows-grouping.md 2.11: Membership, Security Properties, Graph Info, Signature, Contact, Presence.
WINDOWS_RESERVED_TYPES = frozenset(
    f"{first}-0000-0000-0000-000000000000"
    for first in ("01000000", "02000000", "00000100", "00000200", "00000300", "00000400")
)
MANIFEST_IDS_MAX = BODY_BYTES_MAX // 32
EMPTY_MANIFEST = hashlib.sha256(b"").digest()  # the hash of a list that lets nothing stand; no record has it

_TYPE = re.compile(TYPE_PATTERN)


def is_reserved(record_type: str) -> bool:
    """Whether a record type is not for users to write."""
    return record_type.startswith(RESERVED_PREFIX) or record_type in WINDOWS_RESERVED_TYPES


def check_user_type(record_type: str) -> str:
    """Return a type under which a user may write, unchanged. Raises: RuleError (invalid-argument,
    not-authorized).
    """
    if _TYPE.search(record_type) is None:
        raise RuleError(
            "invalid-argument",
            "a record type is 1 to 64 of the characters a-z 0-9 . _ -",
            hint="for example note, or a GUID in lower case",
        )
    if is_reserved(record_type):
        raise RuleError(
            "not-authorized",
            f"records of the type {record_type} are written by peerd alone",
            hint="choose a type of your own, for example note",
        )
    return record_type


# --- contact ------------------------------------------------------------------------------------------------


@prepared
class Contact(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a node of the record's creator can be reached: `addresses` are `host:port`, `node_id` is the
    store's, `sealing` an X25519 public key (32 bytes) for which administrators' secrets are sealed.
    """

    addresses: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=ADDRESS_CHARACTERS_MAX)], ...],
        Meta(max_length=CONTACT_ADDRESSES_MAX),
    ]
    node_id: Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
    sealing: Annotated[bytes, Meta(min_length=32, max_length=32)] | msgspec.UnsetType = msgspec.UNSET


def encode_contact(contact: Contact) -> bytes:
    """The body of a contact record."""
    body = encode_struct(contact)
    assert len(body) <= CONTACT_BYTES_MAX
    return body


def decode_untrusted_contact(body: bytes) -> Contact:
    """Read the body of a contact record. Raises: RemoteProtocolError, and nothing else."""
    contact = decode_untrusted_struct(body, Contact, bytes_max=CONTACT_BYTES_MAX)
    for address in contact.addresses:
        try:
            check_address(address)
        except RuleError as error:
            raise malformed(error.detail) from None
    return contact


# --- manifest -----------------------------------------------------------------------------------------------


def encode_manifest(version_ids: Iterable[bytes]) -> bytes:
    """The body that lists these versions (ids of 32 bytes), at most MANIFEST_IDS_MAX."""
    ids = sorted(set(version_ids))
    assert len(ids) <= MANIFEST_IDS_MAX
    return b"".join(ids)


def manifest_ids(body: bytes) -> frozenset[bytes] | None:
    """The versions that a manifest lists, or None when these bytes are no manifest: then no version is in it,
    on any node.
    """
    if len(body) > BODY_BYTES_MAX or len(body) % 32:
        return None
    ids = split_ids(body)
    if any(before >= after for before, after in pairwise(ids)):
        return None
    return frozenset(ids)
