"""What goes into the group's machine and what comes out: closed unions of frozen dataclasses.

Inputs are past ("this happened") or commands ("a user wants"), outputs are imperative. The driver performs
outputs only after the transaction in which they were decided is durable: commit, then speak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from protocol.authority.bundle import Bundle
from protocol.authority.elements import Element
from protocol.authority.issuing import IssueRequest
from protocol.authority.removal_proof import RemovalProof
from protocol.authority.root_acts import RotateWish
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.wire.messages import Message

if TYPE_CHECKING:
    from protocol.records.attributes import Attribute
    from protocol.records.record import RecordItem

LinkId = int


# --- inputs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A connection has proved its identity and membership. `address` is the one dialled, None when the
    neighbor called.

    `bundle` is the evidence that the neighbor showed, `exporter` the connection's 32 bytes of keying
    material.
    """

    link: LinkId
    key: PublicKey
    node_id: bytes
    address: str | None
    bundle: Bundle | None
    exporter: bytes = field(repr=False)

    @property
    def dialled(self) -> bool:
        """Whether this node made the connection."""
        return self.address is not None


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A connection is gone, whoever closed it."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class Received:
    """A message on a member link; `elements` and `records` are those inside it, decoded, and every signature
    of theirs has been verified.
    """

    link: LinkId
    message: Message
    elements: tuple[Element, ...] = ()
    records: tuple[RecordItem, ...] = ()


class DialOutcome(StrEnum):
    """Why a dial came to no link."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    NOTHING = "nothing"  # an answer, but nothing for us there
    MYSELF = "myself"  # our own listener
    INCOMPATIBLE = "incompatible"  # the versions do not meet
    REMOVED = "removed"  # a member, which proves that our key has been removed


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A dial that the machine asked for came to no link."""

    address: str
    outcome: DialOutcome


@dataclass(frozen=True, slots=True)
class Adopt:
    """Verified evidence of a newer credential of our own; `how` it came: "pickup" or "invitation"."""

    bundle: Bundle
    how: str


@dataclass(frozen=True, slots=True)
class LearnRemoval:
    """A verified proof that our own key has been removed, which somebody gave us instead of a link."""

    proof: RemovalProof


@dataclass(frozen=True, slots=True)
class Connect:
    """A user wants links to these addresses (`host:port`); `only` means to these alone."""

    addresses: tuple[str, ...]
    only: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A user wants no links."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The daemon ends: links are closed and none is made; what the user wants of links is not changed."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A user wants credentials issued: all of them or none. `root` is the group's root key, for requests as
    the root.
    """

    requests: tuple[IssueRequest, ...]
    root: PrivateKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SetProperties:
    """A user wants properties changed; the keys are fields of PropertiesBody; the group's root key signs."""

    changes: Mapping[str, Any]
    root: PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Revoke:
    """A user wants a key (pid, 32 bytes) to lose what it was granted, `for_ever` or until it is granted
    something anew.

    `data` says what becomes of its records: "manifest", "drop" or "time" (bodies.py, RevokeBody); `until`
    limits a revocation to grants that end by that second. `root` is the group's root key, used when `as_root`
    or when the own credential is not senior enough. `trust_clock` signs by a clock that lags. `since` is an
    act (id) of the key's: it and whatever of the key's arrived here after it count no more.
    """

    pid: bytes
    for_ever: bool = False
    reason: str = ""
    data: str = "manifest"
    until: int | None = None
    as_root: bool = False
    root: PrivateKey | None = field(default=None, repr=False)
    trust_clock: bool = False
    since: bytes | None = None


@dataclass(frozen=True, slots=True)
class Resign:
    """A user wants to give up the own membership."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Annul:
    """A user wants an act (id of 32 bytes) of somebody junior taken back; `root` as in `Revoke`."""

    act_id: bytes
    root: PrivateKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RotateRoot:
    """A user wants another root, all keys that it takes being here: `signers` are recovery keys, and
    operating keys that agree to it. Answered by `Rotated`. What it would take down is told before by
    `authority.what_if` for a draft of the same wish (`prepare(…).act`), apart from the machine.
    """

    wish: RotateWish
    signers: tuple[PrivateKey, ...] = field(repr=False)
    trust_clock: bool = False


@dataclass(frozen=True, slots=True)
class ImportRootActs:
    """A user brings a signed draft: `elements()` of a complete one, whose signatures have been verified.
    Answered by `RootActsImported`. Refused when it would have no effect here, "root-changed" when the root
    that it was prepared under has been replaced; what is here already is no mistake.
    """

    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class AddRecord:
    """A user wants a new record. `expires` is seconds UTC, None for a durable one; `auto_refresh` lets this
    daemon renew an expiring one as long as it lives.
    """

    record_type: str
    attributes: tuple[Attribute, ...]
    body: bytes = field(repr=False)
    expires: int | None = None
    auto_refresh: bool = False


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """A user wants a record changed; what is None stays. `if_version`: only if this version (32 bytes) is the
    one shown.
    """

    record_id: bytes
    attributes: tuple[Attribute, ...] | None = None
    body: bytes | None = field(default=None, repr=False)
    expires: int | None = None
    auto_refresh: bool | None = None
    if_version: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """A user wants a record deleted; `if_version` as in `UpdateRecord`."""

    record_id: bytes
    if_version: bytes | None = None


@dataclass(frozen=True, slots=True)
class Import:
    """A part of an export: decoded, and every signature verified; judged as if a neighbor had sent it."""

    elements: tuple[Element, ...]
    records: tuple[RecordItem, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened but the time; sent at `next_deadline()`."""


# What the user of a group wants, carried out by `commands`.
RecordCommand = AddRecord | UpdateRecord | DeleteRecord
Command = (
    Adopt
    | LearnRemoval
    | Issue
    | SetProperties
    | Revoke
    | Resign
    | Annul
    | RotateRoot
    | ImportRootActs
    | RecordCommand
    | Import
)
Input = LinkUp | LinkDown | Received | DialFailed | Connect | Disconnect | Stop | Command | Tick


# --- outputs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Put a message in a link's outbox. A droppable one may be left out when the outbox is full:
    reconciliation mends it.
    """

    link: LinkId
    message: Message
    droppable: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Say Bye with this reason (errors.Fault or messages.ByeReason), flush, and close the connection."""

    link: LinkId
    reason: int
    referrals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to make a connection to this address; answered by LinkUp or DialFailed."""

    address: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that an application may want to know; it has been noted in the event log under `number`."""

    number: int
    kind: str
    at_ms: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a command; its type depends on the command."""

    value: object


@dataclass(frozen=True, slots=True)
class Replicated:
    """A version that this node wrote is durable on so many neighbors."""

    version_id: bytes
    neighbors: int


Output = Send | Close | Dial | Notice | Result | Replicated


@dataclass(frozen=True, slots=True)
class Issued:
    """One issued credential: the grant's act id, and the evidence that an invitation carries."""

    grant_id: bytes
    bundle: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """A write that is durable here: the record's id (16 bytes) and the version's (32)."""

    record_id: bytes
    version_id: bytes


@dataclass(frozen=True, slots=True)
class Imported:
    """What a part of an export brought: how much of it was new, and how much was not acceptable."""

    elements: int
    records: int
    refused: int


@dataclass(frozen=True, slots=True)
class Removed:
    """A removal, or an annulment, that is durable here: the act's id, and the grants (ids) whose standing it
    has changed.
    """

    act_id: bytes
    changed: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Rotated:
    """A root version that is durable here: its number, the id of the act, and the grants (ids) that stopped
    counting.
    """

    version: int
    rotation: bytes
    fallen: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RootActsImported:
    """Root acts that are durable here: their ids, whether any of them was new, and the grants (ids) whose
    standing they have changed. `rotated` is the number of the version that one of them installed.
    """

    act_ids: tuple[bytes, ...]
    fresh: bool
    changed: tuple[bytes, ...]
    rotated: int | None = None
