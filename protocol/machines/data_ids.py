"""The ids of a group's DATA: two sets of version ids, and the summary of what has settled of them.

Each class of records is a set of its own for reconciliation. What keep-alives tell is one count and digest
over both, so that a node need not tell three. They cover the *settled* ids alone: whoever writes while others
listen would look different from them all the time. Settled is what is dated before the *mark*, a multiple of
16 seconds at least 15 seconds ago; of the expiring class it must also be dated from the *horizon* on, behind
which nodes forget at different times (protocol-study 4.2, R9). What is older than the horizon is outside of
sessions too.

Whoever lacks one that was written of late learns of it by the digest alone, so the digest is told when a mark
has passed something; there is one every 16 seconds at most.

The digest is SHA-256 over 2 x 256 shards, by class and first id byte, of the settled entries in order: a
function of the two sets and of the two seconds. A change hashes one shard again, and so does time when the
mark passes an id; both are noted at once and hashed when the summary is next asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import islice

from protocol.ids import tagged_hash
from protocol.limits import DIGEST_BYTES, DIGEST_SHARDS, MARK_S, SETTLED_S
from protocol.machines.ordered_ids import ENTRY_BYTES, SECOND_BYTES, OrderedIds
from protocol.wire.messages import SECOND_MAX, DataSummary, Namespace

_PIECE_IDS = 16_384  # arbitrary, about 2 MB
_EMPTY_SHARD = sha256().digest()


def mark_at(now_s: int) -> int:
    """The mark of a moment, in seconds UTC."""
    return min(max(0, now_s - SETTLED_S) // MARK_S * MARK_S, SECOND_MAX)


def passed_s(mark_s: int) -> int:
    """The second UTC from which the mark after this one holds."""
    return mark_s + MARK_S + SETTLED_S


class _Settled:
    """The part of one set from one second up to another, and the hashes of its shards."""

    def __init__(self, ids: OrderedIds) -> None:
        self._ids = ids
        self._low_s = self._high_s = 0
        self._shards = [_EMPTY_SHARD] * DIGEST_SHARDS
        self._stale: set[int] = set()  # first id bytes whose shard has changed since it was hashed

    def note(self, second: int, identifier: bytes) -> bool:
        """An id was added or discarded; whether it concerns this part."""
        concerned = self._low_s <= second < self._high_s
        if concerned:
            self._stale.add(identifier[0])
        return concerned

    def move(self, low_s: int, high_s: int) -> None:
        """Set the two seconds; what enters or leaves makes its shards stale."""
        for one, other in ((self._low_s, low_s), (self._high_s, high_s)):
            start, stop = self._rank(min(one, other)), self._rank(max(one, other))
            self._ids.feed(start, stop, lambda part: self._stale.update(part[SECOND_BYTES::ENTRY_BYTES]))
        self._low_s, self._high_s = low_s, high_s

    def __len__(self) -> int:
        return max(0, self._rank(self._high_s) - self._rank(self._low_s))

    def shards(self) -> list[bytes]:
        """The hash of each shard's entries, in ascending order of first id bytes."""
        if self._stale:
            hashes = {first_byte: sha256() for first_byte in sorted(self._stale)}
            start = self._rank(self._low_s)

            def take(part: memoryview) -> None:
                column = bytes(part[SECOND_BYTES::ENTRY_BYTES])
                for first_byte, shard in hashes.items():
                    row = column.find(first_byte)
                    while row >= 0:
                        shard.update(part[row * ENTRY_BYTES : (row + 1) * ENTRY_BYTES])
                        row = column.find(first_byte, row + 1)

            self._ids.feed(start, start + len(self), take)
            for first_byte, shard in hashes.items():
                self._shards[first_byte] = shard.digest()
            self._stale.clear()
        return self._shards

    def _rank(self, second: int) -> int:
        return self._ids.rank(second.to_bytes(SECOND_BYTES, "big"))


class DataIds:
    """The ids of all kept versions. The machine calls `settle` with every event, before anything else."""

    def __init__(self, versions: Iterable[tuple[int, bytes, bool]] = ()) -> None:
        """`versions`: (second of the hlc, version id, durable) of each, in any order."""
        self.durable = OrderedIds()
        self.expiring = OrderedIds()
        coming = iter(versions)
        while some := tuple(islice(coming, _PIECE_IDS)):  # not all of them in memory at once
            self.durable.update((second, identifier) for second, identifier, durable in some if durable)
            self.expiring.update((second, identifier) for second, identifier, durable in some if not durable)
        self.horizon_s = 0
        self.mark_s = 0
        self.revision = 0  # rises with every change to what is settled
        self._settled = (_Settled(self.durable), _Settled(self.expiring))
        self._summary: DataSummary | None = None

    def __len__(self) -> int:
        """How many ids there are, of both classes and of any age."""
        return len(self.durable) + len(self.expiring)

    @property
    def unsettled(self) -> bool:
        """Whether there are ids that the summary says nothing about, since they are too young."""
        mark = self.mark_s.to_bytes(SECOND_BYTES, "big")
        return any(ids.rank(mark) < len(ids) for ids in (self.durable, self.expiring))

    def holds(self, second: int, identifier: bytes, durable: bool) -> bool:
        """Whether an id is in the set."""
        return (second, identifier) in (self.durable if durable else self.expiring)

    def of(self, namespace: Namespace) -> OrderedIds:
        """One of the two sets."""
        assert namespace is not Namespace.AUTH
        return self.durable if namespace is Namespace.DURABLE else self.expiring

    def add(self, second: int, identifier: bytes, durable: bool) -> bool:
        """Put an id in; False when it is there already."""
        added = (self.durable if durable else self.expiring).add(second, identifier)
        self._note(added, second, identifier, durable)
        return added

    def discard(self, second: int, identifier: bytes, durable: bool) -> bool:
        """Take an id out; False when it is not there."""
        discarded = (self.durable if durable else self.expiring).discard(second, identifier)
        self._note(discarded, second, identifier, durable)
        return discarded

    def _note(self, changed: bool, second: int, identifier: bytes, durable: bool) -> None:
        if changed and self._settled[0 if durable else 1].note(second, identifier):
            self.revision += 1
            self._summary = None

    def settle(self, horizon_s: int, mark_s: int) -> None:
        """Let time go on, or back: these are the horizon and the mark now."""
        horizon_s, mark_s = (min(max(0, second), SECOND_MAX) for second in (horizon_s, mark_s))
        if (horizon_s, mark_s) == (self.horizon_s, self.mark_s):
            return
        before = self.settled_count if mark_s > self.mark_s > 0 else None
        self.horizon_s, self.mark_s = horizon_s, mark_s
        self._settled[0].move(0, mark_s)
        self._settled[1].move(min(horizon_s, mark_s), mark_s)
        self._summary = None
        if before is not None and self.settled_count != before:
            self.revision += 1

    @property
    def settled_count(self) -> int:
        """How many ids are settled."""
        return sum(map(len, self._settled))

    def summary(self) -> DataSummary:
        """Count and digest of what is settled."""
        if self._summary is None:
            durable, expiring = self._settled
            digest = tagged_hash("peerd/data-ids/1", *durable.shards(), *expiring.shards())[:DIGEST_BYTES]
            self._summary = DataSummary(self.horizon_s, self.mark_s, self.settled_count, digest)
        return self._summary
