"""Acts: the signed statements that all authority in a group consists of.

An act travels as the canonical array `[content, signatures]`: `content` is a byte string holding the
canonical map of the fields below, and `signatures` is a byte string of 96-byte entries, each a raw public key
(32) and its Ed25519 signature (64) over `framed("peerd/act/1", content)`. Carrying the key makes every act
checkable on its own, on any thread, before anything is looked up; that the key is the author's follows from
its pid. The id is `tagged_hash("peerd/act-id/1", content)`: it covers no signature, so two signatures over
one content are one act.

Source: design section 5 "Acts"; the fields follow authority-rules.md "In the signed format from the first
day".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.authority.bodies import (
    BODIES,
    LISTS_OF_32,
    Body,
    Hlc,
    Id,
    Kind,
    Level,
    RotateRootBody,
    UnknownBody,
)
from protocol.codec import convert_untrusted, decode_untrusted, encode, prepared
from protocol.credentials.certificates import decode_untrusted_certificate
from protocol.credentials.keys import PrivateKey, SignatureCheck, public_key_untrusted
from protocol.errors import Fault, RemoteProtocolError, malformed
from protocol.ids import CHAIN_BYTES, framed, split_ids, tagged_hash
from protocol.limits import ACT_BYTES_MAX, EXT_BYTES_MAX, LEVEL_ROOT, ROOT_KEYS_MAX
from protocol.peer_time import hlc_ms, hlc_s

ACT_VERSION = 1
_SIGN_TAG = "peerd/act/1"
_ID_TAG = "peerd/act-id/1"
_ENTRY_BYTES = 96


@prepared
class _Content(msgspec.Struct, frozen=True):
    """The fields of the signed map, as they are checked on arrival."""

    v: Annotated[int, Meta(ge=1, le=ACT_VERSION)]
    gid: Id
    author: Id
    chain: Annotated[bytes, Meta(min_length=CHAIN_BYTES, max_length=CHAIN_BYTES)]
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    level: Level
    hlc: Hlc
    kind: Annotated[int, Meta(ge=1, le=255)]
    body: dict[str, Any]
    prev: Id | None = None
    cred: Id | None = None
    ext: dict[str, Any] | None = None
    signers: Annotated[bytes, Meta(max_length=32 * ROOT_KEYS_MAX)] = b""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an act stands: who signs it, from which store's chain, after which act, under which credential.

    `author` is the signer's pid, or gid at level 0; `cred` is the GRANT that gives `author` its level, or the
    rotation at level 0.
    """

    gid: bytes
    author: bytes
    chain: bytes
    seq: int
    prev: bytes | None
    level: int
    cred: bytes | None
    hlc: int


@dataclass(frozen=True, slots=True)
class Act:
    """A decoded act. Its form is checked; its signatures are `checks()`, and whether it counts is
    `admission`'s and `view`'s to say.
    """

    raw: bytes
    id: bytes
    place: Place
    kind: int
    body: Body
    body_map: dict[str, Any]
    ext: dict[str, Any] | None
    signers: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    content: bytes
    signatures: tuple[bytes, ...]

    @property
    def hlc_s(self) -> int:
        """Whole seconds UTC: the act's place in reconciliation's order."""
        return hlc_s(self.place.hlc)

    @property
    def hlc_ms(self) -> int:
        """Milliseconds UTC."""
        return hlc_ms(self.place.hlc)

    def checks(self) -> tuple[SignatureCheck, ...]:
        """What must hold cryptographically: one signature of the author, or one of each listed signer at
        level 0, and of a rotation those of its root certificates.
        """
        message = act_message(self.content)
        own = tuple(
            SignatureCheck(key, signature, message)
            for key, signature in zip(self.keys, self.signatures, strict=True)
        )
        return own if self.kind != Kind.ROTATE_ROOT else own + _certificate_checks(self.body)


def sign_act(place: Place, kind: int, body: Body, signers: Sequence[PrivateKey]) -> Act:
    """Make an act. `signers` is the author's key alone, or at level 0 any number of operating (or recovery)
    keys.
    """
    keys = sorted(signers, key=lambda key: key.public.pid)
    fields = msgspec.to_builtins(body, builtin_types=(bytes,))
    content = content_of(place, kind, fields, [key.public.pid for key in keys])
    message = act_message(content)
    signatures = b"".join(key.public.raw + key.sign(message) for key in keys)
    return decode_untrusted_act(encode([content, signatures]))


def content_of(place: Place, kind: int, body: dict[str, Any], signers: Sequence[bytes]) -> bytes:
    """The bytes that an act of this release signs. `signers` are ascending pids, used at level 0 only; what
    is None in the body is left out.
    """
    fields: dict[str, Any] = {
        "v": ACT_VERSION,
        "gid": place.gid,
        "author": place.author,
        "chain": place.chain,
        "seq": place.seq,
        "level": place.level,
        "hlc": place.hlc,
        "kind": int(kind),
        "body": {name: value for name, value in body.items() if value is not None},
    }
    if place.prev is not None:
        fields["prev"] = place.prev
    if place.cred is not None:
        fields["cred"] = place.cred
    if place.level == LEVEL_ROOT:
        fields["signers"] = b"".join(signers)
    return encode(fields)


def act_message(content: bytes) -> bytes:
    """What the signatures of an act with this content cover."""
    return framed(_SIGN_TAG, content)


def act_id_of(content: bytes) -> bytes:
    """The id of the act that signs these bytes."""
    return tagged_hash(_ID_TAG, content)


def decode_untrusted_act(raw: bytes) -> Act:
    """Decode an act from anywhere and check its form. Raises: RemoteProtocolError, and nothing else."""
    outer = decode_untrusted(raw, bytes_max=ACT_BYTES_MAX)
    if not (type(outer) is list and len(outer) == 2 and type(outer[0]) is bytes and type(outer[1]) is bytes):
        raise malformed("an act is an array of content and signatures")
    return act_of_parts(raw, outer[0], outer[1])


def act_of_parts(raw: bytes, content: bytes, entries: bytes) -> Act:
    """Decode an act whose outer array is open already. Raises: RemoteProtocolError, and nothing else."""
    value = decode_untrusted(content, bytes_max=ACT_BYTES_MAX)
    fields = convert_untrusted(value, _Content)
    if fields.ext is not None and len(encode(fields.ext)) > EXT_BYTES_MAX:
        raise RemoteProtocolError(Fault.OVER_LIMIT, "the ext map is too large")
    keys, signatures = _split_entries(entries)
    signers = _check_signers(fields, keys)
    return Act(
        raw=raw,
        id=act_id_of(content),
        place=Place(
            gid=fields.gid,
            author=fields.author,
            chain=fields.chain,
            seq=fields.seq,
            prev=fields.prev,
            level=fields.level,
            cred=fields.cred,
            hlc=fields.hlc,
        ),
        kind=fields.kind,
        body=_decode_body(fields.kind, fields.body),
        body_map=fields.body,
        ext=fields.ext,
        signers=signers,
        keys=keys,
        content=content,
        signatures=signatures,
    )


def _split_entries(entries: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    if not entries or len(entries) % _ENTRY_BYTES or len(entries) > _ENTRY_BYTES * ROOT_KEYS_MAX:
        raise malformed("signatures are 1 to 16 entries of 96 bytes")
    cuts = range(0, len(entries), _ENTRY_BYTES)
    return tuple(entries[i : i + 32] for i in cuts), tuple(entries[i + 32 : i + _ENTRY_BYTES] for i in cuts)


def _check_signers(fields: _Content, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Tie the keys beside the signatures to what the signed content says of them."""
    pids = tuple(public_key_untrusted(key).pid for key in keys)
    if fields.level != LEVEL_ROOT:
        if fields.signers or pids != (fields.author,):
            raise RemoteProtocolError(Fault.BAD_PROOF, "an act is signed by its author's key alone")
        return ()
    if fields.author != fields.gid:
        raise malformed("the author of a level-0 act is the group")
    if len(fields.signers) % 32 or pids != split_ids(fields.signers):
        raise RemoteProtocolError(Fault.BAD_PROOF, "a level-0 act is signed by the keys that it lists")
    # Guards: one key counted several times towards a threshold.
    if any(a >= b for a, b in pairwise(pids)):
        raise malformed("signers are listed once each, in ascending order")
    return pids


def _certificate_checks(rotation: Body) -> tuple[SignatureCheck, ...]:
    assert isinstance(rotation, RotateRootBody)
    certificates = map(decode_untrusted_certificate, rotation.certificates)
    return tuple(certificate.check(certificate.key) for certificate in certificates)


def _decode_body(kind: int, value: dict[str, Any]) -> Body:
    body = convert_untrusted(value, BODIES.get(kind, UnknownBody))
    if isinstance(body, RotateRootBody):
        for der in body.certificates:
            decode_untrusted_certificate(der)
    for name in LISTS_OF_32:
        if len(getattr(body, name, b"")) % 32:
            raise malformed(f"{name} is a list of 32-byte entries")
    return body
