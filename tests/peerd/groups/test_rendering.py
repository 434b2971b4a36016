"""What the machines know, in the words of the API: nothing is guessed, nothing is left out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509

from peerd.control.schema import time_at, time_at_ms
from peerd.groups.base64url import write_base64url
from peerd.groups.rendering import act, credential, member, neighbor, own_credential, pem_of
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.elements import Element
from protocol.machines.events import Adopt, Input, LinkUp, Received
from protocol.machines.group import GroupMachine
from protocol.machines.link import opening
from protocol.peer_time import Moment, Window, hlc_ms
from protocol.records.memory import MemoryStore
from tests.support.builders import DAY, NOW, Granted, Group, after
from tests.support.keys import named, peer_name

LATER = after(3600)
AT_S = LATER.utc_s
NOBODY = frozenset[bytes]()


@pytest.fixture
def group():
    return Group()


def name_of(group: Group) -> str:
    return group.founding.group_name


class Desk:
    """alice's machine over a store of its own, with all that the group has, or with a part of it."""

    def __init__(self, group: Group, elements: Sequence[Element] | None = None, name: str = "alice") -> None:
        self.group_name = name_of(group)
        self.store = MemoryStore()
        self.machine = GroupMachine(group.gid, named(name), node_id=bytes(16), rng=random.Random(0))
        self.machine.load(LATER, self.store)
        self.store.begin()
        self.machine.members.take(group.elements if elements is None else elements, None, LATER, self.store)
        self.store.commit()

    def handle(self, event: Input) -> None:
        self.store.begin()
        self.machine.handle(event, LATER, self.store)
        self.store.commit()

    def member(self, name: str, at_s: int = AT_S, own: frozenset[bytes] = NOBODY) -> Any:
        return member(self.machine, self.group_name, named(name).public.pid, own, at_s)


def shown(group: Group, granted: Granted, at_s: int = AT_S) -> Any:
    return credential(group.view, name_of(group), granted.grant, at_s)


# --- credentials ------------------------------------------------------------------------------------------


def test_a_credential_says_what_its_grant_says(group):
    bob = group.grant("grc -> alice:admin -> bob:member", friendly="Bob B.")
    grant, said = bob.grant, shown(group, bob)
    assert said.grant_id == bob.act.id.hex()
    assert said.group == name_of(group)
    assert (said.subject, said.friendly_name) == (str(peer_name("bob")), "Bob B.")
    assert (said.roles, said.level) == (["member"], 255)
    assert said.issued == time_at_ms(hlc_ms(grant.hlc))
    assert (said.not_before, said.not_after) == (time_at(grant.window.start), time_at(grant.window.end))
    assert (said.stored, said.held, said.live, said.current) == (True, True, True, True)


def test_a_credential_has_the_serial_of_its_certificate(group):
    bob = group.grant("grc -> alice:admin -> bob:member")
    certificate = x509.load_pem_x509_certificate(pem_of(bob.der.certificate.der).encode())
    assert int(shown(group, bob).serial, 16) == certificate.serial_number


def test_the_issuer_is_the_author_or_the_group_itself(group):
    bob = shown(group, group.grant("grc -> alice:admin -> bob:member"))
    assert (bob.issuer, bob.issuer_friendly_name) == (str(peer_name("alice")), "Alice")
    alice = shown(group, group.creator)
    assert (alice.issuer, alice.issuer_friendly_name) == (name_of(group), "Family")


def test_an_issuer_whose_credential_is_not_here_goes_by_its_key(group):
    bob = group.grant("grc -> alice:admin -> bob:member")
    said = credential(Group("elsewhere").view, name_of(group), bob.grant, AT_S)
    assert (said.issuer, said.issuer_friendly_name) == (named("alice").public.authority, "")
    assert (said.held, said.live, said.current) == (False, False, False)


def test_what_never_ends_has_no_end(group):
    assert shown(group, group.creator).not_after is None


def test_a_credential_without_its_certificate_is_live_and_neither_held_nor_current(group):
    said = shown(group, group.grant("grc -> alice:admin -> bob:member", publish=False))
    assert (said.stored, said.held, said.live, said.current) == (False, False, True, False)


def test_the_better_of_two_is_current_and_the_other_stays_live(group):
    old = group.grant("grc -> alice:admin -> bob:member")
    new = group.grant("grc -> alice:admin -> bob:admin")
    assert [shown(group, one).current for one in (old, new)] == [False, True]
    assert [shown(group, one).live for one in (old, new)] == [True, True]


def test_nothing_is_current_outside_of_its_window(group):
    bob = group.grant("grc -> alice:admin -> bob:member")
    window = bob.grant.window
    times = (window.start - 1, window.start, window.end, window.end + 1)
    assert [shown(group, bob, at_s).current for at_s in times] == [False, True, True, False]


def test_a_certificate_in_pem_is_the_same_certificate(group):
    der = group.creator.der.certificate.der
    pem = pem_of(der)
    assert x509.load_pem_x509_certificate(pem.encode()) == x509.load_der_x509_certificate(der)
    assert all(len(line) <= 64 for line in pem.splitlines())
    assert pem.endswith("-----END CERTIFICATE-----\n")


def test_our_own_credential_is_what_we_go_by_even_before_its_acts_arrive(group):
    bob = group.grant("grc -> alice:admin -> bob:member", publish=False)
    desk = Desk(group, [], "bob")
    assert own_credential(desk.machine, desk.group_name, AT_S) is None
    desk.handle(Adopt(group.bundle(bob), "invitation"))
    said = own_credential(desk.machine, desk.group_name, AT_S)
    assert said is not None
    assert said.grant_id == bob.act.id.hex()
    assert said.issuer == named("alice").public.authority
    assert (said.held, said.live, said.current, said.stored) == (True, True, True, False)
    ended = own_credential(desk.machine, desk.group_name, bob.grant.window.end + 1)
    assert ended is None


# --- members ----------------------------------------------------------------------------------------------


def test_a_member_is_shown_by_its_current_credential(group):
    best = group.grant("grc -> alice:admin -> bob:admin", friendly="Bob")
    group.grant("grc -> alice:admin -> bob:member")
    said = Desk(group).member("bob")
    assert (said.state, said.grant_id) == ("member", best.act.id.hex())
    assert (said.peer_name, said.friendly_name) == (str(peer_name("bob")), "Bob")
    assert (said.roles, said.level) == (["admin"], 2)
    assert (said.not_before, said.not_after) == (
        time_at(best.grant.window.start),
        time_at(best.grant.window.end),
    )
    assert said.issuer == str(peer_name("alice"))
    assert said.public_key == write_base64url(named("bob").public.raw)


def test_one_that_has_expired_is_shown_by_its_latest_credential(group):
    group.grant("grc -> alice:admin -> bob:admin")
    latest = group.grant("grc -> alice:admin -> bob:member")
    end_s = latest.grant.window.end
    said = Desk(group).member("bob", end_s + 1)
    assert (said.state, said.grant_id) == ("expired", latest.act.id.hex())


def test_one_whose_certificate_is_not_here_is_awaited(group):
    group.grant("grc -> alice:admin -> bob:member", publish=False)
    latest = group.grant("grc -> alice:admin -> bob:member", publish=False)
    said = Desk(group).member("bob")
    assert (said.state, said.grant_id) == ("awaited", latest.act.id.hex())


def test_one_whose_time_has_not_come_is_awaited_and_not_expired(group):
    window = Window(AT_S + DAY, AT_S + 2 * DAY)
    group.grant("grc -> alice:admin -> bob:member", window=window)
    desk = Desk(group)
    states = [desk.member("bob", at_s).state for at_s in (AT_S, window.start, window.end, window.end + 1)]
    assert states == ["awaited", "member", "member", "expired"]


def test_an_identity_of_ours_is_marked_and_so_is_a_neighbor(group):
    for name in ("bob", "carol"):
        group.grant(f"grc -> alice:admin -> {name}:member")
    desk = Desk(group)
    desk.handle(link_up("bob"))
    own = frozenset({named("alice").public.pid})
    said = {name: desk.member(name, own=own) for name in ("alice", "bob", "carol")}
    assert {name: one.own for name, one in said.items()} == {"alice": True, "bob": False, "carol": False}
    assert {name: one.neighbor for name, one in said.items()} == {"alice": False, "bob": True, "carol": False}


# --- neighbors --------------------------------------------------------------------------------------------


def link_up(name: str, address: str | None = None, bundle: Any = None, number: int = 1) -> LinkUp:
    return LinkUp(number, named(name).public, bytes([number]) * 16, address, bundle, bytes(32))


def test_a_neighbor_goes_by_the_name_in_the_view_or_in_what_it_showed(group):
    known = Desk(group)
    group.grant("grc -> alice:admin -> bob:member")
    bundle = group.bundle(group.grant("grc -> alice:admin -> carol:member"))
    known.handle(link_up("alice", number=1))
    known.handle(link_up("carol", bundle=bundle, number=2))
    by_view, by_bundle = (neighbor(known.machine, link, LATER).peer_name for link in known.machine.links)
    assert (by_view, by_bundle) == (str(peer_name("alice")), str(peer_name("carol")))


def test_a_neighbor_is_shown_with_who_dialled_and_where_it_can_be_reached(group):
    for name in ("bob", "carol"):
        group.grant(f"grc -> alice:admin -> {name}:member")
    desk = Desk(group)
    desk.handle(link_up("bob", "192.0.2.1:3587", number=1))
    desk.handle(link_up("carol", None, number=2))
    dialled, called = (neighbor(desk.machine, link, LATER) for link in desk.machine.links)
    assert (dialled.outgoing, dialled.address) == (True, "192.0.2.1:3587")
    assert (called.outgoing, called.address) == (False, "")
    for _ in range(2):  # the first word of a neighbor confirms the clock, and with it what is compared
        summary = desk.machine.synchronize.summary()
        desk.handle(Received(2, opening(("192.0.2.2:3587",), (), summary, LATER)))
    called = next(neighbor(desk.machine, link, LATER) for link in desk.machine.links if link.id == 2)
    assert (called.address, called.synchronized) == ("192.0.2.2:3587", True)
    assert (dialled.synchronized, dialled.node_id) == (False, "01" * 16)


def test_a_link_is_as_old_as_it_is_whatever_the_calendar_did_meanwhile(group):
    group.grant("grc -> alice:admin -> bob:member")
    desk = Desk(group)
    desk.handle(link_up("bob"))
    (link,) = desk.machine.links
    now = Moment(LATER.mono_ms + 5_000, LATER.utc_ms + DAY * 1000)
    assert neighbor(desk.machine, link, now).since == time_at_ms(now.utc_ms - 5_000)


# --- acts -------------------------------------------------------------------------------------------------


def test_an_act_of_the_root_has_the_group_as_its_author_and_no_name(group):
    said = act(group.view, group.genesis)
    assert (said.kind, said.author, said.peer_name) == ("rotate_root", group.gid.hex(), None)
    assert (said.seq, said.level, said.subject) == (1, 0, None)
    assert said.time == time_at_ms(NOW.utc_ms)


def test_an_act_of_a_member_names_its_author_and_whom_it_is_about(group):
    bob = group.grant("grc -> alice:admin -> bob:member").act
    said = act(group.view, bob)
    assert (said.kind, said.act_id) == ("grant", bob.id.hex())
    assert (said.author, said.peer_name) == (named("alice").public.pid.hex(), str(peer_name("alice")))
    assert (said.subject, said.level) == (str(peer_name("bob")), 1)
    assert (said.chain, said.seq) == (bob.place.chain.hex(), bob.place.seq)


def test_an_act_about_nobody_has_no_subject(group):
    said = act(group.view, group.act("grc", Kind.PROPERTIES, PropertiesBody(friendly="Us")))
    assert (said.kind, said.subject) == ("properties", None)


def test_an_act_of_a_kind_from_the_future_goes_by_its_number(group):
    said = act(group.view, group.act("alice", 140, {"later": 1}))
    assert (said.kind, said.subject, said.peer_name) == ("kind-140", None, str(peer_name("alice")))
