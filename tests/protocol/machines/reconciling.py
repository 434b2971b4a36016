"""What the tests of reconciliation share: sets, sessions between two sides, and what always holds for one."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from unittest.mock import patch

from hypothesis import strategies as st

from protocol.limits import RECONCILE_BYTES_MAX, RECONCILE_PAYLOAD_BYTES_MAX
from protocol.machines import reconcile
from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.reconcile import Reconciliation, Step

KEY = bytes(range(32))


def many(count: int, start: int = 0, second: int | None = None) -> list[tuple[int, bytes]]:
    """Pairs with well spread ids, in the order of their seconds; all at one second if that is given."""
    return [
        (10 * n if second is None else second, sha256(n.to_bytes(8, "big")).digest())
        for n in range(start, start + count)
    ]


def ids_of(pairs) -> list[bytes]:
    """The ids of some pairs, sorted."""
    return sorted(identifier for _, identifier in pairs)


@dataclass
class Run:
    """What a session between two sides amounted to."""

    payloads: list[bytes] = field(default_factory=list)
    steps: tuple[list[Step], list[Step]] = field(default_factory=lambda: ([], []))  # initiator's, other's

    def theirs_lack(self, side: int) -> list[bytes]:
        return sorted(identifier for step in self.steps[side] for identifier in step.theirs_lack)

    def announced(self, side: int) -> tuple[list[bytes], int]:
        """The ids that a side was told to expect, and how many more."""
        steps = self.steps[side]
        return (
            [identifier for step in steps for identifier in step.ours_lack],
            sum(step.unnamed for step in steps),
        )

    @property
    def complete(self) -> bool:
        return all(steps[-1].complete for steps in self.steps if steps)


def session(one: OrderedIds, other: OrderedIds, key=KEY, short_id=None, meanwhile=lambda: None) -> Run:
    """Run a session to its end and check what always holds; `meanwhile` happens between any two messages."""
    sides = (
        Reconciliation(one, key, initiator=True, short_id=short_id),
        Reconciliation(other, key, initiator=False, short_id=short_id),
    )
    run = Run()
    payload: bytes | None = sides[0].open()
    while payload is not None:
        run.payloads.append(payload)
        assert 0 < len(payload) <= RECONCILE_PAYLOAD_BYTES_MAX
        assert len(run.payloads) <= vars(reconcile)["RECONCILE_MESSAGES_MAX"]
        meanwhile()
        hearer = len(run.payloads) % 2
        step = sides[hearer].answer(payload)
        run.steps[hearer].append(step)
        assert step.done or step.payload is not None
        assert step.done or not step.complete
        payload = step.payload
    assert sum(map(len, run.payloads)) <= RECONCILE_BYTES_MAX
    for steps in run.steps:
        assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]
    return run


def reconciled(one, other, **how) -> Run:
    """Run a complete session over two sets and check that it found exactly their differences."""
    one, other = set(one), set(other)
    run = session(OrderedIds(one), OrderedIds(other), **how)
    assert run.complete
    assert run.theirs_lack(0) == ids_of(one - other)
    assert run.theirs_lack(1) == ids_of(other - one)
    return run


def both_ways(one, other, **how) -> None:
    """Reconcile with either side as the initiator."""
    reconciled(one, other, **how)
    reconciled(other, one, **how)


@contextmanager
def limits(**changed: int):
    """The engine under other limits."""
    with ExitStack() as stack:
        for name, value in changed.items():
            stack.enter_context(patch.object(reconcile, name, value))
        yield


def dated(identifier: bytes) -> tuple[int, bytes]:
    """An id with a second that follows from it: one of three, or any that an hlc can have."""
    second = identifier[0] % 3 if identifier[1] < 0xA0 else int.from_bytes(identifier[2:7], "big")
    return second, identifier


close_ids = st.integers(0, 255).map(lambda last: b"\x77" * 31 + bytes([last]))
any_ids = st.binary(min_size=32, max_size=32)
chosen_sets = st.sets((close_ids | any_ids).map(dated), max_size=120)


@dataclass(frozen=True)
class TwoSets:
    """Two sets that share all, some or none of up to 600 ids; each has up to 120 chosen ones besides."""

    count: int
    rare: int  # of 256 ids, how many only the first side has, and how many only the second
    second: int | None
    seed: int
    chosen: tuple[set[tuple[int, bytes]], set[tuple[int, bytes]]]

    def __iter__(self):
        one, other = set(self.chosen[0]), set(self.chosen[1])
        for pair in many(self.count, second=self.second):
            mark = sha256(bytes([self.seed]) + pair[1]).digest()[0]
            if mark >= self.rare:
                one.add(pair)
            if not self.rare <= mark < 2 * self.rare:
                other.add(pair)
        yield from (one, other)


def two_sets():
    return st.builds(
        TwoSets,
        count=st.integers(0, 600),
        rare=st.sampled_from([0, 1, 16, 128]),
        second=st.sampled_from([None, 7]),
        seed=st.integers(0, 255),
        chosen=st.tuples(chosen_sets, chosen_sets),
    )


def weak(bits: int):
    """A short id of 8 bytes with so few bits that collisions are sure."""
    mask = (1 << bits) - 1

    def short_id(identifier: bytes) -> bytes:
        value = int.from_bytes(blake2b(identifier, digest_size=8).digest(), "big")
        return (value & mask).to_bytes(8, "big")

    return short_id
