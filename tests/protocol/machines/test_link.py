"""Links: which neighbors a node has, when it speaks to them for the sake of it, and when it lets them go."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    HANDSHAKE_MS_MAX,
    KEEPALIVE_MS,
    LINK_SILENT_MS_MAX,
    LINKS_MAX,
    MEMBERSHIP_RECHECK_MS,
    REFERRALS_MAX,
    SUMMARY_QUIET_MS,
)
from protocol.machines.events import Close, Dial, LinkDown, LinkUp, Send
from protocol.machines.link import Link, Links, Summary, alive, opening
from protocol.peer_time import Moment
from protocol.wire.messages import Bye, ByeReason, Want
from tests.protocol.machines.playing import Player, link_up, news, node_id, only, said, told
from tests.support.builders import NO_DATA, NOW, Group, after

SUMMARY = Summary(3, b"d" * 16, NO_DATA)
ALIVE = alive(SUMMARY, NOW)


def table(name: str = "mm", *listens: str) -> Links:
    links = Links(node_id(name))
    links.listens = listens
    return links


def begin(links: Links, event: LinkUp, now: Moment = NOW) -> Link | None:
    links.note_said(links.on_up(event, SUMMARY, now), now)
    return links.get(event.link)


def ids(links: Links) -> list[int]:
    return [link.id for link in links]


# --- beginning --------------------------------------------------------------------------------------------


def test_first_word_is_open_with_our_addresses_others_to_try_and_the_digest():
    links = table("mm", "127.0.0.1:7")
    begin(links, link_up(1, "bob", "127.0.0.1:1"))
    assert links.on_up(link_up(2, "carl"), SUMMARY, NOW) == [
        Send(2, opening(("127.0.0.1:7",), ("127.0.0.1:1",), SUMMARY, NOW))
    ]


def test_neighbor_speaks_first_with_open_or_says_bye():
    links = table()
    link = begin(links, link_up(1, "bob"))
    assert link is not None
    with pytest.raises(RemoteProtocolError) as caught:
        links.on_heard(link, ALIVE, NOW)
    assert caught.value.fault is Fault.OUT_OF_TURN
    links.on_heard(link, Bye(ByeReason.FULL, ()), NOW)
    assert not link.opened
    links.on_heard(link, opening((), (), SUMMARY, NOW), NOW)
    links.on_heard(link, ALIVE, NOW)


def test_neighbor_is_reached_where_it_was_dialled_else_where_it_listens():
    links = table()
    dialled, caller = begin(links, link_up(1, "bob", "a:1")), begin(links, link_up(2, "carl"))
    assert dialled is not None
    assert caller is not None
    assert (dialled.reached_at, caller.reached_at) == ("a:1", None)
    dialled.listens = caller.listens = ("b:2", "c:3")
    assert (dialled.reached_at, caller.reached_at) == ("a:1", "b:2")
    assert (dialled.dialled, caller.dialled) == (True, False)


# --- two links between the same two nodes -----------------------------------------------------------------


@given(st.booleans(), st.permutations((1, 2)), st.permutations((1, 2)))
def test_of_two_links_both_sides_keep_the_one_that_the_smaller_node_dialled(swap, order_here, order_there):
    """Link 1 was dialled here, link 2 there; the two sides may learn of them in different orders."""
    here, there = ("zz", "aa") if swap else ("aa", "zz")
    left, right = table(here), table(there)
    for number in order_here:
        begin(left, link_up(number, there, "there:1" if number == 1 else None))
    for number in order_there:
        begin(right, link_up(number, here, "here:2" if number == 2 else None))
    assert ids(left) == ids(right) == [1 if here < there else 2]


@pytest.mark.parametrize("address", [None, "b:2"])
def test_of_two_links_that_one_side_dialled_the_newer_stays(address):
    links = table()
    begin(links, link_up(1, "bob", address))
    outputs = links.on_up(link_up(2, "bob", address), SUMMARY, NOW)
    assert outputs[0] == Close(1, ByeReason.DUPLICATE, ())
    assert ids(links) == [2]


@pytest.mark.parametrize("here", ["aa", "zz"])
@pytest.mark.parametrize("address", [None, "m:1"])
def test_link_that_was_there_for_longer_than_a_dial_takes_gives_way_to_a_newer_one(here, address):
    """Whoever dials has lost it, though nothing was heard of that here."""
    links = table(here)
    begin(links, link_up(1, "mm", address))
    newer = link_up(2, "mm", "m:1" if address is None else None)
    outputs = links.on_up(newer, SUMMARY, after((HANDSHAKE_MS_MAX + 1) / 1000))
    assert outputs[0] == Close(1, ByeReason.DUPLICATE, ())
    assert ids(links) == [2]


def test_link_that_loses_is_closed_as_a_duplicate_and_says_nothing_else():
    links = table("aa")
    begin(links, link_up(1, "zz", "z:1"))
    assert links.on_up(link_up(2, "zz"), SUMMARY, NOW) == [Close(2, ByeReason.DUPLICATE)]


def test_two_machines_of_one_person_are_two_neighbors():
    links = table()
    begin(links, link_up(1, "bob", node="desk"))
    begin(links, link_up(2, "bob", node="lap"))
    assert ids(links) == [1, 2]


# --- room -------------------------------------------------------------------------------------------------


def full(address: bool = True) -> Links:
    links = table()
    for number in range(1, LINKS_MAX + 1):
        begin(links, link_up(number, f"p{number}", f"host:{number}" if address else None))
    return links


def test_neighbor_for_whom_there_is_no_room_is_told_of_others():
    links = full()
    referrals = tuple(f"host:{number}" for number in range(1, LINKS_MAX + 1))
    assert links.on_up(link_up(99, "late"), SUMMARY, NOW) == [Close(99, ByeReason.FULL, referrals)]
    assert len(links) == LINKS_MAX


def test_newer_link_of_a_neighbor_takes_the_place_of_its_older_one_when_there_is_no_room():
    links = full()
    begin(links, link_up(99, "p3", "host:3"))
    assert ids(links) == [1, 2, 4, 5, 6, 7, 8, 99]


def test_whom_the_user_named_alone_finds_room():
    links = full()
    assert isinstance(links.on_up(link_up(99, "late", "late:1"), SUMMARY, NOW, static=True)[0], Send)
    assert links.on_up(link_up(100, "later"), SUMMARY, NOW, static=True)[0].reason == ByeReason.FULL  # type: ignore[union-attr]


def test_dial_of_our_own_finds_no_room_either_unless_its_user_named_it():
    assert full().on_up(link_up(99, "late", "late:1"), SUMMARY, NOW)[0].reason == ByeReason.FULL  # type: ignore[union-attr]


def test_referrals_are_few_and_each_is_told_once():
    links = table()
    for number in range(1, REFERRALS_MAX + 4):
        event = link_up(number, f"p{number}", f"host:{number // 2}")
        links.on_up(event, SUMMARY, NOW, static=True)
    referrals = links.referrals()
    assert len(referrals) == len(set(referrals)) == (REFERRALS_MAX + 4) // 2
    for number in range(20, 30):
        links.on_up(link_up(number, f"p{number}", f"host:{number}"), SUMMARY, NOW, static=True)
    assert len(links.referrals()) == REFERRALS_MAX


def test_newcomer_is_told_to_the_others_once_with_where_it_listens():
    links = table("mm", "me:1")
    begin(links, link_up(1, "bob"))
    newcomer = begin(links, link_up(2, "carl"))
    assert newcomer is not None
    assert links.introduce(newcomer, SUMMARY, NOW) == []
    newcomer.listens = ("carl:1",)
    assert links.introduce(newcomer, SUMMARY, NOW) == [Send(1, opening(("me:1",), ("carl:1",), SUMMARY, NOW))]
    assert links.introduce(newcomer, SUMMARY, NOW) == []


# --- keep-alives ------------------------------------------------------------------------------------------


def test_who_has_said_nothing_for_15_seconds_says_that_it_is_there():
    links = table()
    begin(links, link_up(1, "bob"))
    assert links.on_tick(SUMMARY, after(KEEPALIVE_MS / 1000 - 0.001)) == []
    now = after(KEEPALIVE_MS / 1000)
    outputs = links.on_tick(SUMMARY, now)
    assert outputs == [Send(1, alive(SUMMARY, now))]
    links.note_said(outputs, now)
    assert links.on_tick(SUMMARY, now) == []


def test_any_message_that_leaves_spares_a_keep_alive_on_its_link_alone():
    links = table()
    begin(links, link_up(1, "bob"))
    begin(links, link_up(2, "carl"))
    links.note_said([Send(1, Want(bytes(32))), Close(2, 64)], after(10))
    assert links.on_tick(SUMMARY, after(15)) == [Send(2, alive(SUMMARY, after(15)))]


def test_change_is_told_to_all_when_it_has_been_quiet_for_a_second():
    links = table()
    begin(links, link_up(1, "bob"))
    begin(links, link_up(2, "carl"))
    links.note_change(after(1))
    links.note_change(after(1.9))
    links.note_said([Send(1, Want(bytes(32)))], after(2))
    assert links.on_tick(SUMMARY, after(2)) == []
    quiet = after(1.9 + SUMMARY_QUIET_MS / 1000)
    outputs = links.on_tick(SUMMARY, quiet)
    message = alive(SUMMARY, quiet)
    assert outputs == [Send(1, message), Send(2, message)]
    links.note_said(outputs, quiet)
    assert links.on_tick(SUMMARY, after(4)) == []


@pytest.mark.parametrize("message", [ALIVE, opening((), (), SUMMARY, NOW)])
def test_digest_that_went_out_meanwhile_is_not_told_again(message):
    links = table()
    begin(links, link_up(1, "bob"))
    links.note_change(after(1))
    links.note_said([Send(1, message)], after(1.5))
    assert links.on_tick(SUMMARY, after(3)) == []


# --- silence ----------------------------------------------------------------------------------------------


def test_link_from_which_nothing_comes_for_35_seconds_is_dead():
    links = table()
    silent, talking = begin(links, link_up(1, "bob")), begin(links, link_up(2, "carl"))
    assert silent is not None
    assert talking is not None
    links.on_heard(talking, opening((), (), SUMMARY, NOW), after(1))
    limit = LINK_SILENT_MS_MAX / 1000
    assert all(isinstance(output, Send) for output in links.on_tick(SUMMARY, after(limit - 0.001)))
    assert links.on_tick(SUMMARY, after(limit))[0] == Close(1, ByeReason.LEAVING, ())
    assert ids(links) == [2]


@pytest.mark.parametrize("message", [Want(bytes(32)), ALIVE, Bye(64, ())])
def test_any_message_shows_that_the_neighbor_is_there(message):
    links = table()
    link = begin(links, link_up(1, "bob"))
    assert link is not None
    links.on_heard(link, opening((), (), SUMMARY, NOW), NOW)
    links.on_heard(link, message, after(20))
    assert Close(1, ByeReason.LEAVING, ()) not in links.on_tick(SUMMARY, after(54))
    assert Close(1, ByeReason.LEAVING, ()) in links.on_tick(SUMMARY, after(55))


def test_link_is_closed_once():
    links = table()
    begin(links, link_up(1, "bob"))
    assert links.close(1, ByeReason.LEAVING) == [Close(1, ByeReason.LEAVING, ())]
    assert links.close(1, ByeReason.LEAVING) == []
    assert links.on_down(1) is None


# --- deadlines --------------------------------------------------------------------------------------------


def test_without_neighbors_there_is_nothing_to_wait_for():
    links = table()
    links.note_change(NOW)
    assert links.next_deadline() is None


def test_next_deadline_is_the_first_of_keep_alive_silence_check_and_quiet():
    links = table()
    link = begin(links, link_up(1, "bob"))
    assert link is not None
    assert links.next_deadline() == 0  # memberships were never checked
    links.note_rechecked(NOW)
    assert links.next_deadline() == NOW.mono_ms + KEEPALIVE_MS
    links.note_said([Send(1, ALIVE)], after(30))
    assert links.next_deadline() == NOW.mono_ms + LINK_SILENT_MS_MAX
    links.on_heard(link, Bye(64, ()), after(30))
    links.note_said([Send(1, ALIVE)], after(58))
    assert links.next_deadline() == NOW.mono_ms + MEMBERSHIP_RECHECK_MS
    links.note_rechecked(after(60))
    links.note_change(after(61))
    assert links.recheck_due(after(61))
    links.note_rechecked(after(61))
    assert links.next_deadline() == after(61).mono_ms + SUMMARY_QUIET_MS


# --- in the group's machine -------------------------------------------------------------------------------


@pytest.fixture
def group():
    group = Group()
    group.grant("alice -> bob:member")
    group.grant("alice -> carl:member")
    return group


@pytest.fixture
def player(group):
    return Player.of(group, "bob")


def test_message_after_close_is_ignored(player):
    player.meet(1, "alice")
    player.hear(1, Bye(ByeReason.LEAVING, ()))
    summary = player.machine.synchronize.summary()
    assert player.hear(1, Want(bytes(32)), ALIVE, opening(("x:1",), (), SUMMARY, NOW)) == []
    assert player.machine.synchronize.summary() == summary
    assert len(player.machine.dialling) == 0
    assert player.tell(LinkDown(1)) == []


def test_bye_ends_the_link_and_its_referrals_are_tried(player):
    player.meet(1, "alice")
    outputs = player.hear(1, Bye(ByeReason.FULL, ("c:3", "d:4")))
    assert player.neighbors() == []
    assert told(outputs) == ["neighbor-disconnected"]
    assert only(Dial, outputs) == [Dial("c:3"), Dial("d:4")]


def test_bye_may_come_before_open(player):
    player.tell(link_up(1, "alice"))
    assert Close(1, ByeReason.LEAVING, ()) in player.hear(1, Bye(ByeReason.DUPLICATE, ()))


def test_connection_that_breaks_is_told_once(player):
    player.meet(1, "alice")
    assert told(player.tell(LinkDown(1))) == ["neighbor-disconnected"]
    assert player.tell(LinkDown(1)) == []


def test_neighbor_that_is_silent_is_let_go_in_the_machine_too(player):
    player.meet(1, "alice")
    player.at(20)
    outputs = player.at(LINK_SILENT_MS_MAX / 1000)
    assert Close(1, ByeReason.LEAVING, ()) in outputs
    assert told(outputs) == ["neighbor-disconnected"]
    assert (player.neighbors(), player.machine.synchronize.busy) == ([], ())


def test_change_reaches_the_digest_that_neighbors_are_told_a_second_later(group, player):
    player.meet(1, "alice")
    player.meet(2, "carl")
    granted = group.grant("alice -> dave:member")
    player.at(5)
    player.hear(1, news(*granted.elements))
    assert said(player.at(5.5)) == []
    assert player.deadline() == after(6).mono_ms
    outputs = player.at(6)
    assert said(outputs, 1) == said(outputs, 2) == [player.agree()]
    assert said(player.at(7)) == []


def test_new_revision_of_records_is_told_as_a_change_is_but_checks_no_memberships():
    links = table()
    begin(links, link_up(1, "bob"))
    links.note_rechecked(NOW)
    links.note_settled(0, after(1))
    assert links.on_tick(SUMMARY, after(3)) == []
    links.note_settled(4, after(3))
    links.note_settled(4, after(3.5))
    assert not links.recheck_due(after(3))
    quiet = after(3 + SUMMARY_QUIET_MS / 1000)
    assert links.next_deadline() == quiet.mono_ms
    assert links.on_tick(SUMMARY, after(3.9)) == []
    assert links.on_tick(SUMMARY, quiet) == [Send(1, alive(SUMMARY, quiet))]


def test_clock_beyond_what_a_message_can_tell_is_told_as_far_as_it_goes():
    for expected, clock in ((0, -5), (2**48 - 1, 2**50)):
        now = Moment(0, clock)
        assert alive(SUMMARY, now).time == expected
        assert opening((), (), SUMMARY, now).time == expected
