"""The ids of one replicated set, sorted and contiguous in memory, ready to be hashed by slices.

Reconciliation (reconcile.py) orders a set by (second of the author's hlc, id), splits it by rank and hashes
what lies between two places of the order. No tree of partial sums is kept for that: hashing contiguous memory
costs about 40 ns an id, less than any tree in Python, and it leaves no algebra to attack. So an id is an
*entry* of 37 bytes (the second in 5 big-endian bytes, then the id), entries stand side by side in ascending
order of their bytes, cut into *blocks*, and a million of them take about 40 MB.

A *bound* is a place in the order: any prefix of an entry, which stands before every entry not smaller than
it. The second must be a function of the id, as it is for everything signed: the set is one of pairs, and two
nodes that gave one id different seconds would never agree.

The *digest* that keep-alives carry is SHA-256 over 256 shards by first id byte, so that after a change one
shard is gathered and hashed again. It has no key, so it is a function of the set alone (design section 8;
protocol-study 2.2).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import accumulate, islice

from protocol.ids import tagged_hash
from protocol.limits import DIGEST_BYTES, DIGEST_SHARDS, ORDERED_BLOCK_IDS_MAX

ID_BYTES = 32
SECOND_BYTES = 5  # the 48-bit milliseconds of an hlc are fewer than 2**38.2 seconds
SECOND_MAX = 2 ** (8 * SECOND_BYTES) - 1
ENTRY_BYTES = SECOND_BYTES + ID_BYTES
LOWEST = b""  # the bound before every entry
HIGHEST = b"\xff" * (ENTRY_BYTES + 1)  # the bound behind every entry

_BLOCK_BYTES_MAX = ORDERED_BLOCK_IDS_MAX * ENTRY_BYTES
_PIECE_IDS_MIN = 16_384  # ids sorted at a time while a set is built: arbitrary, about 1.2 MB
_EMPTY_SHARD = sha256().digest()


def entry_of(second: int, identifier: bytes) -> bytes:
    """The 37 bytes under which an id stands in the order; `second` counts from 1970 UTC."""
    assert len(identifier) == ID_BYTES
    return second.to_bytes(SECOND_BYTES, "big") + identifier


def id_of(entry: bytes) -> bytes:
    """The id in an entry."""
    return entry[SECOND_BYTES:]


def bound_between(before: bytes, after: bytes) -> bytes:
    """The shortest bound (5 to 37 bytes) behind an entry and not behind `after`, a larger one."""
    length = SECOND_BYTES
    while before[:length] == after[:length]:
        length += 1
    return after[:length]


class OrderedIds:
    """A set of (second, id), with ranks. Adding costs a few microseconds wherever the id falls."""

    __slots__ = ("_blocks", "_count", "_digest", "_lows", "_shards", "_stale", "_starts")

    def __init__(self, pairs: Iterable[tuple[int, bytes]] = ()) -> None:
        """Start with `pairs`; see `update`."""
        # Block i holds the entries from the bound _lows[i] up to the bound _lows[i + 1].
        self._blocks = [bytearray()]
        self._lows = [LOWEST]
        self._count = 0
        self._starts: list[int] | None = None  # rank of each block's first entry; None after a change
        self._shards = [_EMPTY_SHARD] * DIGEST_SHARDS
        self._stale: set[int] = set()  # first id bytes whose shard has changed since it was hashed
        self._digest = b""  # as of when no shard was stale; asked for with every message of a link
        self.update(pairs)

    def update(self, pairs: Iterable[tuple[int, bytes]]) -> None:
        """Put many in, in any order; it is quickest when they are roughly sorted, as arrivals are."""
        entries = (entry_of(second, identifier) for second, identifier in pairs)
        # The piece grows with the set, so that pairs in no order at all cost only a few passes over it.
        while piece := sorted(islice(entries, max(_PIECE_IDS_MIN, self._count // 2))):
            self._merge(piece)

    def __len__(self) -> int:
        """How many ids the set holds."""
        return self._count

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield (second, id) in ascending order; the set must not change meanwhile."""
        for block in self._blocks:
            for at in range(0, len(block), ENTRY_BYTES):
                entry = bytes(block[at : at + ENTRY_BYTES])
                yield int.from_bytes(entry[:SECOND_BYTES], "big"), id_of(entry)

    def __contains__(self, pair: tuple[int, bytes]) -> bool:
        """Whether the id stands in the set at that second."""
        return self._find(entry_of(*pair))[2]

    def add(self, second: int, identifier: bytes) -> bool:
        """Put an id in; False when it is there already."""
        entry = entry_of(second, identifier)
        index, at, present = self._find(entry)
        if present:
            return False
        block = self._blocks[index]
        block[at:at] = entry
        if len(block) > _BLOCK_BYTES_MAX:
            self._cut(index)
        self._changed(identifier, +1)
        return True

    def discard(self, second: int, identifier: bytes) -> bool:
        """Take an id out; False when it is not there."""
        index, at, present = self._find(entry_of(second, identifier))
        if not present:
            return False
        block = self._blocks[index]
        del block[at : at + ENTRY_BYTES]
        if len(block) < _BLOCK_BYTES_MAX // 4:
            self._join(max(index - 1, 0))
        self._changed(identifier, -1)
        return True

    def rank(self, bound: bytes) -> int:
        """How many entries stand before a bound."""
        index = bisect_right(self._lows, bound) - 1
        return self._block_starts()[index] + _offset(self._blocks[index], bound) // ENTRY_BYTES

    def entries(self, start: int, stop: int) -> bytes:
        """The entries from rank `start` up to rank `stop`, 37 bytes each, as one byte string."""
        parts: list[bytes] = []
        self.feed(start, stop, lambda part: parts.append(bytes(part)))
        return b"".join(parts)

    def feed(self, start: int, stop: int, update: Callable[[memoryview], object]) -> None:
        """Hand the entries from rank `start` up to rank `stop` to `update`, in pieces, without a copy.

        `update` may keep no piece: the block under it could not grow any more.
        """
        assert 0 <= start <= stop <= self._count
        starts = self._block_starts()
        index = bisect_right(starts, start) - 1
        while start < stop:
            block = self._blocks[index]
            first = starts[index]
            end = min(stop, first + len(block) // ENTRY_BYTES)
            low, high = (start - first) * ENTRY_BYTES, (end - first) * ENTRY_BYTES
            with memoryview(block) as whole, whole[low:high] as part:
                update(part)
            start = end
            index += 1

    def digest(self) -> bytes:
        """16 bytes that are equal exactly when two sets are."""
        if self._stale or not self._digest:
            self._hash_stale_shards()
            self._digest = tagged_hash("peerd/ids/1", *self._shards)[:DIGEST_BYTES]
        return self._digest

    def _hash_stale_shards(self) -> None:
        """Hash each changed shard's entries in ascending order."""
        hashes = [(first_byte, sha256()) for first_byte in sorted(self._stale)]
        for block in self._blocks:
            column = bytes(block[SECOND_BYTES::ENTRY_BYTES])
            for first_byte, shard in hashes:
                row = column.find(first_byte)
                while row >= 0:
                    shard.update(block[row * ENTRY_BYTES : (row + 1) * ENTRY_BYTES])
                    row = column.find(first_byte, row + 1)
        for first_byte, shard in hashes:
            self._shards[first_byte] = shard.digest()
        self._stale.clear()

    def _find(self, entry: bytes) -> tuple[int, int, bool]:
        """The block that an entry belongs to, where in it (in bytes), and whether it stands there."""
        index = bisect_right(self._lows, entry) - 1
        block = self._blocks[index]
        at = _offset(block, entry)
        return index, at, block[at : at + ENTRY_BYTES] == entry

    def _changed(self, identifier: bytes, difference: int) -> None:
        self._count += difference
        self._starts = None
        self._stale.add(identifier[0])

    def _block_starts(self) -> list[int]:
        if self._starts is None:
            sizes = (len(block) // ENTRY_BYTES for block in self._blocks)
            self._starts = list(accumulate(sizes, initial=0))[:-1]
        return self._starts

    def _cut(self, index: int) -> None:
        """Make two blocks of one that is full."""
        block = self._blocks[index]
        half = len(block) // ENTRY_BYTES // 2 * ENTRY_BYTES
        self._blocks[index : index + 1] = [block[:half], block[half:]]
        self._lows.insert(index + 1, bytes(block[half : half + ENTRY_BYTES]))

    def _join(self, index: int) -> None:
        """Make one block of two neighbors, unless it would soon be cut again."""
        pair = self._blocks[index : index + 2]
        if len(pair) == 2 and len(pair[0]) + len(pair[1]) <= _BLOCK_BYTES_MAX * 3 // 4:
            self._blocks[index : index + 2] = [pair[0] + pair[1]]
            del self._lows[index + 1]

    def _merge(self, piece: list[bytes]) -> None:
        """Put sorted entries in, by building anew every block from the first one they touch."""
        index = bisect_right(self._lows, piece[0]) - 1
        touched = b"".join(self._blocks[index:])
        kept = [touched[at : at + ENTRY_BYTES] for at in range(0, len(touched), ENTRY_BYTES)]
        merged = list(dict.fromkeys(sorted(kept + piece)))
        size = ORDERED_BLOCK_IDS_MAX // 4 * 3
        blocks = [bytearray().join(merged[at : at + size]) for at in range(0, len(merged), size)]
        self._lows[index + 1 :] = merged[size::size]
        self._blocks[index:] = blocks
        self._count += len(merged) - len(kept)
        self._starts = None
        self._stale.update(entry[SECOND_BYTES] for entry in piece)


def _offset(block: bytearray, bound: bytes) -> int:
    """Where the first entry not smaller than `bound` begins, in bytes; the block's end when there is none."""
    low, high = 0, len(block) // ENTRY_BYTES
    if block[-ENTRY_BYTES:] < bound:
        return len(block)
    while low < high:
        middle = (low + high) // 2
        if block[middle * ENTRY_BYTES : (middle + 1) * ENTRY_BYTES] < bound:
            low = middle + 1
        else:
            high = middle
    return low * ENTRY_BYTES
