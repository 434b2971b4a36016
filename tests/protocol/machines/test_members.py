"""Members: the same elements give the same set, view and own credential, however they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.bundle import decode_untrusted_bundle
from protocol.authority.elements import Der, Element, decode_untrusted_element, make_der
from protocol.credentials.certificates import decode_untrusted_certificate
from protocol.limits import (
    HELD_BYTES_MAX,
    HELD_PER_LINK_MAX,
    HELD_S_MAX,
    HLC_AHEAD_MS_MAX,
    QUARANTINED_BYTES_MAX,
    QUARANTINED_MAX,
)
from protocol.machines.ordered_ids import OrderedIds
from protocol.peer_time import Moment, hlc_at, hlc_s
from tests.support.builders import GRC, NOW, Group, Node, after, fed, node_of
from tests.support.keys import named
from tests.support.strategies import AHEAD, AHEAD_S, ODDITIES, Sample, act_sets
from tests.support.views import told_by, view_of

BOB = "grc -> alice:admin -> bob:member"
AT_ONCE = tuple(odd for odd in ODDITIES if odd != AHEAD)  # whatever a node admits when it comes
LATER = after(AHEAD_S)


@pytest.fixture
def group():
    return Group()


def told_by_node(node: Node, now: Moment = NOW) -> dict[str, Any]:
    """All that a node says of its group."""
    members, store = node.members, node.store
    return {
        "view": told_by(members.view),
        "ids": list(members.ids),
        "digest": members.ids.digest(),
        "own": members.own_grant(now.utc_s),
        "own bundle": members.own_bundle(now.utc_s, store),
        "bundles": [members.bundle_for(pid, now.utc_s, store) for pid in members.view.subjects()],
        "stored": sorted(store.load()),
    }


# --- any order, any batches, any number of times ----------------------------------------------------------


@st.composite
def deliveries(draw, odd: tuple[str, ...] = AT_ONCE) -> tuple[Sample, list[list[Element]]]:
    """A set, and its elements in any order, some of them several times, in any batches."""
    sample = draw(act_sets(odd))
    twice = draw(st.lists(st.sampled_from(sample.elements), max_size=5))
    order = draw(st.permutations([*sample.elements, *twice]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=5)))
    return sample, [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@given(deliveries(), st.sampled_from(["alice", "bob", "mo", "erin"]))
def test_delivery_in_any_order_gives_the_same_node(delivery, name):
    sample, batches = delivery
    expected = told_by_node(fed(sample.group, name, [sample.elements]))
    assert told_by_node(fed(sample.group, name, batches)) == expected


@given(deliveries(), st.data())
def test_what_a_node_holds_it_leaves_alone(delivery, data):
    sample, batches = delivery
    node = fed(sample.group, "bob", batches[: data.draw(st.integers(0, len(batches)))])
    stored, before = list(node.store.load()), told_by_node(node)
    held = [element for element in sample.elements if node.members.holds_untrusted(element.raw)]
    assert [element.raw for element in held] == [e.raw for e in sample.elements if e.raw in stored]
    intake = node.take(held, 99, NOW)
    assert (intake.fresh, intake.wanted, intake.refused) == ([], [], None)
    assert told_by_node(node) == before


@given(deliveries())
def test_node_holds_what_the_rules_admit_and_no_more(delivery):
    sample, batches = delivery
    node = fed(sample.group, "bob", batches)
    view = view_of(sample.group.gid, sample.elements)
    assert told_by(node.members.view) == told_by(view)
    held = {element.id: element for element in map(decode_untrusted_element, node.store.load())}
    ders = [view.der_of(act_id) for act_id in view.act_ids()]
    assert sorted(held) == sorted([*view.act_ids(), *(i for i in ders if i is not None)])
    seconds = {
        i: one.hlc_s if isinstance(one, Act) else hlc_s(view.admitted(one.act_id).place.hlc)  # type: ignore[union-attr]
        for i, one in held.items()
    }
    protected = view.protected()
    told = [i for i in sorted(held) if (i if isinstance(held[i], Act) else held[i].act_id) in protected]  # type: ignore[union-attr]
    assert node.members.ids.digest() == OrderedIds([(seconds[i], i) for i in told]).digest()
    assert node.members.void == len(view) - len(protected)


@given(deliveries())
def test_node_that_starts_again_is_the_same(delivery):
    sample, batches = delivery
    node = fed(sample.group, "bob", batches)
    before = told_by_node(node)
    assert told_by_node(node.reopened()) == before


@given(deliveries())
def test_what_is_fresh_is_told_once_and_parents_first(delivery):
    sample, batches = delivery
    node, seen = node_of(sample.group, "bob"), dict.fromkeys([sample.group.gid])
    for source, batch in enumerate(batches):
        for element in node.take(batch, source).fresh:
            assert element.id not in seen
            named_by = (
                (element.act_id,) if isinstance(element, Der) else (element.place.prev, element.place.cred)
            )
            assert all(parent in seen for parent in named_by if parent is not None)
            seen[element.id] = None
        # What has become void is told of again should it come back.
        inside = {identifier: None for _, identifier in node.members.ids}
        seen = {one: None for one in seen if one in inside or one == sample.group.gid}
        assert len(seen) == 1 + len(inside)


@given(deliveries())
def test_holding_stays_within_its_limits(delivery):
    sample, batches = delivery
    node = node_of(sample.group, "bob")
    for source, batch in enumerate(batches):
        intake = node.take(batch, source)
        assert not any(node.members.view.admitted(i) for i in intake.wanted)
    members = node.members
    assert members.held + members.quarantined <= len(sample.elements)
    assert members._held_bytes == sum(len(one.element.raw) for one in members._held.values())
    waiting = {child for children in members._waiting.values() for child in children}
    assert waiting == set(members._held)
    node.expire(after(HELD_S_MAX))
    assert (members.held, members._held_bytes, members._waiting) == (0, 0, {})


@given(deliveries(odd=ODDITIES))
def test_acts_dated_ahead_only_come_later(delivery):
    sample, batches = delivery
    node = fed(sample.group, "bob", batches)
    node.expire(LATER)
    assert node.members.quarantined == 0
    node.take(sample.elements, 1, LATER)
    expected = told_by_node(fed(sample.group, "bob", [sample.elements], LATER), LATER)
    assert told_by_node(node, LATER) == expected


@given(act_sets(AT_ONCE), act_sets(AT_ONCE))
def test_two_nodes_that_give_each_other_all_they_hold_agree(ours: Sample, theirs: Sample):
    one, two = fed(ours.group, "bob", [ours.elements]), fed(ours.group, "bob", [theirs.elements])
    for left, right in ((one, two), (two, one), (one, two)):
        right.take(map(decode_untrusted_element, list(left.store.load())))
    assert told_by_node(one) == told_by_node(two)


@given(act_sets(AT_ONCE))
def test_every_credential_can_be_shown(sample: Sample):
    for name in ("alice", "bob", "erin"):
        node = fed(sample.group, name, [sample.elements])
        for pid in node.members.view.subjects():
            raw = node.members.bundle_for(pid, NOW.utc_s, node.store)
            if raw:
                bundle = decode_untrusted_bundle(raw, authority=sample.group.gid)
                assert bundle.leaf.pid == pid
                assert node.members.accepts(bundle, NOW.utc_s)
        own = node.members.own_bundle(NOW.utc_s, node.store)
        if own:
            assert decode_untrusted_bundle(own, authority=sample.group.gid).leaf.key == named(name).public


# --- unknown kinds, forks, twins --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [150, 200, 255])
def test_unknown_kind_is_carried_digested_and_inert(kind, group):
    act = group.act("alice", kind, {"what": "later"})
    node = node_of(group, "bob")
    before = told_by(fed(group, "bob", [group.founding.elements]).members.view)
    node.take(group.elements)
    assert node.store.get(act.id) == act.raw
    assert (act.hlc_s, act.id) in node.members.ids
    assert told_by(node.members.view)["current"] == before["current"]


def test_every_branch_of_a_fork_is_kept(group):
    first = group.act("alice", Kind.ANNUL, {"act": bytes(32)})
    ends = [
        group.act("alice", Kind.ANNUL, {"act": bytes(32), "reason": text}, seq=2, prev=first.id)
        for text in "abc"
    ]
    node = fed(group, "bob", [group.elements[::-1]])
    assert all(node.store.get(end.id) == end.raw for end in ends)


def grc_twins(group: Group) -> list[Der]:
    """Three forms of the root certificate, which whoever holds its key could sign, smallest id first."""
    der = group.founding.elements[1]
    assert isinstance(der, Der)
    raw = der.certificate.der
    forms = [raw, *(raw[:-1] + bytes([raw[-1] ^ flip]) for flip in (1, 2))]
    twins = [make_der(der.act_id, der.issuer_key, decode_untrusted_certificate(form)) for form in forms]
    return sorted(twins, key=lambda twin: twin.id)


@given(st.permutations(range(3)), st.booleans())
def test_of_several_root_certificates_the_smallest_id_stays(order, before_the_rest):
    group = Group()
    twins = grc_twins(group)
    others = [element for element in group.elements if not any(element.id == twin.id for twin in twins)]
    mixed = [twins[i] for i in order]
    node = fed(group, "alice", [[*mixed, *others] if before_the_rest else [*others, *mixed]])
    assert told_by_node(node) == told_by_node(fed(group, "alice", [[*others, twins[0]]]))
    assert node.members.view.der_of(group.genesis.id) == twins[0].id
    assert node.store.get(twins[1].id) is node.store.get(twins[2].id) is None
    before = told_by_node(node)
    assert told_by_node(node.reopened()) == before


def test_root_certificate_that_gives_way_is_told_as_fresh(group):
    small, large, _ = grc_twins(group)
    node = fed(group, "bob", [[group.genesis, large]])
    assert node.take([small]).fresh == [small]
    assert node.take([large]).fresh == []


# --- what is refused --------------------------------------------------------------------------------------


def test_act_that_breaks_a_rule_is_refused_and_the_rest_is_kept(group):
    bad = group.act("alice", Kind.PROPERTIES, PropertiesBody())
    node = node_of(group, "bob")
    intake = node.take([group.genesis, bad, *group.founding.elements])
    assert intake.refused == "kind_allowed_for_level"
    assert len(intake.fresh) == 5
    assert node.members.view.admitted(bad.id) is None
    assert node.store.get(bad.id) is None


def test_certificate_that_is_not_its_acts_is_refused(group):
    bad = group.grant(BOB, cert={"level": 254, "roles": (2,)}, publish=False)
    node = fed(group, "bob", [group.elements])
    assert node.take([bad.der]).refused == "der_agrees_with_the_act"
    assert node.members.view.der_of(bad.act.id) is None


def test_element_of_another_group_is_refused(group):
    intake = fed(group, "bob", [group.elements]).take(Group("friends").elements[:1])
    assert (intake.refused, intake.fresh) == ("wrong_group", [])


def test_first_refusal_is_the_one_told(group):
    first = group.act("alice", Kind.PROPERTIES, PropertiesBody())
    second = group.act("alice", Kind.ANNUL, {"act": bytes(32)}, level=2)
    node = fed(group, "bob", [group.elements])
    assert node.take([first, second]).refused == "kind_allowed_for_level"


# --- what waits for a parent ------------------------------------------------------------------------------


def test_act_waits_for_its_parents_which_are_asked_for(group):
    carl = group.grant("grc -> alice:admin -> bob:admin -> carl:member")
    bob = group.granted[carl.act.place.cred]
    node = node_of(group, "bob")
    intake = node.take([carl.act, carl.der])
    assert (intake.fresh, intake.refused) == ([], None)
    assert intake.wanted == [bob.act.id]
    assert node.members.held == 2
    assert node.take([bob.act]).wanted == [group.creator.act.id]
    assert node.members.held == 3
    intake = node.take(group.founding.elements)
    assert node.members.held == 0
    assert {element.id for element in intake.fresh} >= {carl.act.id, carl.der.id, bob.act.id}


def test_parents_that_come_in_the_same_delivery_are_not_asked_for(group):
    group.grant("grc -> alice:admin -> bob:admin -> carl:member")
    assert node_of(group, "bob").take(group.elements[::-1]).wanted == []


def test_element_that_waits_is_dropped_after_a_minute_and_may_come_again(group):
    bob = group.grant(BOB)
    node = node_of(group, "bob")
    node.take([bob.act])
    node.expire(after(HELD_S_MAX - 1))
    assert node.members.held == 1
    assert node.members.next_deadline(NOW) == NOW.mono_ms + HELD_S_MAX * 1000
    node.expire(after(HELD_S_MAX))
    assert node.members.held == 0
    assert node.members.next_deadline(NOW) is None
    assert node.take([bob.act]).wanted == [group.creator.act.id]


def orphans(group: Group, count: int, body: dict[str, Any] | None = None) -> list[Act]:
    """So many acts whose parent is nowhere."""
    return [
        group.act(
            "alice",
            Kind.ANNUL,
            {"act": bytes(32), "n": number, **(body or {})},
            seq=2,
            prev=number.to_bytes(32, "big"),
            keep=False,
        )
        for number in range(1, count + 1)
    ]


def test_one_link_may_have_so_many_elements_waiting_and_no_more(group):
    acts = orphans(group, HELD_PER_LINK_MAX + 5)
    node = fed(group, "bob", [group.elements])
    node.take(acts, 1)
    assert node.members.held == HELD_PER_LINK_MAX
    node.take(acts[-3:], 2)
    assert node.members.held == HELD_PER_LINK_MAX + 3


def test_elements_waiting_take_so_many_bytes_and_no_more(group):
    acts = orphans(group, 40, {"padding": b"x" * 40_000})
    node = fed(group, "bob", [group.elements])
    for source, act in enumerate(acts):
        node.take([act], source)
    assert 0 < node.members.held < 40
    assert node.members._held_bytes <= HELD_BYTES_MAX


def test_first_waiting_element_is_released_and_its_place_is_free_again(group):
    first = group.act("alice", Kind.ANNUL, {"act": bytes(32), "n": 1})
    second = group.act("alice", Kind.ANNUL, {"act": bytes(32), "n": 2})
    node = fed(group, "bob", [group.founding.elements])
    node.take([second], 1)
    assert node.take([first], 2).fresh == [first, second]
    assert (node.members.held, node.members._held_bytes) == (0, 0)


# --- what waits for its time ------------------------------------------------------------------------------


def ahead(group: Group, ms: int, count: int = 1, body: dict[str, Any] | None = None) -> list[Act]:
    """Acts by alice so far ahead of NOW, each on a chain of its own."""
    return [
        group.act(
            "alice",
            Kind.ANNUL,
            {"act": bytes(32), "n": number, **(body or {})},
            chain=number.to_bytes(16, "big"),
            hlc=hlc_at(NOW.utc_ms + ms),
            keep=False,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("ms, waits", [(HLC_AHEAD_MS_MAX, False), (HLC_AHEAD_MS_MAX + 1, True)])
def test_act_more_than_five_minutes_ahead_waits(ms, waits, group):
    (act,) = ahead(group, ms)
    node = fed(group, "bob", [group.elements])
    intake = node.take([act])
    assert (intake.fresh == []) == waits
    assert intake.refused is None
    assert node.members.quarantined == int(waits)
    assert ((act.hlc_s, act.id) in node.members.ids) == (not waits)


def test_act_that_waits_for_its_time_is_admitted_when_that_comes(group):
    (act,) = ahead(group, HLC_AHEAD_MS_MAX + 7000)
    node = fed(group, "bob", [group.elements])
    node.take([act])
    assert node.members.next_deadline(NOW) == NOW.mono_ms + 7000
    assert node.expire(after(6.9)).fresh == []
    assert node.expire(after(7)).fresh == [act]
    assert node.members.quarantined == 0
    assert node.members.next_deadline(after(7)) is None


def test_what_follows_an_act_that_waits_for_its_time_waits_with_it_and_is_not_asked_for(group):
    first = group.act(
        "alice", Kind.ANNUL, {"act": bytes(32)}, hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX + 7000)
    )
    second = group.act("alice", Kind.ANNUL, {"act": bytes(32)})
    node = fed(group, "bob", [group.founding.elements])
    intake = node.take([first, second])
    assert (intake.fresh, intake.wanted, intake.refused) == ([], [], None)
    assert node.take([second, first]).wanted == []
    assert (node.members.quarantined, node.members.held) == (1, 1)
    assert node.expire(after(7)).fresh == [first, second]


def test_act_that_breaks_a_rule_does_not_wait_for_its_time(group):
    bad = group.act(
        "alice", Kind.ANNUL, {"act": bytes(32)}, level=2, hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX + 1)
    )
    node = fed(group, "bob", [group.elements])
    assert node.take([bad]).refused == "cred_gives_the_level"
    assert node.members.quarantined == 0


def test_so_many_acts_wait_for_their_time_and_no_more(group):
    acts = ahead(group, HLC_AHEAD_MS_MAX + 1, QUARANTINED_MAX + 3)
    node = fed(group, "bob", [group.elements, acts])
    assert node.members.quarantined == QUARANTINED_MAX
    node.expire(after(1))
    assert node.members.quarantined == node.members._quarantine_bytes == 0


def test_acts_that_wait_for_their_time_take_so_many_bytes_and_no_more(group):
    acts = ahead(group, HLC_AHEAD_MS_MAX + 1, 40, {"padding": b"x" * 40_000})
    node = fed(group, "bob", [group.elements, acts])
    assert 0 < node.members.quarantined < 40
    assert node.members._quarantine_bytes <= QUARANTINED_BYTES_MAX


# --- revocations never wait for their time ----------------------------------------------------------------

REMOVALS: list[tuple[Kind, Callable[[Group], dict[str, Any]]]] = [
    (Kind.REVOKE_CREDENTIAL, lambda group: {"key": named("bob").public.raw}),
    (Kind.REVOKE_KEY, lambda group: {"key": named("bob").public.raw}),
    (Kind.RESIGN, lambda group: {}),
]


@pytest.mark.parametrize("kind, body", REMOVALS)
def test_removal_counts_at_once_however_it_is_dated(kind, body, group):
    node = fed(group, "carl", [group.elements])
    act = group.act("alice", kind, body(group), hlc=hlc_at(NOW.utc_ms + 10 * HLC_AHEAD_MS_MAX))
    assert node.take([act]).fresh == [act]


@pytest.mark.parametrize("turned", [False, True])
def test_what_a_removal_descends_from_does_not_wait_either(turned, group):
    node = fed(group, "carl", [group.elements])
    acts = [
        group.act("alice", Kind.ANNUL, {"act": bytes(32)}, hlc=hlc_at(NOW.utc_ms + 10 * HLC_AHEAD_MS_MAX)),
        group.act("alice", Kind.ANNUL, {"act": bytes(32)}),
        group.act("alice", Kind.REVOKE_KEY, {"key": named("bob").public.raw}),
    ]
    node.take(acts[::-1] if turned else acts)
    assert [act.id for act in acts if node.members.view.admitted(act.id) is None] == []
    assert (node.members.quarantined, node.members.held) == (0, 0)


def test_what_a_removal_keeps_of_its_target_does_not_wait_either(group):
    node = fed(group, "carl", [group.elements])
    kept = group.act("alice", Kind.ANNUL, {"act": bytes(32)}, hlc=hlc_at(NOW.utc_ms + 10 * HLC_AHEAD_MS_MAX))
    node.take([kept])
    assert node.members.quarantined == 1
    node.take([group.act(GRC, Kind.REVOKE_KEY, {"key": named("alice").public.raw, "keep": kept.id})])
    assert node.members.quarantined == 0
    assert node.members.view.admitted(kept.id) is not None
