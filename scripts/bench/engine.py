"""What a reconciliation costs: bytes both ways, round trips and processor time, beside the bound for each.

    python -m scripts.bench.engine [--million]

Two sets hold n ids in all and differ in d of them, half of these on either side: the newest ("recent", the
usual case) or any ("spread", a long partition). Bytes are those of the engine's messages, transfers not
counted, summed over all sessions that were needed. Two messages are a round trip, up to the message with
which both sides know all differences. Where nothing differs no session is opened; what counts then is what
a keep-alive says of the set.

The bound is 1.2 times the study's figures for this scheme (16 branches, lists below 32, fingerprints of 16
bytes, short ids of 8).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import process_time

from protocol.codec import encode
from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.reconcile import Reconciliation

Pair = tuple[int, bytes]

SLACK = 1.2
KEEPALIVE_BYTES_MAX = 48
DIFFERENCES = (0, 1, 10, 100, 1_000, 10_000)
KINDS = ("recent", "spread")
_FIRST_SECOND = 1_700_000_000
_SECONDS_BETWEEN_IDS = 30

# (n, d): bytes and round trips when differences are recent, then when they are spread (protocol-study 2.4).
TABLE: dict[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]] = {
    (10_000, 1): ((1_070, 3), (1_080, 3)),
    (10_000, 10): ((1_260, 3), (6_900, 3)),
    (10_000, 100): ((3_600, 3), (38_000, 3)),
    (10_000, 1_000): ((27_000, 3), (137_000, 3)),
    (10_000, 10_000): ((261_000, 3), (360_000, 3)),
    (100_000, 1): ((1_240, 3), (1_240, 3)),
    (100_000, 10): ((1_380, 3), (8_800, 3)),
    (100_000, 100): ((3_200, 3), (57_000, 3)),
    (100_000, 1_000): ((23_000, 3), (295_000, 3)),
    (100_000, 10_000): ((228_000, 3), (1_030_000, 3)),
    (1_000_000, 1): ((1_480, 3), (1_490, 3)),
    (1_000_000, 10): ((1_630, 3), (11_000, 3)),
    (1_000_000, 100): ((3_500, 3), (80_000, 3)),
    (1_000_000, 1_000): ((22_000, 3), (534_000, 3)),
    (1_000_000, 10_000): ((214_000, 4), (2_750_000, 3)),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    n: int
    d: int
    kind: str
    bytes: int
    bytes_expected: int
    round_trips: float
    round_trips_expected: float
    sessions: int
    cpu_ms: float  # of the side that worked more

    @property
    def holds(self) -> bool:
        """Whether the bytes are within the bound."""
        return self.bytes <= SLACK * self.bytes_expected


@dataclass(frozen=True, slots=True)
class Session:
    """What one session cost and found."""

    found: tuple[tuple[bytes, ...], tuple[bytes, ...]]  # what the initiator, then the other, has to send
    bytes: int
    messages: int  # until both know all that the session finds
    cpu_ms: tuple[float, float]
    complete: bool


def hold_session(one: OrderedIds, other: OrderedIds, key: bytes) -> Session:
    """Let two sides talk until they have nothing left to say."""
    sides = Reconciliation(one, key, initiator=True), Reconciliation(other, key, initiator=False)
    spent = [0.0, 0.0]
    found: tuple[list[bytes], list[bytes]] = ([], [])
    began = process_time()
    payload: bytes | None = sides[0].open()
    spent[0] += process_time() - began
    sizes: list[int] = []
    told = 0
    complete = True
    while payload is not None:
        sizes.append(len(payload))
        hearer = len(sizes) % 2
        began = process_time()
        step = sides[hearer].answer(payload)
        spent[hearer] += process_time() - began
        found[hearer].extend(step.theirs_lack)
        if step.theirs_lack or step.ours_lack or step.unnamed:
            told = len(sizes)
        complete = step.complete or not step.done
        payload = step.payload
    return Session(
        found=(tuple(found[0]), tuple(found[1])),
        bytes=sum(sizes),
        messages=told,
        cpu_ms=(spent[0] * 1000, spent[1] * 1000),
        complete=complete,
    )


def make_ids(n: int) -> list[Pair]:
    """`n` pairs with well spread ids, about half a minute apart, oldest first; the same in every run."""
    return [
        (_FIRST_SECOND + _SECONDS_BETWEEN_IDS * number + identifier[0] % _SECONDS_BETWEEN_IDS, identifier)
        for number in range(n)
        for identifier in (sha256(number.to_bytes(8, "big")).digest(),)
    ]


def differing(pairs: Sequence[Pair], d: int, kind: str) -> tuple[list[Pair], list[Pair]]:
    """Which `d` pairs only the one side has, and which only the other."""
    pool = pairs[len(pairs) - d :] if kind == "recent" else pairs
    chosen = sorted(pool, key=lambda pair: pair[1])[:d]
    return chosen[::2], chosen[1::2]


def measure(pairs: Sequence[Pair], d: int, kind: str) -> Row:
    """Reconcile, and transfer what was found, until nothing differs; checks that both sides end equal."""
    only_one, only_other = differing(pairs, d, kind)
    one, other = OrderedIds(pairs), OrderedIds(pairs)
    for pair in only_other:
        one.discard(*pair)
    for pair in only_one:
        other.discard(*pair)
    if d == 0:
        return _equal_row(one, other, kind)
    seconds = {identifier: second for second, identifier in (*only_one, *only_other)}
    sessions: list[Session] = []
    while not sessions or not sessions[-1].complete:
        sessions.append(hold_session(one, other, len(sessions).to_bytes(32, "big")))
        _transfer(sessions[-1].found[0], seconds, other)
        _transfer(sessions[-1].found[1], seconds, one)
    assert one.digest() == other.digest()
    assert sum(len(found) for session in sessions for found in session.found) == d
    expected = TABLE[len(pairs), d][KINDS.index(kind)]
    return Row(
        n=len(pairs),
        d=d,
        kind=kind,
        bytes=sum(session.bytes for session in sessions),
        bytes_expected=expected[0],
        round_trips=sum((session.messages + 1) // 2 for session in sessions),
        round_trips_expected=expected[1],
        sessions=len(sessions),
        cpu_ms=max(sum(times) for times in zip(*(session.cpu_ms for session in sessions), strict=True)),
    )


def _transfer(found: Iterable[bytes], seconds: dict[bytes, int], receiver: OrderedIds) -> None:
    for identifier in found:
        assert receiver.add(seconds[identifier], identifier)


def _equal_row(one: OrderedIds, other: OrderedIds, kind: str) -> Row:
    """A keep-alive and no session."""
    one.digest()
    one.add(0, bytes(32))
    one.discard(0, bytes(32))
    began = process_time()
    digest = one.digest()
    spent_ms = (process_time() - began) * 1000
    assert digest == other.digest()
    return Row(
        n=len(one),
        d=0,
        kind=kind,
        bytes=len(encode({"count": len(one), "digest": digest})),  # what a keep-alive says of one set
        bytes_expected=int(KEEPALIVE_BYTES_MAX / SLACK),
        round_trips=0.5,
        round_trips_expected=0.5,
        sessions=0,
        cpu_ms=spent_ms,
    )


def run(sizes: Sequence[int] = (10_000, 100_000), differences: Sequence[int] = DIFFERENCES) -> list[Row]:
    """All rows for these sizes of the whole set."""
    rows = []
    for n in sizes:
        pairs = make_ids(n)
        rows += [measure(pairs, d, kind) for d in differences for kind in KINDS]
    return rows


def table(rows: Iterable[Row]) -> str:
    """The rows for a person to read."""
    lines = [
        f"{'ids':>9} {'differ':>7} {'':6} {'bytes':>10} {'study':>10} {'ratio':>6} "
        f"{'trips':>6} {'study':>6} {'sessions':>8} {'cpu ms':>8}"
    ]
    lines += [
        f"{row.n:>9,} {row.d:>7,} {row.kind:6} {row.bytes:>10,} {row.bytes_expected:>10,} "
        f"{row.bytes / row.bytes_expected:>6.2f} {row.round_trips:>6} {row.round_trips_expected:>6} "
        f"{row.sessions:>8} {row.cpu_ms:>8.1f}{'' if row.holds else '  over the bound'}"
        for row in rows
    ]
    return "\n".join(lines)


def timings(n: int) -> str:
    """How long building a set of `n` ids takes, adding one, and the first digest."""
    pairs = make_ids(n)
    began = process_time()
    ids = OrderedIds(pairs)
    built = process_time()
    ids.digest()
    hashed = process_time()
    extra = [(second, sha256(identifier).digest()) for second, identifier in pairs[:: max(1, n // 10_000)]]
    adding = process_time()
    for second, identifier in extra:
        ids.add(second, identifier)
    added_us = (process_time() - adding) / len(extra) * 1e6
    built_ms, hashed_ms = (built - began) * 1000, (hashed - built) * 1000
    return f"{n:,} ids: built in {built_ms:.0f} ms, digest {hashed_ms:.0f} ms, adding one {added_us:.1f} µs"


def main() -> None:
    """Print the table and the timings."""
    parser = argparse.ArgumentParser(description="What a reconciliation costs")
    parser.add_argument("--million", action="store_true", help="also with a million ids (about a minute)")
    sizes = [10_000, 100_000] + [1_000_000] * parser.parse_args().million
    print(table(run(sizes)))
    for n in sizes:
        print(timings(n))


if __name__ == "__main__":
    main()
