"""Root keys introduced by files: what is carried to the machine where a key of the root is made, and back.

`KeyWanted` says of which group a root key is wanted; any member can write it. The machine that makes the key
answers with a `RootDocument`: the public key and its root certificate. Neither holds a secret. Both, and the
drafts of root acts (root_drafts.py), travel in one sealed form: the canonical array `[body, seal]`, `body`
being a canonical map with `what` and `v` in it, and `seal` a tagged hash over it. The seal shows that a file
was damaged on its way. It shows nobody's approval: what is in a file is said to whoever signs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.authority.bodies import Hlc, Id, Key
from protocol.authority.root_certificates import GroupFacts, build_root_certificate, certifies
from protocol.codec import convert_untrusted, decode_untrusted, encode, prepared
from protocol.credentials.certificates import Certificate, decode_untrusted_certificate
from protocol.credentials.keys import PrivateKey, PublicKey, holds, public_key_untrusted
from protocol.credentials.names import check_classifier
from protocol.errors import RemoteProtocolError, RuleError
from protocol.ids import tagged_hash
from protocol.limits import CERTIFICATE_BYTES_MAX, CLASSIFIER_CHARACTERS_MAX, ROOT_FILE_BYTES_MAX

_SEAL_TAG = "peerd/root-file/1"
_VERSION = 1
KEY_WANTED = "key-wanted"
ROOT_KEY = "root-key"

Classifier = Annotated[str, Meta(max_length=CLASSIFIER_CHARACTERS_MAX)]


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """A root key is wanted for a group."""

    group: GroupFacts


@dataclass(frozen=True, slots=True)
class RootDocument:
    """A key that may become an operating key of a group, and its root certificate, whose signature holds."""

    group: GroupFacts
    key: PublicKey
    certificate: Certificate


def make_root_document(wanted: KeyWanted, key: PrivateKey) -> RootDocument:
    """Introduce a key, on the machine that holds it."""
    der = build_root_certificate(wanted.group, key)
    return RootDocument(wanted.group, key.public, decode_untrusted_certificate(der))


def encode_key_wanted(wanted: KeyWanted) -> bytes:
    """The bytes that are carried to the key."""
    return seal(KEY_WANTED, _group_fields(wanted.group))


def encode_root_document(document: RootDocument) -> bytes:
    """The bytes that are carried back."""
    fields = {"key": document.key.raw, "certificate": document.certificate.der}
    return seal(ROOT_KEY, _group_fields(document.group) | fields)


@prepared
class _GroupForm(msgspec.Struct, frozen=True):
    gid: Id
    classifier: Classifier
    created: Hlc


@prepared
class _DocumentForm(_GroupForm, frozen=True):
    key: Key
    certificate: Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)]


def decode_untrusted_key_wanted(raw: bytes) -> KeyWanted:
    """Read it from anywhere. Raises: RuleError("draft-not-acceptable"), and nothing else."""
    try:
        return KeyWanted(_group_of(convert_untrusted(open_sealed(raw, KEY_WANTED), _GroupForm)))
    except RemoteProtocolError as error:
        raise not_acceptable(error.detail) from None


def decode_untrusted_root_document(raw: bytes) -> RootDocument:
    """Read it from anywhere and check all that needs no group. Raises: RuleError("draft-not-acceptable"), and
    nothing else.
    """
    try:
        form = convert_untrusted(open_sealed(raw, ROOT_KEY), _DocumentForm)
        group, key = _group_of(form), public_key_untrusted(form.key)
        certificate = decode_untrusted_certificate(form.certificate)
    except RemoteProtocolError as error:
        raise not_acceptable(error.detail) from None
    if not certifies(group, certificate, key) or not holds(certificate.check(key)):
        raise not_acceptable("the certificate in it is not that of its key")
    return RootDocument(group, key, certificate)


def _group_fields(group: GroupFacts) -> dict[str, Any]:
    return {"gid": group.gid, "classifier": group.classifier, "created": group.created}


def _group_of(form: _GroupForm) -> GroupFacts:
    return group_facts(form.gid, form.classifier, form.created)


def group_facts(gid: bytes, classifier: str, created: int) -> GroupFacts:
    """Of values from anywhere. Raises: RuleError("draft-not-acceptable")."""
    try:
        check_classifier(classifier)
    except RuleError as error:
        raise not_acceptable(error.detail) from None
    return GroupFacts(gid, classifier, created)


# --- the sealed form ----------------------------------------------------------------------------------------


def seal(what: str, fields: Mapping[str, Any]) -> bytes:
    """The bytes of a file."""
    body = encode({"v": _VERSION, "what": what} | dict(fields))
    return encode([body, tagged_hash(_SEAL_TAG, body)])


def what_is_in(raw: bytes) -> str:
    """What a file holds: `KEY_WANTED`, `ROOT_KEY`, or root_drafts.ROOT_ACT. Raises:
    RuleError("draft-not-acceptable"), and nothing else.
    """
    return str(_opened(raw)["what"])


def open_sealed(raw: bytes, what: str) -> dict[str, Any]:
    """The fields of a file that is to hold `what`. Raises: RuleError("draft-not-acceptable"), and nothing
    else.
    """
    fields = _opened(raw)
    if (fields["what"], what) == (KEY_WANTED, ROOT_KEY):
        raise RuleError(
            "draft-not-acceptable",
            "this file asks for a root key, and nobody has made one for it yet",
            hint="on the machine that is to hold the key: peerd root sign FILE",
        )
    if fields["what"] != what:
        raise not_acceptable(f"it holds “{fields['what']}” where “{what}” is needed")
    return fields


def _opened(raw: bytes) -> dict[str, Any]:
    try:
        outer = decode_untrusted(raw, bytes_max=ROOT_FILE_BYTES_MAX)
        if type(outer) is not list or len(outer) != 2 or not all(type(one) is bytes for one in outer):
            raise not_acceptable("it is none of peerd's files")
        if tagged_hash(_SEAL_TAG, outer[0]) != outer[1]:
            raise not_acceptable("it was changed or damaged on its way")
        fields = decode_untrusted(outer[0], bytes_max=ROOT_FILE_BYTES_MAX)
    except RemoteProtocolError as error:
        raise not_acceptable(error.detail) from None
    if type(fields) is not dict or type(fields.get("what")) is not str or type(fields.get("v")) is not int:
        raise not_acceptable("it is none of peerd's files")
    if fields["v"] != _VERSION:
        raise not_acceptable("it is of a version that this peerd does not read")
    return fields


def not_acceptable(detail: str) -> RuleError:
    """The refusal of every file that is not what it should be."""
    return RuleError(
        "draft-not-acceptable",
        f"this file cannot be used: {detail}",
        hint="carry it over again, or have it made anew: peerd root prepare --help",
    )
