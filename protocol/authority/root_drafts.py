"""Drafts of root acts: an act of level 0 that is prepared in one place, signed in others, and brought back.

A draft holds all that a signer needs, and no store is asked: the signed content itself, the keys that are to
sign it (they stand in the content, so they are chosen when it is prepared), the signatures so far, and which
root version that is. A GRANT names the hash of its certificate, so it is made by the first signature: the key
with the smallest pid signs the certificate, writes its hash into the act, and signs that.

Every prepared act is the only one of a chain of its own. A draft that is thrown away therefore leaves no gap,
and two drafts never fork.

What a draft does is told from the content that is signed, never from words beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.authority.acts import Act, act_message, act_of_parts
from protocol.authority.admission import Admitted
from protocol.authority.bodies import GrantBody, Hlc, Id, Keys, Kind, Threshold
from protocol.authority.elements import GMC_RULES, Der, Element, make_der
from protocol.authority.grants import read_untrusted_grant
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import Classifier, not_acceptable, open_sealed, seal
from protocol.codec import convert_untrusted, decode_untrusted, encode
from protocol.credentials.certificates import decode_untrusted_certificate, sign_gmc
from protocol.credentials.keys import PrivateKey, PublicKey, SignatureCheck, all_hold, public_key_untrusted
from protocol.errors import RemoteProtocolError, RuleError
from protocol.ids import split_ids
from protocol.limits import ACT_BYTES_MAX, CERTIFICATE_BYTES_MAX, LEVEL_ROOT

ROOT_ACT = "root-act"
KINDS = frozenset(
    {
        Kind.ROTATE_ROOT,
        Kind.PROPERTIES,
        Kind.ANNUL,
        Kind.GRANT,
        Kind.REVOKE_CREDENTIAL,
        Kind.REVOKE_KEY,
    }
)
_NO_SIGNATURE = bytes(64)
_NO_DER = bytes(32)


@dataclass(frozen=True, slots=True)
class RootVersion:
    """The root version that an act is prepared under: `rotation` is the id of the act that installed it,
    `operating` are its keys in ascending order, of which `threshold` sign.
    """

    version: int
    rotation: bytes
    operating: tuple[PublicKey, ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class RootDraft:
    """One draft. `signers` are the keys that are to sign, by ascending pid, which is the order of the act's
    list; `signatures` are those there are, by pid; `der` is a GRANT's certificate once that is signed.
    """

    group: GroupFacts
    root: RootVersion
    signers: tuple[PublicKey, ...]
    content: bytes
    signatures: tuple[tuple[bytes, bytes], ...] = ()
    der: bytes | None = None

    @property
    def act(self) -> Act:
        """The act as far as it is signed: what lacks is zeros, and the id of a GRANT is not final before its
        certificate is signed.
        """
        return _act_of(self.signers, self.content, dict(self.signatures))

    @property
    def missing(self) -> tuple[bytes, ...]:
        """The pids of the keys that have not signed yet; the first of them must sign a GRANT first."""
        signed = dict(self.signatures)
        return tuple(key.pid for key in self.signers if key.pid not in signed)

    def elements(self) -> tuple[Element, ...]:
        """The act, and the certificate of a GRANT. Raises: RuleError("signature-missing")."""
        if self.missing:
            raise RuleError(
                "signature-missing",
                f"{len(self.missing)} of {len(self.signers)} keys have not signed this yet",
                hint="carry the file to the next key: peerd root sign FILE",
            )
        act = self.act
        if self.der is None:
            return (act,)
        return act, make_der(act.id, self.signers[0], decode_untrusted_certificate(self.der))

    def describe(self) -> dict[str, Any]:
        """What a person is asked to sign: plain values under the API's field names; see root_words.py."""
        from protocol.authority.root_words import described

        return described(self)


def sign_draft(draft: RootDraft, key: PrivateKey) -> RootDraft:
    """Add the signature of one key; a key that has signed before changes nothing.

    Raises: RuleError: "not-authorized" for a key that is not wanted, "signature-missing" for a GRANT that
    another key has to sign first.
    """
    raise NotImplementedError


def encode_draft(draft: RootDraft) -> bytes:
    """The bytes that are carried."""
    raise NotImplementedError


def decode_untrusted_draft(raw: bytes) -> RootDraft:
    """Read a draft from anywhere. Every signature in it has been verified, the certificate's too, so
    `elements()` of a complete one may be handed to the machine as they are. Raises:
    RuleError("draft-not-acceptable"), and nothing else.
    """
    raise NotImplementedError
