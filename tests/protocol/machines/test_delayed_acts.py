"""Delayed acts: known by id, fetched again when a day has passed, and in no removal's way."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.elements import Element
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.roles import MEMBER
from protocol.errors import RuleError
from protocol.limits import ACT_RATES_TOLD_MAX
from protocol.machines import act_rates, delayed_acts
from protocol.machines.act_rates import day_begins_s, day_of
from protocol.machines.delayed_acts import Delay, DelayedActs, note_told
from protocol.machines.events import Issue, Revoke
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from tests.protocol.machines.playing import Player, in_transaction, news, told
from tests.protocol.machines.sessions import Side
from tests.support.builders import NOW, Group, Node, after, fed, node_of
from tests.support.keys import named, peer_name

BURST, DAILY = 6, 2
DAY_S = 86_400


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(act_rates, "ACTS_BURST", BURST)
    monkeypatch.setattr(act_rates, "ACTS_A_DAY", DAILY)
    monkeypatch.setattr(act_rates, "ACTS_OF_MEMBER_FACTOR", 1)


@pytest.fixture
def group() -> Group:
    group = Group()
    for text in ("alice -> bob:admin", "bob -> carl:member", "alice -> dave:member"):
        group.grant(text)
    return group


def wish(name: str) -> Issue:
    info = CredentialInfo(role=MEMBER)
    return Issue((IssueRequest(peer_name(name), named(name).public, info, store=True),))


def flood(group: Group, count: int, *, name: str = "bob", own_chain: bool = True) -> list[Act]:
    """Acts that take nothing away, on a chain of their own or on many."""
    acts = []
    for number in range(count):
        chain = 1 if own_chain else number.to_bytes(16, "big")
        acts.append(group.act(name, 200, {}, chain=chain))
    return acts


def midnight(days: int = 1) -> Moment:
    return after(day_begins_s(day_of(NOW.utc_s) + days) - NOW.utc_ms / 1000)


def inside(node: Node, acts: Iterable[Act]) -> int:
    return sum(node.members.view.admitted(act.id) is not None for act in acts)


# --- taking in ----------------------------------------------------------------------------------------------


def test_what_is_beyond_the_rate_is_known_by_id_and_told_to_nobody(group):
    node = fed(group, "dave", [group.elements])
    late = flood(group, BURST + 3)
    intake = node.take(late)
    assert [one.id for one in intake.fresh] == [one.id for one in late[: BURST - 1]]
    assert intake.alarms == [named("bob").public.pid]
    assert intake.known
    assert (intake.wanted, intake.refused, node.members.held) == ([], None, 0)
    assert len(node.members.delayed) == 4
    assert node.members.delayed.by_author() == {named("bob").public.pid: 4}
    assert all((act.hlc_s, act.id) in node.members.ids for act in late)
    assert all(node.store.get(act.id) is None for act in late[BURST - 1 :])
    assert all(node.members.holds_untrusted(act.raw) for act in late), "so that nobody checks it again"
    again = node.take(late)
    assert (again.fresh, again.alarms, again.known) == ([], [], False)


def test_certificate_and_whatever_stands_on_a_delayed_act_is_delayed_with_it(group):
    node = fed(group, "dave", [group.elements])
    node.take(flood(group, BURST - 1))
    granted = group.grant("bob -> eve:inviting")
    below = group.grant("eve -> mo:member")
    node.take([*granted.elements, *below.elements])
    assert node.members.held == 0
    assert len(node.members.delayed) == 4
    assert all(one.id in node.members.delayed for one in (*granted.elements, *below.elements))
    assert node.members.delayed.by_author() == {named("bob").public.pid: 4}
    delays = [node.members.delayed.get(one.id) for one in granted.elements]
    assert {one.second for one in delays if one is not None} == {granted.act.hlc_s}


def test_after_midnight_all_comes_again_and_as_much_as_has_room_comes_in(group):
    node = fed(group, "dave", [group.elements])
    late = flood(group, BURST + 3)
    node.take(late)
    deadline = node.members.next_deadline(NOW)
    assert deadline == midnight().mono_ms
    assert not node.expire(after((midnight().utc_ms - NOW.utc_ms) / 1000 - 1)).known
    assert len(node.members.delayed) == 4
    assert node.expire(midnight()).known
    assert len(node.members.delayed) == 0
    assert node.members.next_deadline(midnight()) is None
    node.take(late, now=midnight())
    assert inside(node, late) == BURST - 1 + DAILY
    node.expire(midnight(2))
    node.take(late, now=midnight(2))
    assert inside(node, late) == len(late)
    assert node.members.ids.digest() == fed(group, "dave", [group.elements], midnight(9)).members.ids.digest()


def test_clock_that_is_set_back_ends_a_delay_too(group):
    node = fed(group, "dave", [group.elements], midnight(3))
    node.take(flood(group, 4 * BURST), now=midnight(3))
    assert len(node.members.delayed) > 0
    assert node.expire(NOW).known
    assert len(node.members.delayed) == 0


@given(st.data())
def test_any_order_ends_with_the_same_set_once_the_time_has_passed(data):
    group = Group()
    for text in ("grc -> bob:admin", "grc -> dave:member"):
        group.grant(text)
    for number in range(data.draw(st.integers(0, 3 * BURST))):
        kind = data.draw(st.sampled_from([200, int(Kind.RESIGN) + 1, int(Kind.ANNUL)]))
        body = {"act": bytes(32)} if kind == Kind.ANNUL else {}
        group.act(data.draw(st.sampled_from(["bob", "dave"])), kind, body, chain=number % 4)
    sides = [node_of(group, "carl"), node_of(group, "carl")]
    for node in sides:
        order: list[Element] = data.draw(st.permutations(group.elements))
        node.take(order)
    for day in range(1, 4 * BURST // DAILY):
        for node in sides:
            node.expire(midnight(day))
            node.take(group.elements, now=midnight(day))
    assert [len(node.members.delayed) for node in sides] == [0, 0]
    assert sides[0].members.ids.digest() == sides[1].members.ids.digest()
    assert sorted(sides[0].store.load()) == sorted(one.raw for one in group.elements)


def test_no_more_is_remembered_than_there_is_room_for(group, monkeypatch):
    monkeypatch.setattr(delayed_acts, "ACTS_DELAYED_MAX", 3)
    node = fed(group, "dave", [group.elements])
    late = flood(group, 3 * BURST, own_chain=False)
    node.take(late)
    assert len(node.members.delayed) == 3
    assert node.members.held == 0


# --- removals -----------------------------------------------------------------------------------------------


def test_flood_does_not_stop_the_removals_of_its_own_author_nor_what_others_do(group):
    node = fed(group, "dave", [group.elements])
    node.take(flood(group, 3 * BURST, own_chain=False))
    removal = group.act("bob", Kind.REVOKE_CREDENTIAL, {"key": named("carl").public.raw}, chain=2)
    assert node.take([removal]).fresh == [removal]
    granted = group.grant("alice -> zoe:member")
    assert node.take(granted.elements).fresh == [*granted.elements]


def test_what_a_removal_stands_on_comes_in_though_it_was_delayed(group):
    node = fed(group, "dave", [group.elements])
    on = flood(group, BURST + 1)
    node.take(on)
    removal = group.act("bob", Kind.REVOKE_CREDENTIAL, {"key": named("carl").public.raw}, chain=1)
    intake = node.take([removal])
    assert intake.wanted == [on[-1].id]
    assert node.take([on[-1]]).wanted == [on[-2].id]
    assert [one.id for one in node.take([on[-2]]).fresh] == [on[-2].id, on[-1].id, removal.id]


def test_no_removal_lets_in_more_than_twice_the_burst(group):
    node = fed(group, "dave", [group.elements])
    on = flood(group, 4 * BURST)
    removal = group.act("bob", Kind.REVOKE_CREDENTIAL, {"key": named("carl").public.raw}, chain=1)
    for act in (removal, *on[::-1], *on, removal):
        node.take([act])
    assert inside(node, [*on, removal]) == 2 * BURST - 1


def test_who_is_removed_has_no_part_in_the_set_and_nothing_of_it_is_delayed_any_more(group):
    node = fed(group, "dave", [group.elements])
    heads = node.members.view.heads_of(named("bob").public.pid)
    late = flood(group, BURST + 3)
    node.take(late)
    body = {"key": named("bob").public.raw, "keep": b"".join(heads)}
    removal = group.act("alice", Kind.REVOKE_CREDENTIAL, body)
    intake = node.take([removal])
    assert intake.known
    assert len(node.members.delayed) == 0
    assert not any((act.hlc_s, act.id) in node.members.ids for act in late)
    other = fed(group, "dave", [group.elements[: -len(late) - 1], [removal]])
    assert node.members.ids.digest() == other.members.ids.digest()
    assert node.reopened().members.rates.has_room_for(late[0].place, 200, 100, day_of(NOW.utc_s)), (
        "what is void does not count"
    )


def test_what_counts_again_counts_for_the_rate_again(group):
    node = fed(group, "dave", [group.elements])
    late = flood(group, BURST - 1)
    node.take(late)
    today = day_of(NOW.utc_s)
    assert not node.members.rates.has_room_for(late[0].place, 200, 100, today)
    removal = group.act("alice", Kind.REVOKE_CREDENTIAL, {"key": named("bob").public.raw})
    node.take([removal])
    assert node.members.rates.has_room_for(late[0].place, 200, 100, today)
    node.take([group.act("grc", Kind.ANNUL, {"act": removal.id})])
    for one in (node, node.reopened()):
        assert not one.members.rates.has_room_for(late[0].place, 200, 100, today)


# --- two nodes ----------------------------------------------------------------------------------------------


def test_two_that_delay_different_acts_find_nothing_to_exchange(group):
    base = list(group.elements)
    first, second = flood(group, BURST - 1, own_chain=False), flood(group, BURST - 1)
    sides = [Side(group, [*base, *first, *second]), Side(group, [*base, *second, *first])]
    assert all(len(side.node.members.delayed) > 0 for side in sides)
    held = [inside(side.node, [*first, *second]) for side in sides]
    assert held == [BURST - 1, BURST - 1]
    ids = [list(side.node.members.ids) for side in sides]
    assert ids[0] == ids[1], "what one holds the other knows"
    assert sides[0].sync.summary() == sides[1].sync.summary()


# --- a node -------------------------------------------------------------------------------------------------


def test_alarm_is_raised_once_a_day_also_by_a_node_that_starts_again(group):
    player = Player.of(group, "dave")
    player.meet(1, "alice")
    late = flood(group, 2 * BURST, own_chain=False)

    def hear(one: Player) -> list[str]:
        return [kind for kind in told(one.hear(1, news(*late))) if "rate" in kind]

    assert hear(player) == ["act-rate-exceeded"]
    assert player.events()[-1] == (
        "act-rate-exceeded",
        {"author": named("bob").public.pid.hex(), "subject": str(peer_name("bob"))},
    )
    again = player.again()
    again.meet(1, "alice")
    assert hear(again) == []
    again.at((midnight().utc_ms - NOW.utc_ms) / 1000)
    again.meet(1, "alice")
    assert hear(again) == ["act-rate-exceeded"]


def test_signing_beyond_the_rate_is_refused_with_nothing_changed(group):
    player = Player.of(group, "bob")
    for name in ("u1", "u2", "u3", "u4", "u5"):
        player.tell(wish(name))
    with pytest.raises(RuleError) as refused:
        player.tell(wish("u6"))
    assert refused.value.code == "act-rate-exceeded"
    assert "midnight" in refused.value.hint
    player.tell(Revoke(named("u1").public.pid))
    before = list(player.store.load())
    with pytest.raises(RuleError):
        player.tell(wish("u6"))
    assert list(player.store.load()) == before
    player.now = after((midnight().utc_ms - NOW.utc_ms) / 1000 + 301)
    player.tell(wish("u6"))


def test_removal_beyond_the_rate_is_refused_before_its_list_is_written(group):
    player = Player.of(group, "bob")
    in_transaction(player.store, lambda store: player.machine.members.take(flood(group, 1), 1, NOW, store))
    place = group.view.admitted(group.elements[-1].id).place
    for _ in range(2 * BURST):
        player.machine.members.rates.note(place, Kind.REVOKE_KEY, 100)
    with pytest.raises(RuleError) as refused:
        player.tell(Revoke(named("carl").public.pid))
    assert refused.value.code == "act-rate-exceeded"


# --- the table ----------------------------------------------------------------------------------------------


def test_of_keys_told_of_the_last_are_remembered():
    store = MemoryStore()

    def due(author: int, today: int) -> bool:
        pid = author.to_bytes(32, "big")
        return in_transaction(store, lambda inner: note_told(pid, today, inner))

    assert due(0, 5)
    assert not due(0, 5)
    assert due(0, 6)
    for author in range(1, ACT_RATES_TOLD_MAX):
        assert due(author, 6)
    assert not due(0, 6)
    assert due(ACT_RATES_TOLD_MAX, 6)
    assert due(0, 6), "the one remembered longest was forgotten"


def test_table_forgets_one_or_all():
    assert DelayedActs().ends_on is None
    assert not DelayedActs().is_over(7)
    delays = DelayedActs()
    delays.add(b"a", Delay(1, b"x"), 7)
    assert delays.ends_on == 8
    delays.add(b"b", Delay(2, b"y"), 8)
    assert (delays.ends_on, delays.is_over(7), delays.is_over(8)) == (8, False, True)
    assert delays.pop(b"c") is None
    assert delays.pop(b"a") == Delay(1, b"x")
    assert delays.pop_all() == [(2, b"b")]
    assert b"b" not in delays
