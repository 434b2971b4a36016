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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.authority.acts import Act, act_message, act_of_parts
from protocol.authority.admission import Admitted
from protocol.authority.bodies import GrantBody, Hlc, Id, Keys, Kind, RotateRootBody, Threshold
from protocol.authority.elements import GMC_RULES, Element, make_der
from protocol.authority.grants import read_untrusted_grant
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import Classifier, group_facts, not_acceptable, open_sealed, seal
from protocol.authority.root_words import described
from protocol.codec import convert_untrusted, decode_untrusted, encode, prepared
from protocol.credentials.certificates import decode_untrusted_certificate, sign_gmc
from protocol.credentials.keys import PrivateKey, PublicKey, SignatureCheck, all_hold, public_key_untrusted
from protocol.errors import RemoteProtocolError, RuleError
from protocol.ids import split_ids
from protocol.limits import ACT_BYTES_MAX, CERTIFICATE_BYTES_MAX, LEVEL_ROOT, ROOT_KEYS_MAX

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
        """What a person is asked to sign, in plain values (root_words.py)."""
        return described(self)


def sign_draft(draft: RootDraft, key: PrivateKey) -> RootDraft:
    """Add the signature of one key; a key that has signed before changes nothing.

    Raises: RuleError: "not-authorized" for a key that is not wanted, "signature-missing" for a GRANT that
    another key has to sign first.
    """
    pid = key.public.pid
    if key.public not in draft.signers:
        raise RuleError(
            "not-authorized",
            f"the key {key.public.authority} is not among those that are to sign this",
            hint="prepare it anew for the keys that are to sign: peerd root prepare --help",
        )
    if pid not in draft.missing:
        return draft
    if draft.act.kind == Kind.GRANT and draft.der is None:
        if key.public != draft.signers[0]:
            raise RuleError(
                "signature-missing",
                f"the key {draft.signers[0].authority} signs the certificate, so it signs first",
                hint="carry the file to that key, then here again",
            )
        draft = _certified(draft, key)
    signed = dict(draft.signatures) | {pid: key.sign(act_message(draft.content))}
    return replace(draft, signatures=tuple(sorted(signed.items())))


def _certified(draft: RootDraft, key: PrivateKey) -> RootDraft:
    """Make the certificate, and write its hash into the act."""
    facts = read_untrusted_grant(draft.act).gmc_facts(key.public)
    der = sign_gmc(facts, key).der
    fields = decode_untrusted(draft.content, bytes_max=ACT_BYTES_MAX)
    fields["body"]["der"] = hashlib.sha256(der).digest()
    return replace(draft, content=encode(fields), der=der)


def _act_of(signers: Sequence[PublicKey], content: bytes, signatures: dict[bytes, bytes]) -> Act:
    """Read signed content as an act, whatever of it is signed. Raises: RemoteProtocolError."""
    entries = b"".join(key.raw + signatures.get(key.pid, _NO_SIGNATURE) for key in signers)
    return act_of_parts(encode([content, entries]), content, entries)


# --- bytes --------------------------------------------------------------------------------------------------


@prepared
class _Form(msgspec.Struct, frozen=True):
    gid: Id
    classifier: Classifier
    created: Hlc
    version: Annotated[int, Meta(ge=1, le=65_535)]
    rotation: Id
    operating: Keys
    threshold: Threshold
    signers: Keys
    content: Annotated[bytes, Meta(max_length=ACT_BYTES_MAX)]
    signatures: Annotated[bytes, Meta(max_length=96 * ROOT_KEYS_MAX)] = b""
    der: Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)] | None = None


def encode_draft(draft: RootDraft) -> bytes:
    """The bytes that are carried."""
    signed = dict(draft.signatures)
    fields = {
        "gid": draft.group.gid,
        "classifier": draft.group.classifier,
        "created": draft.group.created,
        "version": draft.root.version,
        "rotation": draft.root.rotation,
        "operating": b"".join(key.raw for key in draft.root.operating),
        "threshold": draft.root.threshold,
        "signers": b"".join(key.raw for key in draft.signers),
        "content": draft.content,
        "signatures": b"".join(key.raw + signed[key.pid] for key in draft.signers if key.pid in signed),
    }
    return seal(ROOT_ACT, fields if draft.der is None else fields | {"der": draft.der})


def decode_untrusted_draft(raw: bytes) -> RootDraft:
    """Read a draft from anywhere. Every signature in it has been verified, the certificate's too, so
    `elements()` of a complete one may be handed to the machine as they are. Raises:
    RuleError("draft-not-acceptable"), and nothing else.
    """
    fields = open_sealed(raw, ROOT_ACT)
    try:
        draft = _draft_of(convert_untrusted(fields, _Form))
        act = draft.act
        reason = next((r for rule in DRAFT_RULES if (r := rule(draft, act)) is not None), None)
        if reason is None and not all_hold(_checks(draft, act)):
            reason = "a signature in it does not hold"
    except RemoteProtocolError as error:
        raise not_acceptable(error.detail) from None
    if reason is not None:
        raise not_acceptable(reason)
    return draft


def _draft_of(form: _Form) -> RootDraft:
    """Raises: RemoteProtocolError, RuleError("draft-not-acceptable")."""
    if any(len(one) % 32 for one in (form.operating, form.signers, form.signatures)):
        raise not_acceptable("its lists of keys are cut off")
    entries = [form.signatures[at : at + 96] for at in range(0, len(form.signatures), 96)]
    signatures = {public_key_untrusted(one[:32]).pid: one[32:] for one in entries}
    return RootDraft(
        group=group_facts(form.gid, form.classifier, form.created),
        root=RootVersion(form.version, form.rotation, _keys(form.operating), form.threshold),
        signers=_keys(form.signers),
        content=form.content,
        signatures=tuple(sorted(signatures.items())),
        der=form.der,
    )


def _keys(raw: bytes) -> tuple[PublicKey, ...]:
    return tuple(public_key_untrusted(one) for one in split_ids(raw))


def _checks(draft: RootDraft, act: Act) -> list[SignatureCheck]:
    """The signatures that are there, those of root certificates and of a GRANT's certificate too."""
    lacking = {_NO_SIGNATURE} if draft.missing else set[bytes]()
    checks = [one for one in act.checks() if one.signature not in lacking]
    if draft.der is not None:
        checks.append(decode_untrusted_certificate(draft.der).check(draft.signers[0]))
    return checks


# --- what a draft must be; an answer goes on "this file cannot be used: …" ----------------------------------

DraftRule = Callable[[RootDraft, Act], str | None]


def is_an_act_of_the_root(draft: RootDraft, act: Act) -> str | None:
    """Of a kind that is prepared, under the version that the draft names, the only act of a chain of its own.

    Guards: a signature won from the root's key for something else than a root act of this group.
    """
    place = act.place
    said = (place.gid, place.author, place.level, place.cred, place.seq, place.prev)
    meant = (draft.group.gid, draft.group.gid, LEVEL_ROOT, draft.root.rotation, 1, None)
    return None if said == meant and act.kind in KINDS else "it is no act of the group's root"


def is_signed_by_keys_that_suffice(draft: RootDraft, act: Act) -> str | None:
    """Enough operating keys, and no others; a rotation is signed by keys that it reveals, and operating
    ones.
    """
    operating = [key.raw for key in draft.root.operating]
    signers = [key.raw for key in draft.signers]
    if isinstance(act.body, RotateRootBody):
        revealed = split_ids(act.body.revealed)
        signed = sum(raw in revealed for raw in signers)
        enough = signed >= max(1, act.body.revealed_threshold)
        return (
            None if enough and {*signers} <= {*revealed, *operating} else "it names keys that do not suffice"
        )
    enough = len(signers) >= draft.root.threshold
    return None if enough and {*signers} <= {*operating} else "it names keys that do not suffice"


def signatures_are_of_its_signers(draft: RootDraft, act: Act) -> str | None:
    """Nobody else's, each once; a GRANT has its certificate before any."""
    known = {key.pid for key in draft.signers}
    strange = any(pid not in known or signature == _NO_SIGNATURE for pid, signature in draft.signatures)
    early = act.kind == Kind.GRANT and draft.der is None and bool(draft.signatures)
    return "it holds signatures that do not belong to it" if strange or early else None


def certificate_is_the_acts(draft: RootDraft, act: Act) -> str | None:
    """That of a GRANT, in agreement with it; before it is signed the act says zeros."""
    if not isinstance(act.body, GrantBody):
        return None if draft.der is None else "it holds a certificate for no grant"
    grant = read_untrusted_grant(act)
    if draft.der is None:
        return None if act.body.der == _NO_DER else "its certificate is missing"
    der = make_der(act.id, draft.signers[0], decode_untrusted_certificate(draft.der))
    line = (draft.signers[0].pid, grant.pid)
    admitted = Admitted(act.id, act.place, act.kind, grant, None, line)
    return "its certificate is another grant's" if any(rule(der, admitted) for rule in GMC_RULES) else None


DRAFT_RULES: tuple[DraftRule, ...] = (
    is_an_act_of_the_root,
    is_signed_by_keys_that_suffice,
    signatures_are_of_its_signers,
    certificate_is_the_acts,
)
