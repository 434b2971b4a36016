"""Root acts prepared: what somebody wants of the root, checked by the rules and put into a draft.

Preparing needs a view of the group and no private key; signing needs a private key and no view
(root_drafts.py). Where the keys are on one machine both happen in one call of the machine
(machines/events.py, RotateRoot).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.authority.issuing import IssueRequest
from protocol.authority.root import commitment_of
from protocol.authority.root_documents import RootDocument
from protocol.authority.root_drafts import RootDraft
from protocol.authority.view import View
from protocol.credentials.keys import PublicKey
from protocol.peer_time import Moment


@dataclass(frozen=True, slots=True)
class RecoverySet:
    """Public keys, `threshold` of which may sign the next rotation; ascending by raw key, each once."""

    keys: tuple[PublicKey, ...]
    threshold: int

    @classmethod
    def of(cls, keys: Sequence[PublicKey], threshold: int = 1) -> RecoverySet:
        """The set of these keys. Raises: RuleError("invalid-argument")."""
        raise NotImplementedError

    @property
    def commitment(self) -> bytes:
        """What a root version publishes of it (32 bytes)."""
        return commitment_of(self.keys, self.threshold)


@dataclass(frozen=True, slots=True)
class GrantWish:
    """A credential by the root; the request is stored, and no replacement (prepare a revocation for that)."""

    request: IssueRequest


@dataclass(frozen=True, slots=True)
class RevokeWish:
    """A removal by the root; fields as in machines/events.py, Revoke. With `data` "manifest" the hash of a
    published list is given.
    """

    pid: bytes
    for_ever: bool = False
    reason: str = ""
    data: str = "time"
    until: int | None = None
    manifest: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnnulWish:
    """An act (id of 32 bytes) taken back by the root."""

    act_id: bytes


@dataclass(frozen=True, slots=True)
class PropertiesWish:
    """Changed properties; the keys are fields of PropertiesBody."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RotateWish:
    """Another root. `documents` introduce the new operating keys, of which `threshold` are to sign; `revealed`
    is the recovery set that the present version committed to, `recovery` the next one.

    All that the present root signed goes on counting, but for what is dated after `keep_until` (seconds UTC)
    and for the acts `without` (ids) with all that follows them in their chains.
    """

    documents: tuple[RootDocument, ...]
    revealed: RecoverySet
    recovery: RecoverySet
    threshold: int = 1
    without: tuple[bytes, ...] = ()
    keep_until: int | None = None


RootWish = GrantWish | RevokeWish | AnnulWish | PropertiesWish | RotateWish


def prepare(
    view: View,
    wish: RootWish,
    signers: Sequence[bytes],
    chain: bytes,
    now: Moment,
    *,
    trust_clock: bool = False,
) -> RootDraft:
    """Prepare an act of the root, dated now. `signers` are the pids of the keys that will sign it: operating
    keys, for a rotation recovery keys and any operating keys that agree to it (then it wins over a rival that
    has no such agreement). None are named: the first keys that suffice. `chain` is 16 fresh random bytes.

    Raises: RuleError, among others "no-key-access" for signers that are none or too few.
    """
    raise NotImplementedError
