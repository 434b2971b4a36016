"""Dialling: whom a node calls, how patiently, and which addresses it remembers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.errors import RuleError
from protocol.limits import (
    ANTI_ENTROPY_MS,
    DIAL_FAILURES_MAX,
    KNOWN_ADDRESSES_MAX,
    LINK_RENEWAL_MS,
    LINKS_MAX,
    LINKS_TARGET,
    REDIAL_MS_MAX,
    REDIAL_MS_MIN,
)
from protocol.machines.dialling import Dialling
from protocol.machines.events import Close, Connect, Dial, DialFailed, DialOutcome, Disconnect, LinkDown, Stop
from protocol.machines.link import Link
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from protocol.wire.messages import ByeReason
from tests.protocol.machines.playing import Player, in_transaction, link_up, node_id, only
from tests.support.builders import NOW, Group, after
from tests.support.keys import named

UNREACHABLE = DialOutcome.UNREACHABLE


class Book:
    """An address book over a store, and the links that its dials came to."""

    def __init__(self, *seeds: str, seed: int = 1, static: bool = False) -> None:
        self.dialling = Dialling(random.Random(seed))
        self.store = MemoryStore()
        self.links: list[Link] = []
        if seeds or static:
            self.connect(*seeds, static=static)

    def connect(self, *addresses: str, static: bool = False) -> None:
        self._write(lambda store: self.dialling.on_connect(Connect(addresses, static), store))

    def disconnect(self) -> None:
        self._write(self.dialling.on_disconnect)

    def up(self, address: str, node: str, now: Moment = NOW) -> Link:
        """A dial came to a link."""
        self.found(address, node)
        return self.link(node, address, now)

    def found(self, address: str, node: str = "somebody") -> None:
        """A dial came to a link that has ended already."""
        self._write(lambda store: self.dialling.on_up(address, node_id(node), store))

    def listens(self, node: str, *addresses: str) -> None:
        """A neighbor says where it listens."""
        self._write(lambda store: self.dialling.on_listens(addresses, node_id(node), store))

    def link(self, node: str, address: str | None = None, now: Moment = NOW) -> Link:
        """A link is there, whoever made it."""
        key = named(node).public
        link = Link(len(self.links), key, node_id(node), address, None, bytes(32), since_ms=now.mono_ms)
        self.links.append(link)
        return link

    def down(self, link: Link, now: Moment) -> None:
        self.links.remove(link)
        self.dialling.on_link_ended(link, now)

    def fail(self, address: str, now: Moment = NOW, outcome: DialOutcome = UNREACHABLE) -> None:
        self.dialling.on_failed(address, outcome, now)

    def dials(self, now: Moment = NOW) -> list[str]:
        return [dial.address for dial in self.dialling.dials(self.links, now)]

    def visit(self, now: Moment) -> tuple[str | None, Link | None]:
        dial, last = self.dialling.visit(self.links, now)
        return (None if dial is None else dial.address), last

    def deadline(self) -> int | None:
        return self.dialling.next_deadline(self.links)

    def again(self) -> Book:
        """The same after a restart."""
        book = Book(seed=2)
        book.store = self.store.reopened()
        book.dialling.load(book.store)
        return book

    def _write(self, change: Any) -> None:
        in_transaction(self.store, change)


def hosts(count: int, name: str = "host") -> tuple[str, ...]:
    return tuple(f"{name}:{number}" for number in range(1, count + 1))


# --- how many ---------------------------------------------------------------------------------------------


def test_aim_is_five_links_counting_the_dials_under_way():
    book = Book(*hosts(9))
    assert book.dials() == list(hosts(LINKS_TARGET))
    assert book.dials() == []
    book.fail("host:1")
    assert book.dials() == ["host:6"]
    book.up("host:2", "n2")
    assert book.dials() == []


def test_links_that_neighbors_made_count_as_well():
    book = Book(*hosts(9))
    for name in ("n1", "n2", "n3"):
        book.link(name)
    assert len(book.dials()) == 2


def test_static_node_dials_all_its_seeds_and_nobody_else():
    book = Book(*hosts(9), static=True)
    book.dialling.learn(["learnt:1"], ())
    assert book.dials() == list(hosts(9))
    assert len(book.dialling) == 9


def test_who_is_linked_already_is_not_called_under_any_address():
    book = Book(*hosts(2), "host:4")
    book.dialling.learn(["host:3"], ())
    book.link("n1").listens = ("host:1",)
    book.link("n2", "host:2")
    book.listens("n2", "host:3")
    assert book.dials() == ["host:4"]


def test_several_addresses_of_one_node_are_called_one_at_a_time():
    book = Book(*hosts(2))
    for address in hosts(2):
        book.dials()
        book.down(book.up(address, "n1"), NOW)
    assert book.dials(after(5)) == ["host:1"]
    assert book.dials(after(5)) == []
    book.fail("host:1", after(5))
    assert book.dials(after(5)) == ["host:2"]


# --- when -------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_wait_after_failures_doubles_to_a_minute_with_half_as_much_again_at_random(seed, failures):
    book = Book("a:1", seed=seed)
    now = NOW
    for count in range(failures):
        assert book.dials(now) == ["a:1"]
        assert book.deadline() is None
        book.fail("a:1", now)
        due = book.deadline()
        assert due is not None
        base = min(REDIAL_MS_MAX, REDIAL_MS_MIN * 2**count)
        assert base <= due - now.mono_ms <= base * 3 // 2
        assert book.dials(Moment(due - 1, NOW.utc_ms)) == []
        now = Moment(due, NOW.utc_ms)


def test_waits_of_two_nodes_differ():
    waits = []
    for seed in range(8):
        book = Book("a:1", seed=seed)
        book.dials()
        book.fail("a:1")
        waits.append(book.deadline())
    assert len(set(waits)) > 1


def waits_after_links_of(seconds: float) -> list[int]:
    """The waits after each of four links that lasted so long."""
    book, now, waits = Book("a:1"), NOW, []
    for _ in range(4):
        assert book.dials(now) == ["a:1"]
        link = book.up("a:1", "n1", now)
        now = after(seconds, now)
        book.down(link, now)
        due = book.deadline()
        assert due is not None
        waits.append(due - now.mono_ms)
        now = after(waits[-1] / 1000, now)
    return waits


def test_link_that_ends_soon_counts_as_a_failure():
    for count, wait in enumerate(waits_after_links_of(59)):
        assert REDIAL_MS_MIN * 2**count <= wait <= REDIAL_MS_MIN * 2**count * 3 // 2


def test_link_that_lasted_is_sought_again_at_once_each_time():
    assert all(REDIAL_MS_MIN <= wait <= REDIAL_MS_MIN * 3 // 2 for wait in waits_after_links_of(60))


def test_connect_tries_every_address_at_once():
    book = Book("a:1")
    for _ in range(6):
        book.dials(after(100))
        book.fail("a:1", after(100))
    book.dialling.learn(["learnt:1"], ())
    assert book.dials(after(100)) == ["learnt:1"]
    book.fail("learnt:1", after(100))
    book.connect("b:2")
    assert book.dials(after(100)) == ["a:1", "learnt:1", "b:2"]


# --- what is remembered -----------------------------------------------------------------------------------


def test_seed_is_never_forgotten_however_often_it_fails():
    book, now = Book("a:1"), NOW
    for _ in range(5 * DIAL_FAILURES_MAX):
        now = after(100, now)
        assert book.dials(now) == ["a:1"]
        book.fail("a:1", now)
    assert book.dialling.outcomes() == {"a:1": UNREACHABLE}
    assert book.again().dials() == ["a:1"]


@pytest.mark.parametrize("outcome", [UNREACHABLE, DialOutcome.NOTHING, DialOutcome.INCOMPATIBLE])
def test_learnt_address_that_leads_nowhere_is_forgotten_after_some_failures(outcome):
    book, now = Book(), NOW
    book.dialling.learn(["learnt:1"], ())
    for left in range(DIAL_FAILURES_MAX, 0, -1):
        assert (len(book.dialling), left) == (1, left)
        now = after(100, now)
        assert book.dials(now) == ["learnt:1"]
        book.fail("learnt:1", now, outcome)
    assert len(book.dialling) == 0


def test_learnt_address_that_led_to_a_link_is_kept_although_it_fails():
    book, now = Book(), NOW
    book.dialling.learn(["learnt:1"], ())
    book.dials()
    book.down(book.up("learnt:1", "n1"), NOW)
    for _ in range(3 * DIAL_FAILURES_MAX):
        now = after(100, now)
        book.dials(now)
        book.fail("learnt:1", now)
    assert len(book.dialling) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["learn", "dial", "up", "fail"]), st.integers(1, 200)),
        max_size=300,
    ),
    st.integers(0, KNOWN_ADDRESSES_MAX),
)
def test_addresses_are_bounded_and_seeds_stay(steps, seeds):
    book, now = Book(*hosts(seeds)), NOW
    for what, number in steps:
        address = f"learnt:{number}"
        now = after(1, now)
        match what:
            case "learn":
                book.dialling.learn([f"learnt:{i}" for i in range(number, number + 9)], ())
            case "dial":
                book.dials(now)
            case "up":
                book.found(address)
            case _:
                book.fail(address, now)
        assert len(book.dialling) <= KNOWN_ADDRESSES_MAX
        assert book.dialling.seeds() == list(hosts(seeds))


def test_to_make_room_what_led_nowhere_goes_first_and_then_the_oldest():
    book = Book()
    learnt = hosts(KNOWN_ADDRESSES_MAX, "learnt")
    book.dialling.learn(learnt, ())
    assert book.dials()[0] == "learnt:1"
    book.down(book.up("learnt:1", "n1"), NOW)
    book.dialling.learn(["new:1"], ())
    known = book.dialling._known
    assert "learnt:1" in known
    assert "learnt:6" not in known  # 2 to 5 are being called
    for number, address in enumerate(known):
        book.listens(f"x{number}", address)
    book.dialling.learn(["new:2"], ())
    assert "learnt:1" not in known


def test_seeds_alone_leave_no_room_for_learnt_addresses():
    book = Book(*hosts(KNOWN_ADDRESSES_MAX))
    book.dialling.learn(["learnt:1"], ())
    assert len(book.dialling) == KNOWN_ADDRESSES_MAX


def test_seed_takes_the_place_of_a_learnt_address():
    book = Book()
    book.dialling.learn(hosts(KNOWN_ADDRESSES_MAX, "learnt"), ())
    book.connect("a:1")
    assert len(book.dialling) == KNOWN_ADDRESSES_MAX
    assert book.dialling.seeds() == ["a:1"]


def test_own_addresses_are_not_learnt_and_one_that_is_ours_is_dropped():
    book = Book("a:1")
    book.dialling.learn(["me:1", "b:2"], own=["me:1"])
    assert book.dials() == ["a:1", "b:2"]
    book.fail("b:2", outcome=DialOutcome.MYSELF)
    book.fail("a:1", outcome=DialOutcome.MYSELF)
    assert len(book.dialling) == 0


def test_neighbor_cannot_claim_the_address_of_a_node_that_was_found_there():
    book = Book("a:1")
    book.dials()
    book.down(book.up("a:1", "n1"), NOW)
    book.link("liar")
    book.listens("liar", "a:1")
    assert book.dials(after(1)) == ["a:1"]


def test_neighbor_cannot_keep_us_from_the_seeds_by_claiming_one_after_the_other():
    book = Book(*hosts(4))
    book.link("liar")
    for address in hosts(4):
        book.listens("liar", address)
    assert book.dials() == list(hosts(4))


def test_last_failure_is_told_until_the_address_leads_to_a_link():
    book = Book("a:1")
    book.dials()
    book.fail("a:1", outcome=DialOutcome.NOTHING)
    assert book.dialling.outcomes() == {"a:1": DialOutcome.NOTHING}
    book.dials(after(2))
    book.up("a:1", "n1")
    assert book.dialling.outcomes() == {}


def test_news_of_an_address_that_is_not_known_any_more_changes_nothing():
    book = Book("a:1")
    book.fail("gone:1")
    book.dialling.on_refused("gone:1", NOW)
    book.down(book.link("n1", "gone:1"), NOW)
    book.found("gone:1")
    assert (book.dials(), len(book.dialling)) == (["a:1"], 1)


# --- what users want --------------------------------------------------------------------------------------


def test_more_seeds_than_are_kept_are_refused_and_nothing_changes():
    book = Book("a:1")
    with pytest.raises(RuleError) as caught:
        book.connect(*hosts(KNOWN_ADDRESSES_MAX))
    assert (caught.value.code, book.dialling.seeds()) == ("invalid-argument", ["a:1"])
    assert caught.value.hint
    book.connect(*hosts(KNOWN_ADDRESSES_MAX), static=True)
    assert len(book.dialling) == KNOWN_ADDRESSES_MAX


def test_only_forgets_all_others_and_addresses_given_later_end_it():
    book = Book("a:1", "b:2")
    book.dialling.learn(["learnt:1"], ())
    book.connect("b:2", static=True)
    assert book.dials() == ["b:2"]
    book.connect()
    assert book.dialling.only
    book.connect("c:3")
    assert not book.dialling.only
    assert book.dialling.seeds() == ["b:2", "c:3"]


def test_learnt_address_becomes_a_seed_when_a_user_gives_it():
    book = Book()
    book.dialling.learn(["a:1"], ())
    book.connect("a:1")
    assert book.dialling.seeds() == ["a:1"]


def test_links_are_wanted_while_online_and_if_static_from_seeds_or_callers():
    book = Book("a:1", static=True)
    assert [book.dialling.wants(one) for one in ("a:1", "b:2", None)] == [True, False, True]
    book.disconnect()
    assert [book.dialling.wants(one) for one in ("a:1", None)] == [False, False]
    book.connect("b:2")
    assert book.dialling.wants("c:3")
    book.dialling.on_stop()
    assert not book.dialling.wants("a:1")


@pytest.mark.parametrize("end", ["disconnect", "stop"])
def test_nobody_is_called_after_disconnect_or_stop(end):
    book = Book("a:1")
    book.disconnect() if end == "disconnect" else book.dialling.on_stop()
    assert (book.dials(), book.deadline()) == ([], None)
    for name in "vwxyz":
        book.link(name)
    assert (book.visit(after(1000)), book.deadline()) == ((None, None), None)


# --- over a restart ---------------------------------------------------------------------------------------


def test_new_node_is_online_with_an_empty_book():
    book = Book().again()
    assert (book.dialling.online, book.dialling.only, len(book.dialling)) == (True, False, 0)


def test_seeds_and_addresses_that_led_to_a_link_outlive_a_restart():
    book = Book("a:1")
    book.dialling.learn(["good:1", "idle:1"], ())
    book.dials()
    book.up("good:1", "n1")
    again = book.again()
    assert again.dialling.seeds() == ["a:1"]
    assert again.dials() == ["a:1", "good:1"]


def test_neighbors_that_only_called_are_called_after_a_restart():
    book = Book()
    book.dialling.learn(["caller:1", "referral:1"], ())
    book.link("n1").listens = ("caller:1",)
    book.listens("n1", "caller:1")
    assert book.again().dials() == ["caller:1"]


@pytest.mark.parametrize("static", [True, False])
def test_what_the_user_wants_of_links_outlives_a_restart_and_a_stop(static):
    book = Book("a:1", static=static)
    book.dialling.on_stop()
    again = book.again()
    assert (again.dialling.online, again.dialling.only, again.dials()) == (True, static, ["a:1"])
    again.disconnect()
    assert not again.again().dialling.online


def test_link_that_comes_up_while_the_daemon_stops_does_not_keep_the_next_one_offline():
    book = Book("a:1")
    book.dials()
    book.dialling.on_stop()
    book.found("a:1")
    assert book.again().dials() == ["a:1"]


# --- visits -----------------------------------------------------------------------------------------------


def settled(spare: int = 3) -> Book:
    """A node that has its five links, and knows some addresses besides."""
    book = Book(*hosts(LINKS_TARGET))
    book.dials()
    for address in hosts(LINKS_TARGET):
        book.up(address, f"n{address}")
    book.dialling.learn(hosts(spare, "far"), ())
    assert book.dials(after(1000)) == []
    return book


@given(st.integers(0, 2**32))
def test_node_with_its_links_calls_one_more_about_once_a_minute(seed):
    book = settled()
    book.dialling._rng.seed(seed)
    now = NOW
    book.visit(now)
    due = book.deadline()
    assert due is not None
    assert ANTI_ENTROPY_MS // 2 <= due - now.mono_ms < ANTI_ENTROPY_MS * 3 // 2
    assert book.visit(Moment(due - 1, NOW.utc_ms)) == (None, None)
    address, last = book.visit(Moment(due, NOW.utc_ms))
    assert address in hosts(3, "far")
    assert last is None


def first_visit(book: Book) -> tuple[Link, Moment]:
    book.visit(NOW)
    address, _ = book.visit(after(90))
    assert address is not None
    return book.up(address, "far-off", after(90)), after(90)


def test_link_of_a_visit_ends_at_the_next_one():
    book = settled()
    link, now = first_visit(book)
    address, last = book.visit(after(90, now))
    assert address not in (None, link.address)
    assert last is link


def test_link_of_a_visit_stays_when_it_is_needed_by_then():
    book = settled()
    link, now = first_visit(book)
    book.down(book.links[0], now)
    _, last = book.visit(after(90, now))
    assert last is None
    assert link in book.links


def test_no_visit_when_there_is_no_room_for_it():
    book = settled()
    for number in range(LINKS_MAX - LINKS_TARGET):
        book.link(f"caller{number}")
    book.visit(NOW)
    assert book.visit(after(90)) == (None, None)


def test_nobody_is_left_to_visit_in_a_full_mesh():
    book = settled(spare=0)
    assert book.visit(after(90)) == book.visit(after(200)) == (None, None)
    assert book.deadline() is None


def test_static_node_visits_nobody():
    book = Book(*hosts(LINKS_TARGET + 1), static=True)
    book.dials()
    for address in hosts(LINKS_TARGET):
        book.up(address, f"n{address}")
    assert book.visit(after(90)) == book.visit(after(200)) == (None, None)


def learnt_book() -> Book:
    """Links to five addresses that neighbors told of, and one that may be visited."""
    book = Book()
    book.dialling.learn(hosts(LINKS_TARGET + 1), ())
    book.dials()
    for address in hosts(LINKS_TARGET):
        book.up(address, f"n{address}")
    return book


def test_oldest_link_makes_room_for_a_visited_neighbor_every_ten_minutes():
    book = learnt_book()
    visited, now = first_visit(book)
    oldest = book.links[0]
    later = after(LINK_RENEWAL_MS / 1000, now)
    book.dialling.learn(["spare:1"], ())
    _, last = book.visit(later)
    assert last is oldest
    assert visited in book.links


def test_link_to_an_address_that_the_user_gave_is_not_renewed():
    book = settled()
    link, now = first_visit(book)
    _, last = book.visit(after(LINK_RENEWAL_MS / 1000, now))
    assert last is link


def test_addresses_are_drawn_now_and_then_while_links_are_wanted():
    book = Book("seed:1")
    assert book.dialling.draws(NOW)
    assert not book.dialling.draws(after(ANTI_ENTROPY_MS / 1000 - 1))
    assert book.dialling.draws(after(ANTI_ENTROPY_MS / 1000))
    book.disconnect()
    assert not book.dialling.draws(after(1000))
    assert not Book("seed:1", static=True).dialling.draws(NOW)


# --- in the group's machine -------------------------------------------------------------------------------


@pytest.fixture
def player():
    group = Group()
    group.grant("alice -> bob:member")
    return Player.of(group, "bob")


def test_dial_is_asked_for_answered_and_asked_for_again(player):
    assert player.tell(Connect(("a:1",))) == [Dial("a:1")]
    assert only(Dial, player.tell(DialFailed("a:1", UNREACHABLE))) == []
    assert only(Dial, player.at(1)) == [Dial("a:1")]
    player.meet(1, "alice", "a:1")
    player.tell(LinkDown(1))
    assert only(Dial, player.at(3)) == [Dial("a:1")]


@pytest.mark.parametrize("end", [Disconnect(), Stop()])
def test_dial_that_comes_to_a_link_after_the_end_is_closed(end, player):
    player.tell(Connect(("a:1",)), end)
    assert player.tell(link_up(1, "alice", "a:1")) == [Close(1, ByeReason.LEAVING)]
    assert player.neighbors() == []


def test_address_whose_dial_came_to_a_link_after_disconnect_is_called_again_after_connect(player):
    player.tell(Connect(("a:1",)), Disconnect(), link_up(1, "alice", "a:1"), LinkDown(1))
    assert player.tell(Connect(())) == [Dial("a:1")]


def test_only_ends_the_links_that_this_node_dialled_elsewhere(player):
    player.tell(Connect(("a:1", "b:2")))
    player.meet(1, "alice", "a:1")
    player.meet(2, "alice", "b:2", node="lap")
    player.meet(3, "alice", node="desk")
    outputs = player.tell(Connect(("b:2",), only=True))
    assert [one.link for one in only(Close, outputs)] == [1]
    assert player.neighbors() == [2, 3]
