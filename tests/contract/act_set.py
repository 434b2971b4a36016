"""What every `ActStore` does: one suite, run over each implementation by the tests beside it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from types import ModuleType
from typing import Any, ClassVar, Protocol

import pytest
from hypothesis import given, strategies as st

from protocol.authority.act_set import ActStore, LoggedEvent
from protocol.authority.memory import MemoryActSet
from protocol.limits import (
    ACT_BYTES_MAX,
    EVENT_FACTS_BYTES_MAX,
    EVENT_KIND_CHARACTERS_MAX,
    EVENTS_PAGE_MAX,
    SETTING_BYTES_MAX,
    SETTING_KEY_CHARACTERS_MAX,
)

NAMES = ("a", "b", "c", "d", "e", "f")
KEYS = ("node-id", "chain", "last-act")


def id_of(name: str) -> bytes:
    """The id of the element that a test calls `name`."""
    return sha256(name.encode()).digest()


def raw_of(name: str) -> bytes:
    """Its bytes: 700, like an act's."""
    return name.encode().ljust(700, b".")


class Medium(Protocol):
    """Where an implementation keeps what is committed, with the accidents that a test can cause."""

    def open(self) -> ActStore:
        """A set on what is durable; the one opened before was closed or has crashed."""

    def crash(self) -> None:
        """The process that holds the open set dies."""

    def fail_from(self, write: int) -> None:
        """Of the writes from now on, this one (counted from 1) fails, and all after it."""

    def heal(self) -> None:
        """Writes succeed again, for whoever opens anew."""


def state_of(store: ActStore) -> dict[str, Any]:
    """All that can be asked, in a form that can be compared."""
    ids = [id_of(name) for name in NAMES]
    return {
        "load": list(store.load()),
        "get": [store.get(element_id) for element_id in ids],
        "arrival": [store.arrival_of(element_id) for element_id in ids],
        "order": store.in_arrival_order(ids),
        "settings": [store.setting(key) for key in KEYS],
        "events": store.events_after(0, EVENTS_PAGE_MAX),
        "first": store.first_event(),
        "last": store.last_event(),
    }


def put(store: ActStore, *names: str) -> None:
    """Put elements in a transaction of their own."""
    store.begin()
    for name in names:
        store.put(id_of(name), raw_of(name))
    store.commit()


def _first(store: ActStore) -> None:
    store.put(id_of("a"), raw_of("a"))
    store.put(id_of("b"), raw_of("b"))
    store.set_setting("chain", b"1")
    store.note("act", 1_000, b"\x80")


def _second(store: ActStore) -> None:
    store.discard(id_of("a"))
    store.put(id_of("c"), raw_of("c"))
    store.set_setting("chain", None)
    store.set_setting("node-id", b"n" * 16)


def _third(store: ActStore) -> None:
    store.note("act", 2_000, b"\x80")
    store.note("act", 2_001, b"\x80")
    store.put(id_of("a"), raw_of("a"))


WORK: tuple[Callable[[ActStore], None], ...] = (_first, _second, _third)


def run_work(store: ActStore, acknowledged: list[int]) -> None:
    """Each piece of work in a transaction; `acknowledged` grows by its number once it is committed."""
    for number, piece in enumerate(WORK):
        store.begin()
        piece(store)
        store.commit()
        acknowledged.append(number)


def states_of_work() -> list[dict[str, Any]]:
    """The state before the work, and after each piece."""
    store = MemoryActSet()
    states = [state_of(store)]
    for piece in WORK:
        store.begin()
        piece(store)
        store.commit()
        states.append(state_of(store))
    return states


class ActStoreContract:
    """The suite. A child gives the fixture `new_medium` and names what a failed write raises."""

    module: ClassVar[ModuleType]
    failure: ClassVar[type[Exception]]

    @pytest.fixture
    def new_medium(self) -> Callable[[], Medium]:
        """Makes empty media."""
        raise AssertionError("a child defines it")

    @pytest.fixture
    def medium(self, new_medium):
        return new_medium()

    @pytest.fixture
    def store(self, medium):
        store = medium.open()
        yield store
        store.close()

    # --- elements -----------------------------------------------------------------------------------------

    def test_new_set_is_empty(self, store):
        assert state_of(store) == state_of(MemoryActSet())
        assert (list(store.load()), store.first_event(), store.last_event()) == ([], 1, 0)

    def test_elements_are_loaded_in_the_order_of_their_arrival(self, store):
        put(store, "c", "a")
        put(store, "b")
        assert list(store.load()) == [raw_of("c"), raw_of("a"), raw_of("b")]
        assert [store.arrival_of(id_of(name)) for name in "abc"] == [2, 3, 1]

    def test_unknown_id_has_neither_bytes_nor_arrival(self, store):
        put(store, "a")
        assert store.get(id_of("b")) is None
        assert store.arrival_of(id_of("b")) is None

    def test_transaction_sees_its_own_writes(self, store):
        put(store, "a", "b")
        store.begin()
        store.discard(id_of("a"))
        store.put(id_of("c"), raw_of("c"))
        store.set_setting("chain", b"1")
        assert list(store.load()) == [raw_of("b"), raw_of("c")]
        assert store.get(id_of("a")) is None
        assert store.get(id_of("c")) == raw_of("c")
        assert store.in_arrival_order([id_of("c"), id_of("a"), id_of("b")]) == [id_of("b"), id_of("c")]
        assert store.setting("chain") == b"1"
        store.rollback()

    def test_only_known_ids_come_back_in_arrival_order_and_each_once(self, store):
        put(store, *NAMES[:4])
        asked = [id_of(name) for name in ("f", "d", "b", "d", "a")]
        assert store.in_arrival_order(asked) == [id_of(name) for name in ("a", "b", "d")]
        assert store.in_arrival_order([]) == []

    def test_arrival_number_of_a_discarded_element_is_not_given_again(self, medium, store):
        put(store, "a", "b")
        store.begin()
        store.discard(id_of("b"))
        store.commit()
        medium.crash()
        again = medium.open()
        put(again, "c", "b")
        assert [again.arrival_of(id_of(name)) for name in "abc"] == [1, 4, 3]
        assert list(again.load()) == [raw_of("a"), raw_of("c"), raw_of("b")]
        again.close()

    def test_element_may_leave_and_return_in_one_transaction(self, store):
        put(store, "a", "b")
        store.begin()
        store.discard(id_of("a"))
        store.put(id_of("a"), raw_of("a"))
        store.discard(id_of("b"))
        store.commit()
        assert list(store.load()) == [raw_of("a")]
        assert store.arrival_of(id_of("a")) == 3

    def test_element_that_came_and_went_in_one_transaction_leaves_nothing_but_its_number(self, store):
        store.begin()
        store.put(id_of("a"), raw_of("a"))
        store.discard(id_of("a"))
        assert store.get(id_of("a")) is None
        store.put(id_of("b"), raw_of("b"))
        store.commit()
        assert list(store.load()) == [raw_of("b")]
        assert store.arrival_of(id_of("b")) == 2

    def test_discarding_what_is_not_there_changes_nothing(self, store):
        put(store, "a")
        before = state_of(store)
        store.begin()
        store.discard(id_of("b"))
        store.commit()
        assert state_of(store) == before

    def test_putting_an_id_twice_is_our_mistake(self, store):
        put(store, "a")
        store.begin()
        with pytest.raises(AssertionError, match="put once"):
            store.put(id_of("a"), raw_of("b"))
        store.rollback()
        assert store.get(id_of("a")) == raw_of("a")

    # --- settings and events ------------------------------------------------------------------------------

    def test_setting_is_what_was_set_last(self, store):
        for value in (b"1", b"", b"3", None):
            store.begin()
            store.set_setting("chain", value)
            store.set_setting("node-id", b"n")
            store.commit()
            assert store.setting("chain") == value
            assert store.setting("node-id") == b"n"

    def test_events_are_numbered_from_one_and_read_in_pages(self, store):
        store.begin()
        numbers = [store.note(f"kind-{n}", n, bytes([n])) for n in range(1, 6)]
        store.commit()
        events = [LoggedEvent(n, n, f"kind-{n}", bytes([n])) for n in range(1, 6)]
        assert numbers == [1, 2, 3, 4, 5]
        assert store.events_after(0, 2) == events[:2]
        assert store.events_after(2, EVENTS_PAGE_MAX) == events[2:]
        assert store.events_after(5, 1) == store.events_after(99, 1) == []
        assert (store.first_event(), store.last_event()) == (1, 5)

    def test_uncommitted_events_are_not_shown(self, store):
        store.begin()
        store.note("act", 1, b"")
        assert (store.events_after(0, 10), store.first_event(), store.last_event()) == ([], 1, 0)
        store.commit()
        store.begin()
        store.note("act", 2, b"")
        assert [event.number for event in store.events_after(0, 10)] == [1]
        store.rollback()

    def test_event_log_keeps_the_newest(self, new_medium, monkeypatch):
        monkeypatch.setattr(self.module, "EVENTS_KEPT_MAX", 3)
        store = new_medium().open()
        for at_ms in range(1, 6):
            store.begin()
            store.note("act", at_ms, b"")
            store.commit()
        assert [event.number for event in store.events_after(0, 10)] == [3, 4, 5]
        assert [event.number for event in store.events_after(3, 1)] == [4]
        assert (store.first_event(), store.last_event()) == (3, 5)
        store.close()

    # --- transactions -------------------------------------------------------------------------------------

    def test_rollback_leaves_nothing(self, store):
        put(store, "a", "b")
        before = state_of(store)
        store.begin()
        store.put(id_of("c"), raw_of("c"))
        store.discard(id_of("a"))
        store.set_setting("chain", b"1")
        assert store.note("act", 1, b"") == 1
        store.flush()
        assert store.note("act", 1, b"") == 2
        store.rollback()
        assert state_of(store) == before
        put(store, "d")
        assert store.arrival_of(id_of("d")) == 3
        store.begin()
        assert store.note("act", 1, b"") == 1
        store.commit()

    def test_empty_transaction_changes_nothing(self, store):
        before = state_of(store)
        store.begin()
        store.commit()
        assert state_of(store) == before

    def test_crash_takes_what_is_not_committed_and_nothing_else(self, medium, store):
        run_work(store, [])
        before = state_of(store)
        store.begin()
        store.put(id_of("d"), raw_of("d"))
        store.note("act", 9, b"")
        medium.crash()
        again = medium.open()
        assert state_of(again) == before
        again.close()

    def test_what_was_closed_is_found_again(self, medium, store):
        run_work(store, [])
        before = state_of(store)
        store.begin()
        store.put(id_of("d"), raw_of("d"))
        store.close()
        store.close()
        again = medium.open()
        assert state_of(again) == before
        again.close()

    def test_commit_may_run_on_another_thread(self, medium, store):
        with ThreadPoolExecutor(max_workers=1) as worker:
            for name in NAMES:
                store.begin()
                store.put(id_of(name), raw_of(name))
                store.note("act", 1, b"")
                worker.submit(store.commit).result()
                assert store.arrival_of(id_of(name)) == store.last_event()
        medium.crash()
        again = medium.open()
        assert list(again.load()) == [raw_of(name) for name in NAMES]
        again.close()

    def test_failure_of_any_write_leaves_all_or_nothing_of_its_transaction(self, new_medium):
        states = states_of_work()
        write = 0
        while True:
            write += 1
            medium = new_medium()
            store = medium.open()
            medium.fail_from(write)
            acknowledged: list[int] = []
            try:
                run_work(store, acknowledged)
                store.close()
            except self.failure:
                if len(acknowledged) < len(WORK):
                    self._check_refuses_everything(store)
                medium.crash()
                medium.heal()
            else:
                break
            again = medium.open()
            done = len(acknowledged)
            # A write that fails at the very end may still have reached the medium: unknown to its caller.
            assert state_of(again) in states[done : done + 2], write
            run_work_from(again, state_of(again), states)
            assert state_of(again) == states[-1], write
            again.close()
        assert acknowledged == [0, 1, 2]
        assert write > len(WORK)

    def _check_refuses_everything(self, store: ActStore) -> None:
        store.rollback()
        refused: tuple[Callable[[], object], ...] = (
            store.begin,
            store.commit,
            lambda: list(store.load()),
            lambda: store.get(id_of("a")),
            lambda: store.arrival_of(id_of("a")),
            lambda: store.in_arrival_order([id_of("a")]),
            lambda: store.put(id_of("a"), raw_of("a")),
            lambda: store.discard(id_of("a")),
            lambda: store.setting("chain"),
            lambda: store.set_setting("chain", b"1"),
            lambda: store.note("act", 1, b""),
            lambda: store.events_after(0, 1),
            store.first_event,
            store.last_event,
        )
        for call in refused:
            with pytest.raises(self.failure):
                call()

    # --- our own mistakes ---------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "write",
        [
            lambda store: store.put(id_of("a"), raw_of("a")),
            lambda store: store.discard(id_of("a")),
            lambda store: store.set_setting("chain", b"1"),
            lambda store: store.note("act", 1, b""),
            lambda store: store.commit(),
            lambda store: store.rollback(),
        ],
        ids=["put", "discard", "set_setting", "note", "commit", "rollback"],
    )
    def test_writing_outside_a_transaction_is_our_mistake(self, store, write):
        before = state_of(store)
        with pytest.raises(AssertionError):
            write(store)
        assert state_of(store) == before

    def test_transactions_do_not_nest(self, store):
        store.begin()
        with pytest.raises(AssertionError, match="one transaction"):
            store.begin()
        store.rollback()

    @pytest.mark.parametrize(
        "write",
        [
            lambda store: store.put(b"short", b"x"),
            lambda store: store.put(id_of("a"), b""),
            lambda store: store.put(id_of("a"), bytes(ACT_BYTES_MAX + 1)),
            lambda store: store.set_setting("", b"x"),
            lambda store: store.set_setting("k" * (SETTING_KEY_CHARACTERS_MAX + 1), b"x"),
            lambda store: store.set_setting("chain", bytes(SETTING_BYTES_MAX + 1)),
            lambda store: store.note("", 1, b""),
            lambda store: store.note("k" * (EVENT_KIND_CHARACTERS_MAX + 1), 1, b""),
            lambda store: store.note("act", -1, b""),
            lambda store: store.note("act", 2**63, b""),
            lambda store: store.note("act", 1, bytes(EVENT_FACTS_BYTES_MAX + 1)),
            lambda store: store.events_after(0, 0),
            lambda store: store.events_after(0, EVENTS_PAGE_MAX + 1),
        ],
    )
    def test_values_out_of_bounds_are_our_mistake(self, store, write):
        store.begin()
        with pytest.raises(AssertionError):
            write(store)
        store.rollback()
        assert state_of(store) == state_of(MemoryActSet())

    def test_values_at_their_bounds_are_kept(self, store):
        store.begin()
        store.put(id_of("a"), bytes(ACT_BYTES_MAX))
        store.set_setting("k" * SETTING_KEY_CHARACTERS_MAX, bytes(SETTING_BYTES_MAX))
        store.note("k" * EVENT_KIND_CHARACTERS_MAX, 2**63 - 1, bytes(EVENT_FACTS_BYTES_MAX))
        store.commit()
        assert store.get(id_of("a")) == bytes(ACT_BYTES_MAX)
        assert store.setting("k" * SETTING_KEY_CHARACTERS_MAX) == bytes(SETTING_BYTES_MAX)
        assert store.events_after(0, 1) == [
            LoggedEvent(1, 2**63 - 1, "k" * EVENT_KIND_CHARACTERS_MAX, bytes(EVENT_FACTS_BYTES_MAX))
        ]


def run_work_from(store: ActStore, state: dict[str, Any], states: list[dict[str, Any]]) -> None:
    """The rest of the work, for a set that is in one of the states of the work."""
    for piece in WORK[states.index(state) :]:
        store.begin()
        piece(store)
        store.commit()


# --- histories --------------------------------------------------------------------------------------------

Step = tuple[str, Any]

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.sampled_from(["toggle"]), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["set"]), st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=3))),
    st.tuples(st.sampled_from(["note"]), st.integers(0, 2**63 - 1)),
    st.tuples(st.sampled_from(["flush", "commit", "rollback", "crash", "close"]), st.none()),
)


def take_step(store: ActStore, step: Step) -> None:
    """Do one step that stays inside the open transaction, or ends it and begins the next."""
    match step:
        case ("toggle", name):
            if store.get(id_of(name)) is None:
                store.put(id_of(name), raw_of(name))
            else:
                store.discard(id_of(name))
        case ("set", (key, value)):
            store.set_setting(key, value)
        case ("note", at_ms):
            store.note("act", at_ms, b"\x80")
        case ("flush", _):
            store.flush()
        case ("commit", _):
            store.commit()
            store.begin()
        case _:
            assert step[0] == "rollback"
            store.rollback()
            store.begin()


def histories() -> Callable[..., Any]:
    """A test over histories of up to 30 steps."""
    return given(history=st.lists(STEPS, max_size=30))


def check_history(medium: Medium, history: list[Step]) -> None:
    """After every step the set answers as the one in memory does."""
    model = MemoryActSet()
    store = medium.open()
    store.begin()
    model.begin()
    for step in history:
        if step[0] in ("crash", "close"):
            if step[0] == "crash":
                medium.crash()
            store.close()
            store, model = medium.open(), model.reopened()
            store.begin()
            model.begin()
        else:
            take_step(store, step)
            take_step(model, step)
        assert state_of(store) == state_of(model), step
    store.close()
