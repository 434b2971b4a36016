"""Who is at fault: the closed set of errors that the protocol's code may raise.

Three answers, after rustls and h11: a local wish is against the rules (`RuleError`), the other side broke the
protocol (`RemoteProtocolError`), or two versions do not meet and nobody is to blame (`Incompatible`). A
record or act that is not acceptable is none of these: it is a verdict, a value. A mistake of our own is an
`AssertionError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ProtocolError(Exception):
    """The root of the tree; never raised itself."""

    def __init__(self, message: str) -> None:
        """Refuse to be instantiated directly: every error names whose fault it is."""
        if type(self) is ProtocolError:
            raise TypeError("raise one of ProtocolError's children")
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is the same for every refusal under one slug."""

    title: str
    windows: str | None = None
    windows_code: int | None = None


# The slug is the stable name that programs match; the Windows name and value are those of [W:common-return-
# codes]
# (windows-grouping.md 1.12), where the original system had one.
RULES: dict[str, Rule] = {
    "act-rate-exceeded": Rule("This key has signed too much in too short a time"),
    "already-exists": Rule("It exists already", "PEER_E_ALREADY_EXISTS", 0x800700B7),
    "chain-too-long": Rule(
        "The chain of administrators has no room left", "PEER_E_CHAIN_TOO_LONG", 0x80630703
    ),
    "circular-chain": Rule(
        "The subject is among the issuer's own issuers", "PEER_E_CIRCULAR_CHAIN_DETECTED", 0x80630706
    ),
    "classifier-too-long": Rule("The classifier is too long", "PEER_E_CLASSIFIER_TOO_LONG", 0x80630201),
    "clock-not-trusted": Rule("This machine's clock cannot be trusted"),
    "draft-not-acceptable": Rule("The file is nothing that a root key signs"),
    "group-not-ready": Rule("The group's data has not arrived yet", "PEER_E_GROUP_NOT_READY", 0x80632091),
    "identity-deleted": Rule("The identity was deleted", "PEER_E_IDENTITY_DELETED", 0x806320A0),
    "identity-not-found": Rule("No such identity is known", "PEER_E_IDENTITY_NOT_FOUND", 0x80630501),
    "invalid-argument": Rule("An argument is not acceptable", "E_INVALIDARG", 0x80070057),
    "invalid-attributes": Rule("The attributes are not acceptable", "PEER_E_INVALID_ATTRIBUTES", 0x80630602),
    "invalid-classifier": Rule("The classifier is not acceptable", "PEER_E_INVALID_CLASSIFIER", 0x80632060),
    "invalid-credential": Rule("The credential is not acceptable", "PEER_E_INVALID_CREDENTIAL", 0x80632082),
    "invalid-credential-info": Rule(
        "The credential info is incomplete", "PEER_E_INVALID_CREDENTIAL_INFO", 0x80632081
    ),
    "invalid-database": Rule("The file is no whole export of a group", "PEER_E_INVALID_DATABASE", 0x80630016),
    "invalid-friendly-name": Rule(
        "The friendly name is not acceptable", "PEER_E_INVALID_FRIENDLY_NAME", 0x80632070
    ),
    "invalid-peer-name": Rule("The peer name is not acceptable", "PEER_E_INVALID_PEER_NAME", 0x80632050),
    "invalid-record": Rule("The record is not acceptable", "PEER_E_INVALID_RECORD", 0x80632010),
    "invalid-record-expiration": Rule(
        "The record's end is not acceptable", "PEER_E_INVALID_RECORD_EXPIRATION", 0x80632080
    ),
    "invalid-role": Rule("The role is not acceptable", "PEER_E_INVALID_ROLE_PROPERTY", 0x80632071),
    "invalid-search": Rule("The search is not acceptable", "PEER_E_INVALID_SEARCH", 0x80630601),
    "invalid-time-period": Rule(
        "The period of validity is not acceptable", "PEER_E_INVALID_TIME_PERIOD", 0x80630705
    ),
    "invalid-properties": Rule(
        "The group properties are not acceptable", "PEER_E_INVALID_GROUP_PROPERTIES", 0x80632040
    ),
    "invitation-not-trusted": Rule(
        "The document cannot be trusted", "PEER_E_INVITATION_NOT_TRUSTED", 0x80630701
    ),
    "key-mismatch": Rule(
        "The key is not the one known for this identity", "PEER_E_INVALID_CREDENTIAL_INFO", 0x80632081
    ),
    "needs-revocation": Rule("Lowering or shortening a credential needs a revocation"),
    "no-effect": Rule("It would change nothing"),
    "no-key-access": Rule("The private key cannot be used", "PEER_E_NO_KEY_ACCESS", 0x80630203),
    "not-authorized": Rule("This credential does not give the right", "PEER_E_NOT_AUTHORIZED", 0x80632020),
    "passphrase-needed": Rule("The private key is under a passphrase"),
    "quota-exceeded": Rule("The quota of this identity is used up"),
    "record-deleted": Rule("The record was deleted", "PEER_E_RECORD_NOT_FOUND", 0x80630301),
    "record-not-found": Rule("No such record is known", "PEER_E_RECORD_NOT_FOUND", 0x80630301),
    "record-too-large": Rule("The record is too large", "PEER_E_MAX_RECORD_SIZE_EXCEEDED", 0x80630304),
    "root-changed": Rule("The group's root has been replaced"),
    "signature-missing": Rule("A signature is missing"),
    "unsupported-version": Rule("The version is not supported", "PEER_E_UNSUPPORTED_VERSION", 0x80632090),
    "version-conflict": Rule("The record has a newer version"),
    "wrong-group": Rule("It belongs to another group", "PEER_E_INVALID_DATABASE", 0x80630016),
    "wrong-passphrase": Rule("The passphrase is not the right one"),
}


class RuleError(ProtocolError):
    """A local wish that the rules refuse; nothing has changed when it is raised."""

    def __init__(self, code: str, detail: str, *, hint: str = "") -> None:
        """`code` is a key of `RULES`; `detail` says what happened and why; `hint` is the next command to
        type.
        """
        assert code in RULES, code
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint


class Fault(Enum):
    """What a neighbor did wrong. The value is the reason code sent before the link closes."""

    MALFORMED = 1  # bytes that no sender of this protocol writes
    OVER_LIMIT = 2  # a size, count or rate beyond limits.py
    OUT_OF_TURN = 3  # a message that the state does not allow
    WRONG_GROUP = 4  # an element or proof that names another group
    BAD_PROOF = 5  # a signature, selector or binding that does not hold
    BAD_EVIDENCE = 6  # a bundle that does not prove what it says
    INVALID_ELEMENT = 7  # an act or certificate that no honest node would relay


class RemoteProtocolError(ProtocolError):
    """The other side broke the protocol; its link must close."""

    def __init__(self, fault: Fault, detail: str) -> None:
        """`detail` is for our log only; the other side learns `fault`, and strangers not even that."""
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class Incompatible(ProtocolError):
    """The versions that the two sides speak do not meet; nobody is at fault."""

    def __init__(self, ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
        """Both tuples hold protocol version numbers."""
        super().__init__(f"we speak versions {list(ours)}, the other side {list(theirs)}")
        self.ours = ours
        self.theirs = theirs


def malformed(detail: str) -> RemoteProtocolError:
    """The error of every decoder."""
    return RemoteProtocolError(Fault.MALFORMED, detail)
