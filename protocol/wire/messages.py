"""Every message between two nodes: one checked struct each, the canonical bytes of `[code, fields]`.

Codes below 16 open a connection (protocol.machines.connect tells who says what when), those from 16 on belong
to the member link that follows. A struct is complete when it exists: lengths, counts and ranges are checked
while it is decoded, so that no machine meets a value out of bounds. What a field means for a group is decided
by the machines.

Evolution: fields that a reader does not know are ignored, so a field may be added within a version if whoever
ignores it stays right. A new message, or a new meaning, needs a new version: an unknown code is malformed.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, to_builtins

from protocol.codec import convert_untrusted, decode_untrusted, encode, prepared
from protocol.errors import malformed
from protocol.ids import ACT_ID_BYTES, NODE_ID_BYTES
from protocol.limits import (
    ACT_BYTES_MAX,
    ADDRESS_CHARACTERS_MAX,
    BODY_BYTES_MAX,
    BUNDLE_BYTES_MAX,
    DIGEST_BYTES,
    ELEMENTS_PER_FRAME_MAX,
    FRAME_BYTES_MAX_MEMBER,
    GOT_IDS_MAX,
    LISTEN_ADDRESSES_MAX,
    NOTHING_FRAME_BYTES,
    PIECE_BYTES_MAX,
    RECENT_IDS_MAX,
    RECONCILE_MESSAGES_MAX,
    RECONCILE_PAYLOAD_BYTES_MAX,
    RECORD_ITEM_BYTES_MAX,
    REFERRALS_MAX,
    SHORT_ID_BYTES,
    VERSIONS_MAX,
    WANTED_IDS_MAX,
)
from protocol.wire.framing import LENGTH_BYTES

KEY_BYTES = 32
SIGNATURE_BYTES = 64
SELECTOR_BYTES = 16
VERSION_ID_BYTES = 32
BODY_HASH_BYTES = 32
TIME_MS_MAX = 2**48 - 1  # what an hlc can say, the year 10889
SECOND_MAX = TIME_MS_MAX // 1000

_NOTHING_CODE = 3
# From 256 bytes on the padding's own length takes 3 bytes, so any such padding measures what surrounds it.
_AROUND_PADDING_BYTES = len(encode([_NOTHING_CODE, {"padding": bytes(256)}])) - 256
NOTHING_PADDING_BYTES = NOTHING_FRAME_BYTES - LENGTH_BYTES - _AROUND_PADDING_BYTES
_PROOF_LENGTH_BYTES = 2
NOTHING_PROOF_BYTES_MAX = NOTHING_PADDING_BYTES - _PROOF_LENGTH_BYTES

_U32_MAX = 2**32 - 1

Version: TypeAlias = Annotated[int, Meta(ge=1, le=65_535)]
Versions: TypeAlias = Annotated[tuple[Version, ...], Meta(min_length=1, max_length=VERSIONS_MAX)]
Selector: TypeAlias = Annotated[bytes, Meta(min_length=SELECTOR_BYTES, max_length=SELECTOR_BYTES)]
Key: TypeAlias = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
NodeId: TypeAlias = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
Signature: TypeAlias = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
BundleBytes: TypeAlias = Annotated[bytes, Meta(max_length=BUNDLE_BYTES_MAX)]  # b"" = none
Padding: TypeAlias = Annotated[
    bytes, Meta(min_length=NOTHING_PADDING_BYTES, max_length=NOTHING_PADDING_BYTES)
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=_U32_MAX)]
Digest: TypeAlias = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
# Visible ASCII only, so that an address can stand in a log line; who dials it parses it.
Address: TypeAlias = Annotated[str, Meta(pattern=rf"\A[!-~]{{1,{ADDRESS_CHARACTERS_MAX}}}\Z")]
Listens: TypeAlias = Annotated[tuple[Address, ...], Meta(max_length=LISTEN_ADDRESSES_MAX)]
Referrals: TypeAlias = Annotated[tuple[Address, ...], Meta(max_length=REFERRALS_MAX)]
Element: TypeAlias = Annotated[bytes, Meta(min_length=1, max_length=ACT_BYTES_MAX)]
Elements: TypeAlias = Annotated[tuple[Element, ...], Meta(max_length=ELEMENTS_PER_FRAME_MAX)]
Session: TypeAlias = Annotated[int, Meta(ge=0, le=_U32_MAX)]
Round: TypeAlias = Annotated[int, Meta(ge=0, le=RECONCILE_MESSAGES_MAX)]
ReconcileBytes: TypeAlias = Annotated[bytes, Meta(max_length=RECONCILE_PAYLOAD_BYTES_MAX)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=_U32_MAX)]
IdBytes: TypeAlias = Annotated[bytes, Meta(min_length=ACT_ID_BYTES, max_length=ACT_ID_BYTES * WANTED_IDS_MAX)]
ReasonCode: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
Millis: TypeAlias = Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]  # since 1970 UTC
Second: TypeAlias = Annotated[int, Meta(ge=0, le=SECOND_MAX)]  # since 1970 UTC
Item: TypeAlias = Annotated[bytes, Meta(min_length=1, max_length=RECORD_ITEM_BYTES_MAX)]
Items: TypeAlias = Annotated[tuple[Item, ...], Meta(max_length=ELEMENTS_PER_FRAME_MAX)]
VersionIds: TypeAlias = Annotated[
    bytes, Meta(min_length=VERSION_ID_BYTES, max_length=VERSION_ID_BYTES * GOT_IDS_MAX)
]
BodyHash: TypeAlias = Annotated[bytes, Meta(min_length=BODY_HASH_BYTES, max_length=BODY_HASH_BYTES)]
BodySize: TypeAlias = Annotated[int, Meta(ge=0, le=BODY_BYTES_MAX)]
PieceBytes: TypeAlias = Annotated[bytes, Meta(max_length=PIECE_BYTES_MAX)]
ShortIds: TypeAlias = Annotated[bytes, Meta(max_length=SHORT_ID_BYTES * RECENT_IDS_MAX)]
Bitmap: TypeAlias = Annotated[bytes, Meta(max_length=RECENT_IDS_MAX // 8)]
RecentStep: TypeAlias = Annotated[int, Meta(ge=0, le=2)]


class Namespace(IntEnum):
    """The replicated sets, in the order in which they are reconciled."""

    AUTH = 0
    DURABLE = 1  # versions of durable records
    EXPIRING = 2  # versions of expiring records, from a horizon on


class ByeReason(IntEnum):
    """Why a member link closes when nobody did wrong; the values of `errors.Fault` (1-7) name a wrong."""

    LEAVING = 64  # the group is being closed here, or the user disconnected it
    FULL = 65  # no room for another link: try one of the referrals
    DUPLICATE = 66  # another link between the same two nodes stays
    NOT_A_MEMBER = 67  # the neighbor's membership has ended


class Hello(Struct, frozen=True):
    """Caller and answerer, first: versions spoken, ascending, and the blinded name of the group."""

    versions: Versions
    selector: Selector

    def __post_init__(self) -> None:
        """One order, no repetition."""
        if any(later <= earlier for earlier, later in pairwise(self.versions)):
            raise ValueError("versions must ascend")


class Prove(Struct, frozen=True):
    """Caller: this is my key, and this is what makes it a member (`bundle` may be empty, or have expired)."""

    key: Key
    node_id: NodeId
    signature: Signature
    bundle: BundleBytes


class Nothing(Struct, frozen=True):
    """Answerer, or a caller that has seen Welcome: nothing for you here; 4,096 bytes with the frame's length,
    whatever the reason.

    The padding begins with the length (2 bytes) of a proof that the key which the other side has proved was
    removed, and the proof; for everybody else it is all zeros.
    """

    padding: Padding

    def __post_init__(self) -> None:
        """The proof is inside."""
        if int.from_bytes(self.padding[:_PROOF_LENGTH_BYTES], "big") > NOTHING_PROOF_BYTES_MAX:
            raise ValueError("a proof that is longer than the padding")

    @property
    def proof(self) -> bytes:
        """The proof; b"" for none."""
        length = int.from_bytes(self.padding[:_PROOF_LENGTH_BYTES], "big")
        return self.padding[_PROOF_LENGTH_BYTES : _PROOF_LENGTH_BYTES + length]


class Welcome(Struct, frozen=True):
    """Answerer, to a member: my key, my bundle (also when expired), and your newer bundle; may be empty."""

    key: Key
    node_id: NodeId
    signature: Signature
    bundle: BundleBytes
    newer: BundleBytes


class Finish(Struct, frozen=True):
    """Caller, last: the answerer's newer bundle (empty when none). What follows is a member link."""

    newer: BundleBytes


class DataSummary(Struct, frozen=True):
    """Inside `Open` and `KeepAlive`: count and digest of the settled part of my DATA, both classes together.

    Settled are the ids whose second (of the version's hlc) is before `mark`; of the expiring class, those
    from `horizon` on. Two summaries can be compared when both seconds are equal.
    """

    horizon: Second
    mark: Second
    count: Count
    digest: Digest


class Open(Struct, frozen=True):
    """Both, first on a member link: where I listen, whom else to try, count and digest of my AUTH set, my
    clock, and my DATA. It may come again, with others to try.
    """

    listens: Listens
    referrals: Referrals
    count: Count
    digest: Digest
    time: Millis
    data: DataSummary


class KeepAlive(Struct, frozen=True):
    """Both, at intervals: still here, and these are my sets and my clock."""

    count: Count
    digest: Digest
    time: Millis
    data: DataSummary


class News(Struct, frozen=True):
    """Both: elements of AUTH that the other side may not have, parents first."""

    elements: Elements


class Reconcile(Struct, frozen=True):
    """Both: one message of a reconciliation; `payload` is the engine's (protocol.machines.reconcile).

    Ids older than `horizon` are outside of the session: the sender's own horizon in EXPIRING, else 0.
    """

    namespace: Namespace
    horizon: Second
    session: Session
    round: Round
    payload: ReconcileBytes
    done: bool


class Transfer(Struct, frozen=True):
    """Both: what a session found missing, numbered from 0: in AUTH elements, parents first, else versions of
    records (items as in `Records`).
    """

    namespace: Namespace
    session: Session
    number: Number
    elements: Elements
    last: bool


class Taken(Struct, frozen=True):
    """Both: the `Transfer` of this number has been taken in; the next may be sent."""

    session: Session
    number: Number


class Want(Struct, frozen=True):
    """Both: send me these (ids of 32 bytes each); parents that I lack."""

    ids: IdBytes

    def __post_init__(self) -> None:
        """Whole ids only."""
        if len(self.ids) % ACT_ID_BYTES:
            raise ValueError("not a whole number of ids")


class Bye(Struct, frozen=True):
    """Both, last: why I close (`ByeReason` or `errors.Fault`; others may come), and whom else to try."""

    reason: ReasonCode
    referrals: Referrals


class Records(Struct, frozen=True):
    """Both: versions of records that the other side may not have. `ask`: say `Got` once they are durable."""

    items: Items
    ask: bool


class Got(Struct, frozen=True):
    """Both: these versions (ids of 32 bytes each) are durable here."""

    ids: VersionIds

    def __post_init__(self) -> None:
        """Whole ids only."""
        if len(self.ids) % VERSION_ID_BYTES:
            raise ValueError("not a whole number of ids")


class WantBody(Struct, frozen=True):
    """Both: send me this body from `offset` on, one piece of it."""

    hash: BodyHash
    offset: BodySize


class Piece(Struct, frozen=True):
    """Both: part of a body of `size` bytes. Size 0: I do not have it."""

    hash: BodyHash
    offset: BodySize
    size: BodySize
    data: PieceBytes

    def __post_init__(self) -> None:
        """Inside the body, and something of it, unless there is none."""
        if self.offset + len(self.data) > self.size or (self.size and not self.data):
            raise ValueError("not a piece of its body")


class Recent(Struct, frozen=True):
    """Both: short ids (8 bytes each) of what arrived here since we last agreed, in step 0 and 1; which of the
    other side's I want, the lowest bit of each byte first, in step 1 and 2. `complete`: nothing else arrived,
    as far as I know.
    """

    session: Session
    step: RecentStep
    complete: bool
    ids: ShortIds
    wanted: Bitmap

    def __post_init__(self) -> None:
        """Whole ids only."""
        if len(self.ids) % SHORT_ID_BYTES:
            raise ValueError("not a whole number of ids")


def nothing_with(proof: bytes) -> Nothing:
    """Nothing, with a proof of removal inside; b"" for none."""
    assert len(proof) <= NOTHING_PROOF_BYTES_MAX
    said = len(proof).to_bytes(_PROOF_LENGTH_BYTES, "big") + proof
    return Nothing(said.ljust(NOTHING_PADDING_BYTES, b"\0"))


NOTHING = nothing_with(b"")

Message: TypeAlias = (
    Hello
    | Prove
    | Nothing
    | Welcome
    | Finish
    | Open
    | KeepAlive
    | News
    | Reconcile
    | Transfer
    | Taken
    | Want
    | Bye
    | Records
    | Got
    | WantBody
    | Piece
    | Recent
)

KINDS: dict[int, type[Message]] = {
    1: Hello,
    2: Prove,
    _NOTHING_CODE: Nothing,
    4: Welcome,
    5: Finish,
    16: Open,
    17: KeepAlive,
    18: News,
    19: Reconcile,
    20: Transfer,
    21: Taken,
    22: Want,
    23: Bye,
    24: Records,
    25: Got,
    26: WantBody,
    27: Piece,
    28: Recent,
}
_CODES: dict[type[Message], int] = {prepared(kind): code for code, kind in KINDS.items()}


def encode_message(message: Message) -> bytes:
    """The payload of the frame that carries `message`."""
    payload = encode([_CODES[type(message)], to_builtins(message, builtin_types=(bytes,))])
    assert len(payload) <= FRAME_BYTES_MAX_MEMBER, len(payload)
    return payload


def decode_untrusted_message(payload: bytes, *, bytes_max: int) -> Message:
    """The message in a frame's payload. Raises: RemoteProtocolError, and nothing else."""
    value: Any = decode_untrusted(payload, bytes_max=bytes_max)
    if type(value) is not list or len(value) != 2 or type(value[0]) is not int or type(value[1]) is not dict:
        raise malformed("not a message")
    code, fields = value
    kind = KINDS.get(code)
    if kind is None:
        raise malformed(f"no message has the code {code}")
    return convert_untrusted(fields, kind)
