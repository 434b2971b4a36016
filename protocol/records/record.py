"""Records: a version's signed header, and the body that goes with it.

A record is a unit of an application's data; what is written, signed and spread are its versions. The header
of one travels as the canonical array `[content, key, signature]`: `content` is a byte string holding the
canonical map of the fields below, `key` the author's raw public key (32), `signature` (64) is over
`framed("peerd/record/1", content)`. The version id is `tagged_hash("peerd/record-version/1", content)`: it
covers no signature. The body is apart, named by its SHA-256 and size, so that it can be fetched later, and
dropped while the header stays verifiable; a `RecordItem` is a header with its body or without.

A record's id is bound to its creator, so that nobody can take an id for somebody else, and its first bit
tells the class: durable records live until they are deleted, expiring ones until `expires`.

What has a place outside of these forms is refused here; whether a version counts is `admission`'s to say.
To change the format: as for acts. Source: design section 6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from protocol.codec import convert_untrusted, decode_checked, decode_untrusted, encode, prepared
from protocol.credentials.keys import SIGNATURE_BYTES, PrivateKey, SignatureCheck, public_key_untrusted
from protocol.errors import Fault, RemoteProtocolError, malformed
from protocol.ids import framed, tagged_hash
from protocol.limits import (
    BODY_BYTES_MAX,
    BODY_TRANSFERRED_BYTES_MAX,
    CREATORS_REMEMBERED_MAX,
    END_OF_TIME_S,
    EXT_BYTES_MAX,
    HEADER_BYTES_MAX,
    RECORD_TYPE_CHARACTERS_MAX,
)
from protocol.peer_time import HLC_MAX, hlc_ms, hlc_s
from protocol.records.attributes import Attribute, attribute_lists, attributes_untrusted

RECORD_VERSION = 1  # of the format
RECORD_ID_BYTES = 16
VERSION_MAX = 2**53  # of Windows' counter: exact in JSON too
TYPE_PATTERN = rf"^[a-z0-9._-]{{1,{RECORD_TYPE_CHARACTERS_MAX}}}\Z"
_SIGN_TAG = "peerd/record/1"
_ID_TAG = "peerd/record-version/1"
_RECORD_ID_TAG = "peerd/record-id/1"
_DURABLE_BIT = 0x80
_RANDOM_BYTES = 8
# Behind the content stand the key and the signature, each with two bytes that tell a byte string's length.
_TAIL_BYTES = 2 + 32 + 2 + SIGNATURE_BYTES

_Id = Annotated[bytes, Meta(min_length=32, max_length=32)]
_RecordId = Annotated[bytes, Meta(min_length=RECORD_ID_BYTES, max_length=RECORD_ID_BYTES)]
_Hlc = Annotated[int, Meta(ge=0, le=HLC_MAX)]


class _Plain(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of the signed map that this version of peerd writes, as they are checked on arrival. Their
    order is the canonical one, so that writing them gives the canonical map.
    """

    attributes: Annotated[list[Any], Meta(min_length=1)] | UnsetType = UNSET
    author: _Id
    body: _Id | UnsetType = UNSET
    created: _Hlc
    creator: _Id
    cred: _Id
    deleted: bool | UnsetType = UNSET
    expires: Annotated[int, Meta(ge=0, le=END_OF_TIME_S)] | UnsetType = UNSET
    gid: _Id
    hlc: _Hlc
    record: _RecordId
    size: Annotated[int, Meta(ge=1, le=BODY_BYTES_MAX)] | UnsetType = UNSET
    type: Annotated[str, Meta(pattern=TYPE_PATTERN)]
    v: Annotated[int, Meta(ge=1, le=RECORD_VERSION)]
    version: Annotated[int, Meta(ge=1, le=VERSION_MAX)]


@prepared
class _Content(_Plain, frozen=True, kw_only=True):
    """All the fields that are known."""

    ext: dict[str, Any] | UnsetType = UNSET


_read_plain = msgspec.msgpack.Decoder(_Plain).decode
_write_plain = msgspec.msgpack.Encoder().encode


class Header(msgspec.Struct, frozen=True):
    """A decoded header. Its form is checked; its signature is `checks()`.

    `id` is the version id (32 bytes), `record_id` 16 bytes, `creator` and `author` are pids, `cred` is the
    author's GRANT. `created` and `hlc` are hybrid clocks, `expires` is seconds UTC, None for the durable
    class. `version` is the original's counter, which nothing compares. Without a body `body_hash` is None and
    `size` 0.
    """

    raw: bytes
    id: bytes
    gid: bytes
    record_id: bytes
    type: str
    creator: bytes
    author: bytes
    cred: bytes
    created: int
    hlc: int
    version: int
    expires: int | None
    deleted: bool
    attributes: tuple[Attribute, ...]
    body_hash: bytes | None
    size: int
    key: bytes
    content: bytes
    signature: bytes

    @property
    def durable(self) -> bool:
        """Whether the record lives until it is deleted."""
        return is_durable(self.record_id)

    @property
    def hlc_s(self) -> int:
        """Whole seconds UTC: the version's place in reconciliation's order."""
        return hlc_s(self.hlc)

    @property
    def hlc_ms(self) -> int:
        """Milliseconds UTC."""
        return hlc_ms(self.hlc)

    def checks(self) -> tuple[SignatureCheck, ...]:
        """What must hold cryptographically: the author's signature."""
        return (SignatureCheck(self.key, self.signature, framed(_SIGN_TAG, self.content)),)


class RecordItem(msgspec.Struct, frozen=True):
    """A version as it travels: with the header's body, or None when there is none or it comes apart."""

    header: Header
    body: bytes | None = None

    @property
    def raw(self) -> bytes:
        """The canonical array of the header's bytes and the body."""
        return item_raw(self.header.raw, self.body)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to fetch."""
        return self.body is not None or self.header.body_hash is None


def is_durable(record_id: bytes) -> bool:
    """The class of a record by its id (16 bytes)."""
    return record_id[0] >= _DURABLE_BIT


def new_record_id(gid: bytes, creator: bytes, durable: bool, random8: bytes) -> bytes:
    """The id of a new record of a creator (pid); `random8` are 8 random bytes."""
    assert len(random8) == _RANDOM_BYTES
    bound = _creator_bits(gid, creator)
    return bytes([bound[0] | (_DURABLE_BIT if durable else 0)]) + bound[1:] + random8


def id_is_of_creator(record_id: bytes, gid: bytes, creator: bytes) -> bool:
    """Whether a record id (16 bytes) is bound to this group and creator."""
    bound = _creator_bits(gid, creator)
    return bytes([record_id[0] & ~_DURABLE_BIT]) + record_id[1:_RANDOM_BYTES] == bound


@lru_cache(CREATORS_REMEMBERED_MAX)
def _creator_bits(gid: bytes, creator: bytes) -> bytes:
    """63 bits of a hash in 8 bytes, the first bit clear."""
    hashed = tagged_hash(_RECORD_ID_TAG, gid, creator)
    return bytes([hashed[0] & ~_DURABLE_BIT]) + hashed[1:_RANDOM_BYTES]


def body_hash_of(body: bytes) -> bytes:
    """The name of a body: its SHA-256."""
    return hashlib.sha256(body).digest()


def version_id_of(content: bytes) -> bytes:
    """The id of the version whose header signs these bytes."""
    return tagged_hash(_ID_TAG, content)


# --- signing ------------------------------------------------------------------------------------------------


def sign_header(
    key: PrivateKey,
    *,
    gid: bytes,
    record_id: bytes,
    type: str,  # noqa: A002  the word of the format
    creator: bytes,
    cred: bytes,
    created: int,
    hlc: int,
    version: int = 1,
    expires: int | None = None,
    deleted: bool = False,
    attributes: Sequence[Attribute] = (),
    body_hash: bytes | None = None,
    size: int = 0,
) -> Header:
    """Make a version by the author `key`; `attributes` are canonical, `size` is 0 without a body. A counter
    that has come to its end stays there.
    """
    assert (body_hash is None) == (size == 0)
    # Guards: whoever writes the largest counter would leave others with no next one.
    version = min(version, VERSION_MAX)
    fields: dict[str, Any] = {
        "v": RECORD_VERSION,
        "gid": gid,
        "record": record_id,
        "type": type,
        "creator": creator,
        "author": key.public.pid,
        "cred": cred,
        "created": created,
        "hlc": hlc,
        "version": version,
    }
    if expires is not None:
        fields["expires"] = expires
    if deleted:
        fields["deleted"] = True
    if attributes:
        fields["attributes"] = attribute_lists(attributes)
    if body_hash is not None:
        fields["body"] = body_hash
        fields["size"] = size
    content = encode(fields)
    signature = key.sign(framed(_SIGN_TAG, content))
    raw = encode([content, key.public.raw, signature])
    assert len(raw) <= HEADER_BYTES_MAX
    return Header(
        raw=raw,
        id=version_id_of(content),
        gid=gid,
        record_id=record_id,
        type=type,
        creator=creator,
        author=key.public.pid,
        cred=cred,
        created=created,
        hlc=hlc,
        version=version,
        expires=expires,
        deleted=deleted,
        attributes=tuple(attributes),
        body_hash=body_hash,
        size=size,
        key=key.public.raw,
        content=content,
        signature=signature,
    )


def item_raw(header_raw: bytes, body: bytes | None) -> bytes:
    """The canonical array of a header's bytes and its body, or nil."""
    return encode([header_raw, body])


def item_of(header: Header, body: bytes | None) -> RecordItem:
    """A version that travels with its body, or without it (None)."""
    assert body is None or body_fits(header, body)
    return RecordItem(header, body)


def body_fits(header: Header, body: bytes) -> bool:
    """Whether a body is the one that a header names."""
    return len(body) == header.size and body_hash_of(body) == header.body_hash


# --- reading ------------------------------------------------------------------------------------------------


def decode_untrusted_header(raw: bytes) -> Header:
    """Decode a header from anywhere and check its form. Raises: RemoteProtocolError, and nothing else."""
    content, key, signature = _split(raw)
    fields = _plain_untrusted(content) or _content_untrusted(content)
    if _pid_of(key) != fields.author:
        raise RemoteProtocolError(Fault.BAD_PROOF, "a record is signed by its author's key")
    _check_options(fields)
    return Header(
        raw=raw,
        id=version_id_of(content),
        gid=fields.gid,
        record_id=fields.record,
        type=fields.type,
        creator=fields.creator,
        author=fields.author,
        cred=fields.cred,
        created=fields.created,
        hlc=fields.hlc,
        version=fields.version,
        expires=None if fields.expires is UNSET else fields.expires,
        deleted=fields.deleted is True,
        attributes=() if fields.attributes is UNSET else attributes_untrusted(fields.attributes),
        body_hash=None if fields.body is UNSET else fields.body,
        size=0 if fields.size is UNSET else fields.size,
        key=key,
        content=content,
        signature=signature,
    )


def _plain_untrusted(content: bytes) -> _Plain | None:
    """What a header says, if its fields, written again, are the same bytes: then nothing else is in it, and
    it is in canonical form. This takes a sixth of the time of `_content_untrusted`, which decides on all the
    others. Both leave it to `attributes_untrusted` to look into the attributes.
    """
    try:
        plain = _read_plain(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return plain if _write_plain(plain) == content else None


def _content_untrusted(content: bytes) -> _Content:
    return convert_untrusted(decode_untrusted(content, bytes_max=HEADER_BYTES_MAX), _Content)


@lru_cache(CREATORS_REMEMBERED_MAX)
def _pid_of(key: bytes) -> bytes:
    """The pid of a raw key. Raises: RemoteProtocolError."""
    return public_key_untrusted(key).pid


def body_named_in(raw: bytes) -> tuple[bytes, int] | None:
    """Hash and size of the body that a header names, of the bytes of one that was decoded before."""
    content = decode_checked(decode_checked(raw)[0])
    return (content["body"], content["size"]) if "body" in content else None


def _split(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Cut a header at the places where its parts must lie, and compare with what a writer makes of them: a
    third of the time of a decoder's, and as strict, since these parts have one form.
    """
    if len(raw) > HEADER_BYTES_MAX:
        raise malformed(f"a header of {len(raw)} bytes")
    start = 3 if raw[1:2] == b"\xc4" else 4
    content, key, signature = raw[start:-_TAIL_BYTES], raw[-98:-66], raw[-SIGNATURE_BYTES:]
    if encode([content, key, signature]) != raw or len(raw) < start + _TAIL_BYTES:
        raise malformed("a header is an array of content, key and signature")
    return content, key, signature


def _check_options(fields: _Plain) -> None:
    """What an optional field says is said in one way only."""
    if fields.deleted is False:
        raise malformed("what is not deleted does not say so")
    if (fields.body is UNSET) != (fields.size is UNSET):
        raise malformed("a body has a hash and a size")
    if isinstance(fields, _Content) and fields.ext is not UNSET and len(encode(fields.ext)) > EXT_BYTES_MAX:
        raise RemoteProtocolError(Fault.OVER_LIMIT, "the ext map is too large")


def decode_untrusted_item(raw: bytes, *, body_bytes_max: int = BODY_TRANSFERRED_BYTES_MAX) -> RecordItem:
    """Decode a version with its body from anywhere; a body must be the header's. Raises:
    RemoteProtocolError, and nothing else.
    """
    outer = decode_untrusted(raw, bytes_max=HEADER_BYTES_MAX + body_bytes_max + 16)
    if not (type(outer) is list and len(outer) == 2 and type(outer[0]) is bytes):
        raise malformed("an item is an array of header and body")
    header, body = decode_untrusted_header(outer[0]), outer[1]
    if body is None:
        return RecordItem(header)
    if type(body) is not bytes or len(body) > body_bytes_max or not body_fits(header, body):
        raise malformed("the body is not the one that the header names")
    return RecordItem(header, body)
