"""Recent: two nodes that meet again compare what arrived since they last agreed, before anything else.

Each node remembers, for the neighbors it agreed with of late, the arrival number up to which its records had
settled at that moment. When such a neighbor is dialled again and the digests differ, the caller lists what
arrived later, in short ids keyed for this session; the other says which of these it wants and lists its own;
the caller says what it wants of those. Then both send. A node that was away for a while is complete after one
round trip, however many records there are.

A position is a hint and nothing rests on it: what it hides the digests show, and ranges are reconciled then.
So it is compared with what arrived last, not with everything; a version wanted although it is here comes in
vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from protocol.authority.act_set import ActSet
from protocol.errors import malformed
from protocol.ids import NODE_ID_BYTES, tagged_hash
from protocol.limits import (
    POSITIONS_MAX,
    RECENT_COMPARED_MAX,
    RECENT_IDS_MAX,
    SHORT_ID_BYTES,
)
from protocol.peer_time import Moment
from protocol.records.record_set import RecordSet

_KEY_TAG = "peerd/recent-key/1"
_SETTING = "positions"
_ARRIVAL_BYTES = 8
_ENTRY_BYTES = NODE_ID_BYTES + _ARRIVAL_BYTES


class Positions:
    """Up to which arrival each neighbor was known to agree, by node id; those of late."""

    def __init__(self) -> None:
        """Nothing is known to have settled before the first look."""
        self._looked_s: int | None = None
        self._looked_at = 0  # the arrival given last when we looked
        self._settled: int | None = None  # an arrival up to which everything is dated before the mark

    def look(self, mark_s: int, now: Moment, store: RecordSet) -> int | None:
        """The last arrival that is known to have settled; to be called now and then."""
        if self._looked_s is None or self._looked_s < mark_s:
            self._settled = None if self._looked_s is None else self._looked_at
            self._looked_s, self._looked_at = now.utc_s, store.last_arrival()
        return self._settled

    @staticmethod
    def of(node_id: bytes, store: ActSet) -> int | None:
        """The position remembered of a neighbor."""
        return _read(store).get(node_id)

    @staticmethod
    def save(node_id: bytes, arrival: int, store: ActSet) -> None:
        """Remember a position, and forget the one remembered longest when there are too many."""
        positions = _read(store)
        if positions.get(node_id) == arrival:
            return
        positions.pop(node_id, None)
        positions[node_id] = arrival
        entries = [one + arrival.to_bytes(_ARRIVAL_BYTES, "big") for one, arrival in positions.items()]
        store.set_setting(_SETTING, b"".join(entries[-POSITIONS_MAX:]))


def _read(store: ActSet) -> dict[bytes, int]:
    raw = store.setting(_SETTING) or b""
    entries = (raw[at : at + _ENTRY_BYTES] for at in range(0, len(raw), _ENTRY_BYTES))
    return {one[:NODE_ID_BYTES]: int.from_bytes(one[NODE_ID_BYTES:], "big") for one in entries}


class Exchange:
    """One side of one comparison."""

    def __init__(self, exporter: bytes, number: int, position: int | None, store: RecordSet) -> None:
        """`exporter` is the connection's secret, `number` the session's, `position` what is remembered of the
        neighbor.
        """
        key = tagged_hash(_KEY_TAG, exporter, number.to_bytes(4, "big"))
        self._hash = blake2b(digest_size=SHORT_ID_BYTES, key=key, person=b"short id")
        late = [] if position is None else store.arrived_after(position, RECENT_IDS_MAX + 1)
        self.complete = position is not None and len(late) <= RECENT_IDS_MAX
        self._listed = self._short(late) if self.complete else {}
        last = store.arrived_after(max(0, store.last_arrival() - RECENT_COMPARED_MAX), RECENT_COMPARED_MAX)
        self._here = {**self._short(last), **self._listed}

    def _short(self, arrived: Sequence[tuple[int, bytes]]) -> dict[bytes, bytes]:
        short = {}
        for _, version_id in arrived:
            state = self._hash.copy()
            state.update(version_id)
            short[state.digest()] = version_id
        return short

    @property
    def ids(self) -> bytes:
        """What is listed here, for the other side."""
        return b"".join(self._listed)

    def wants(self, theirs: bytes) -> bytes:
        """Which of the other side's short ids are not here, bit by bit, the lowest of each byte first. What
        both list need not be listed again.
        """
        names = _split(theirs)
        for name in names:
            self._listed.pop(name, None)
        return _bitmap([name not in self._here for name in names])

    def wanted(self, bits: bytes) -> list[bytes]:
        """The ids of what is listed here and wanted there. Raises: RemoteProtocolError."""
        count = len(self._listed)
        if len(bits) != -(-count // 8) or int.from_bytes(bits, "little") >> count:
            raise malformed("as many bits as there were ids")
        return [one for at, one in enumerate(self._listed.values()) if bits[at // 8] >> (at % 8) & 1]


def count_wanted(bits: bytes) -> int:
    """How many bits are set."""
    return int.from_bytes(bits, "little").bit_count()


def _split(names: bytes) -> list[bytes]:
    return [names[at : at + SHORT_ID_BYTES] for at in range(0, len(names), SHORT_ID_BYTES)]


def _bitmap(flags: Sequence[bool]) -> bytes:
    number = sum(1 << at for at, flag in enumerate(flags) if flag)
    return number.to_bytes(-(-len(flags) // 8), "little")
