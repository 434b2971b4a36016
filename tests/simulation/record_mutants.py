"""Mutants of how records are kept, told by hand: each is an error that the design warns of.

A mutant is put in place for one run of the simulator, and that run must fail. `CAUGHT_IN` has a run for each
that does, found by trying seeds; `python -m tests.simulation.record_mutants` tries them all, and more.

    time instead of the order key    of two versions of one millisecond, the one that came first wins
    header dropped at expiry         an expired version is forgotten at once, and with it what it beat
    no floor                         group time is the clock's, right or wrong
    Windows' version compared        the largest counter wins, whoever wrote last
    filter before the commit         what has been seen is never taken again, committed or not
    rule dropped                     (in test_record_mutants.py, each rule of admission)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

from protocol.machines import record_keeping
from protocol.machines.group_time import GroupTime
from protocol.machines.record_keeping import Keeping
from protocol.machines.records import Records
from protocol.peer_time import Moment, hlc_ms
from protocol.records import order
from protocol.records.record import Header
from protocol.sim.scenario import Scenario, SimulationFailed, simulate

Mutant = Callable[[], Any]
ABOUT_MS = 5_000


@contextmanager
def time_instead_of_the_order_key() -> Iterator[None]:
    """Of several authors' versions of about one time, the one that came first wins.

    About, since the users of a short run seldom write in one millisecond.
    """
    really = order.kept

    def kept(versions: Iterable[Any], creator: bytes) -> list[Any]:
        every = list(versions)
        return sorted(
            really(every, creator), key=lambda one: (-(hlc_ms(one.hlc) // ABOUT_MS), every.index(one))
        )

    with patch.object(record_keeping, "kept", kept):
        yield


@contextmanager
def header_dropped_at_expiry() -> Iterator[None]:
    """What has expired is forgotten, header and all."""
    expire = Keeping.expire

    def forgetful(self: Keeping, terms: Any, store: Any) -> Any:
        ended = store.ended(terms.time_s, 256)
        changes = expire(self, terms, store)
        for record_id in ended:
            for one in store.versions(record_id):
                self._ids.discard(hlc_ms(one.hlc) // 1_000, one.id, False)
                store.discard_version(one.id)
        return changes

    with patch.object(Keeping, "expire", forgetful):
        yield


@contextmanager
def no_floor() -> Iterator[None]:
    """Every node believes its clock."""

    def by_the_clock(self: GroupTime, now: Moment) -> int:
        return now.utc_ms

    with patch.object(GroupTime, "certain_ms", by_the_clock):
        yield


@contextmanager
def windows_version_compared() -> Iterator[None]:
    """The counter decides before the order key does."""
    counters: dict[bytes, int] = {}
    really, keep = order.kept, Keeping.keep

    def remembering(self: Keeping, header: Header, *more: Any) -> Any:
        counters[header.id] = header.version
        return keep(self, header, *more)

    def kept(versions: Iterable[Any], creator: bytes) -> list[Any]:
        first = really(list(versions), creator)
        return sorted(first, key=lambda one: counters.get(one.id, 0), reverse=True)

    with patch.object(Keeping, "keep", remembering), patch.object(record_keeping, "kept", kept):
        yield


@contextmanager
def filter_before_the_commit() -> Iterator[None]:
    """A node remembers what it has seen, and a crash before the commit does not make it forget."""
    seen: WeakKeyDictionary[Any, set[bytes]] = WeakKeyDictionary()
    take_one = Records._take_one

    def once(self: Records, item: Any, now: Moment, batch: Any) -> None:
        known = seen.setdefault(batch.store._tables, set())
        if item.header.id not in known:
            known.add(item.header.id)
            take_one(self, item, now, batch)

    with patch.object(Records, "_take_one", once):
        yield


MUTANTS: dict[str, Mutant] = {
    "time instead of the order key": time_instead_of_the_order_key,
    "header dropped at expiry": header_dropped_at_expiry,
    "no floor": no_floor,
    "Windows' version compared": windows_version_compared,
    "filter before the commit": filter_before_the_commit,
}
PLAIN = Scenario(nodes=4, seconds=30, acts=0, records=30)
CRASHES = Scenario(nodes=4, seconds=40, acts=0, records=40, faults=("crash", "power", "disk"))
APART = Scenario(nodes=4, seconds=40, acts=0, records=40, faults=("partition",))
YEARS = Scenario(nodes=4, seconds=40, acts=0, records=40, faults=("years", "power"))
SCENARIOS = (PLAIN, CRASHES, APART, YEARS)
SEEDS = range(5)

# A seed and a scenario in which each one shows.
CAUGHT_IN: dict[str, tuple[int, Scenario]] = {
    "time instead of the order key": (0, PLAIN),
    "header dropped at expiry": (0, PLAIN),
    "no floor": (0, YEARS),
    "Windows' version compared": (1, APART),
    "filter before the commit": (1, CRASHES),
}


def how_it_shows(mutant: str, seed: int, scenario: Scenario) -> str | None:
    """What a run says with a mutant in place; None when it says nothing."""
    try:
        with MUTANTS[mutant]():
            simulate(seed, scenario)
    except SimulationFailed as failed:
        return str(failed).splitlines()[-1]
    return None


def main() -> int:
    """Print how each mutant shows, with the first seed and scenario; 1 if one never does."""
    survivors = 0
    for name in MUTANTS:
        tried = ((seed, scenario) for seed in SEEDS for scenario in SCENARIOS)
        shown = ((seed, one, text) for seed, one in tried if (text := how_it_shows(name, seed, one)))
        found = next(shown, None)
        survivors += found is None
        print(
            f"{name:<32}", "SURVIVES" if found is None else f"seed {found[0]}, {found[1].faults}: {found[2]}"
        )
        sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
