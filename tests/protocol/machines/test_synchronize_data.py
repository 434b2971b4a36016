"""Sessions about records: what three nodes hold comes to be the same, whatever happens on the way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from protocol.limits import (
    ANTI_ENTROPY_MS,
    BODY_TRANSFERRED_BYTES_MAX,
    DIGEST_DIFFERS_MS,
    RECORDS_PASSED_ON_MAX,
)
from protocol.wire.messages import Namespace, Reconcile, Taken, Transfer
from tests.protocol.machines.data_sessions import pool, web
from tests.protocol.machines.reconciling import limits
from tests.support.records import Writer, circle

DURABLE = [item for item in pool() if item.header.durable]
EXPIRING = [item for item in pool() if not item.header.durable]

subsets = st.sets(st.integers(0, len(pool()) - 1)).map(lambda chosen: [pool()[n] for n in sorted(chosen)])


# --- the result -------------------------------------------------------------------------------------------


@given(subsets, subsets)
def test_any_two_sets_are_equal_when_the_link_has_opened_and_each_version_crosses_once(one, two):
    nodes = web(one, two)
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    assert not any(holder.sync.busy for holder in nodes.holders)
    assert sum(nodes.moved()) == len(nodes.holders[0].held) * 2 - len(one) - len(two)
    differ = {item.header.id for item in one} != {item.header.id for item in two}
    began = [(0, 1, Namespace.DURABLE), (0, 1, Namespace.EXPIRING)]
    assert nodes.begun() == (began if differ else [])


@settings(max_examples=60)
@given(st.tuples(subsets, subsets, subsets), st.data())
def test_three_nodes_end_equal_though_links_break_anywhere_and_deliver_at_any_speed(sets, data):
    nodes = web(*sets, skews=(0, data.draw(st.sampled_from([0, 3, -20, 400]))))
    ends = [(0, 1), (1, 2), (2, 0)]
    numbers = {pair: nodes.connect(*pair) for pair in ends}
    for _ in range(data.draw(st.integers(0, 40))):
        waiting = nodes.waiting()
        if not waiting:
            break
        if data.draw(st.integers(0, 9)) == 0:
            pair = data.draw(st.sampled_from(ends))
            nodes.cut(numbers[pair])
            numbers[pair] = nodes.connect(*pair)
        else:
            nodes.step(*data.draw(st.sampled_from(waiting)))
    nodes.settle()
    assert nodes.holders[0].held == {item.header.id for one in sets for item in one}


@given(subsets, subsets)
def test_clocks_that_are_apart_hinder_no_records(one, two):
    nodes = web(one, two, skews=(0, 3 * 3600))
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    nodes.holders[1].take(pool())
    nodes.settle(ANTI_ENTROPY_MS * 3 / 2000 + 5)


def test_version_with_a_small_body_brings_it_and_a_large_one_does_not():
    dave = Writer.of(circle(), "dave")
    small, large = (
        dave.add(body=b"s" * BODY_TRANSFERRED_BYTES_MAX),
        dave.add(body=b"l" * (BODY_TRANSFERRED_BYTES_MAX + 1)),
    )
    nodes = web([small, large], [])
    nodes.connect(0, 1)
    nodes.deliver()
    store = nodes.holders[1].store
    assert store.body(small.header.body_hash or b"") == small.body
    assert store.body(large.header.body_hash or b"") is None
    assert store.header(large.header.id) == large.header.raw


def test_many_sessions_follow_one_another_at_once_until_all_is_there():
    with limits(RECONCILE_FOUND_MAX=4, RECONCILE_COMPARED_IDS_MAX=2, RECONCILE_PART_IDS_MIN=1):
        nodes = web(pool(), [])
        nodes.connect(1, 0)
        nodes.deliver()
    assert nodes.equal
    assert len(nodes.begun(Namespace.DURABLE)) > 2
    assert len(nodes.begun(Namespace.EXPIRING)) > 2
    assert nodes.seconds == 0
    assert sum(nodes.moved()) == len(pool())


def test_version_that_has_gone_meanwhile_is_left_out():
    nodes = web(DURABLE[:3], [])
    nodes.connect(0, 1)
    while not any(isinstance(message, Transfer) for _, _, message in nodes.log):
        holder = nodes.holders[0]
        if holder.store.version(DURABLE[1].header.id) is not None and holder.sync.busy and len(nodes.log) > 1:
            holder.store.begin()
            holder.store.discard_version(DURABLE[1].header.id)
            holder.store.commit()
        nodes.step(*nodes.waiting()[0])
    nodes.deliver()
    assert nodes.holders[1].held == {DURABLE[0].header.id, DURABLE[2].header.id}


# --- when sessions begin ----------------------------------------------------------------------------------


def test_sets_that_agree_begin_nothing():
    nodes = web(pool(), pool())
    nodes.connect(0, 1)
    nodes.tick(20)
    nodes.deliver()
    assert nodes.begun() == []


def test_difference_that_lasts_for_five_seconds_begins_durable_and_then_expiring():
    nodes = web(pool(), pool()[:-2])
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    nodes.holders[0].take([late := Writer.of(circle(), "erin").add()])
    nodes.log.clear()
    nodes.tick(1)
    nodes.deliver()
    assert nodes.begun() == []
    nodes.tick(DIGEST_DIFFERS_MS / 1000)
    nodes.deliver()
    assert {began[2] for began in nodes.begun()} <= {Namespace.DURABLE, Namespace.EXPIRING}
    nodes.tick(5)
    nodes.deliver()
    assert nodes.equal
    assert late.header.id in nodes.holders[1].held


def young():
    """A version that is a second old."""
    erin = Writer.of(circle(), "erin")
    erin.hlc += 3_999_000 << 16
    return erin.add()


def test_version_that_has_not_settled_makes_no_difference():
    nodes = web(pool(), pool())
    nodes.connect(0, 1)
    nodes.holders[0].take([young()])
    nodes.tick(6)
    nodes.deliver()
    assert nodes.begun() == []
    nodes.tick(34)
    nodes.deliver()
    nodes.tick(6)
    nodes.deliver()
    assert nodes.equal


@pytest.mark.parametrize("holder", [0, 1])
def test_who_holds_versions_of_the_last_seconds_begins_when_the_link_opens(holder):
    nodes = web(pool(), pool())
    nodes.holders[holder].take([young()])
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    assert nodes.begun(Namespace.DURABLE) == [(holder, 1 - holder, Namespace.DURABLE)]


@pytest.mark.parametrize("holder", [0, 1])
def test_versions_of_the_last_seconds_come_after_a_session_about_auth(holder):
    nodes = web(pool(), pool())
    nodes.holders[holder].take([young()])
    nodes.holders[0].auth.add(7, b"a" * 32)
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.begun()[0] == (0, 1, Namespace.AUTH)
    assert nodes.equal


def test_versions_of_the_last_seconds_are_asked_for_once_whatever_else_is_going_on():
    nodes = web([*pool(), young()], pool(), pool())
    nodes.connect(0, 1)
    nodes.connect(0, 2)
    nodes.deliver()
    assert nodes.equal
    nodes.log.clear()
    nodes.tick(6)
    nodes.deliver()
    assert nodes.begun() == []


def test_auth_comes_first_and_who_began_goes_on_with_records():
    nodes = web(pool(), [])
    nodes.holders[0].auth.add(7, b"a" * 32)  # which nobody can send, so it goes on differing
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    assert [namespace for _, _, namespace in nodes.begun()] == [
        Namespace.AUTH,
        Namespace.DURABLE,
        Namespace.EXPIRING,
    ]


def test_difference_in_auth_that_nothing_mends_does_not_hold_up_records():
    nodes = web(pool(), pool())
    nodes.holders[0].auth.add(7, b"a" * 32)
    nodes.connect(0, 1)
    nodes.deliver()
    for _ in range(60):  # until sessions about AUTH are five minutes apart
        nodes.tick(20)
        nodes.deliver()
    while nodes.begun()[-1][2] is not Namespace.AUTH:
        nodes.tick(5)
        nodes.deliver()
    nodes.holders[1].take([Writer.of(circle(), "erin").add()])
    nodes.settle(30)


def test_node_that_comes_with_nothing_gets_records_from_one_neighbor():
    nodes = web([], pool(), pool(), pool())
    for other in (1, 2, 3):
        nodes.connect(0, other)
    nodes.deliver()
    assert nodes.equal
    assert sum(nodes.moved()) == len(pool())
    assert {target for _, target, _ in nodes.begun()} == {1}


def test_neighbor_that_begins_while_records_come_from_another_is_put_off():
    nodes = web([], pool(), pool())
    first = nodes.connect(0, 1)
    while not any(isinstance(message, Transfer) for _, _, message in nodes.log):
        nodes.step(*nodes.waiting()[0])
    second = nodes.connect(2, 0)
    while any(number == second for number, _ in nodes.waiting()):
        nodes.step(*next(one for one in nodes.waiting() if one[0] == second))
    assert nodes.holders[2].sync.busy == ()
    assert nodes.holders[0].sync.busy == (first,)
    sent = [target for source, target, message in nodes.log if source == 2 and isinstance(message, Transfer)]
    assert sent == []
    nodes.settle()
    assert sum(nodes.moved()) == len(pool())


def test_neighbor_is_answered_when_the_other_has_stalled():
    nodes = web([], pool(), pool())
    nodes.connect(0, 1)
    while not any(isinstance(message, Transfer) for _, _, message in nodes.log):
        nodes.step(*nodes.waiting()[0])
    for queue in nodes.wires[1].queues:
        queue.clear()
    nodes.seconds += DIGEST_DIFFERS_MS / 1000
    nodes.connect(2, 0)
    nodes.deliver()
    assert nodes.holders[0].held == {item.header.id for item in pool()}


# --- the horizon ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 1])
def test_versions_older_than_the_later_horizon_stay_where_they_are(ahead):
    cut = EXPIRING[20].header.hlc_s
    nodes = web(pool(), [])
    nodes.holders[ahead].horizon_s = cut
    nodes.connect(1, 0)
    nodes.deliver()
    expected = {item.header.id for item in pool() if item.header.durable or item.header.hlc_s >= cut}
    assert nodes.holders[1].held == expected


def test_horizon_that_passes_ids_makes_no_difference():
    cut = EXPIRING[20].header.hlc_s
    nodes = web(pool(), [item for item in pool() if item.header.durable or item.header.hlc_s >= cut])
    for holder in nodes.holders:
        holder.horizon_s = cut
        holder.now(0)
    nodes.connect(1, 0)
    nodes.deliver()
    assert nodes.begun() == []


# --- what is told -----------------------------------------------------------------------------------------


def test_progress_tells_how_much_has_come_of_how_much():
    dave = Writer.of(circle(), "dave")
    many = [dave.add(body=b"x" * 2000) for _ in range(200)]
    nodes = web([], many)
    number = nodes.connect(0, 1)
    seen = []
    while nodes.waiting():
        nodes.step(*nodes.waiting()[0])
        seen += [one for one in nodes.holders[0].sync.progress() if one.namespace is Namespace.DURABLE]
    assert {one.link for one in seen} == {number}
    assert {one.expected for one in seen} == {200}
    received = [one.received for one in seen]
    assert received == sorted(received)
    assert len(set(received)) >= 4
    assert nodes.holders[0].sync.progress() == ()
    assert nodes.holders[1].sync.progress() == ()


def test_credit_tells_which_versions_are_durable_there():
    nodes = web(DURABLE[:5], [])
    nodes.connect(0, 1)
    credited: list[bytes] = []
    while nodes.waiting():
        number, side = nodes.waiting()[0]
        wire = nodes.wires[number]
        message = wire.queues[side][0]
        if isinstance(message, Taken) and wire.ends[1 - side] == 0:
            giver = nodes.holders[0]
            assert giver.sync.credited(giver.links[number], Taken(message.session, message.number + 1)) == ()
            credited += giver.sync.credited(giver.links[number], message)
        nodes.step(number, side)
    assert sorted(credited) == sorted(item.header.id for item in DURABLE[:5])


def test_neighbors_that_held_what_we_held_are_passed_on_what_a_session_brings():
    nodes = web(pool()[:30], pool()[:30], pool())
    like = nodes.connect(0, 1)
    nodes.deliver()
    source = nodes.connect(0, 2)
    holder = nodes.holders[0]
    assert holder.sync.neighbors_in_step(holder.links[source]) == [holder.links[like]]
    assert holder.sync.neighbors_in_step(holder.links[like]) == []


def test_much_that_a_session_brings_is_not_passed_on():
    nodes = web(pool()[:30], pool()[:30], pool())
    nodes.connect(0, 1)
    nodes.deliver()
    source = nodes.connect(0, 2)
    holder = nodes.holders[0]
    session = holder.sync._partners[source].session
    assert session is not None
    session.expected = RECORDS_PASSED_ON_MAX
    assert len(holder.sync.neighbors_in_step(holder.links[source])) == 1
    session.expected += 1
    assert holder.sync.neighbors_in_step(holder.links[source]) == []


def test_in_step_is_a_neighbor_that_told_the_same():
    nodes = web(pool(), pool()[:30])
    number = nodes.connect(0, 1)
    one, two = nodes.holders
    assert not one.sync.in_step(one.links[number])
    nodes.deliver()
    nodes.tick(1)
    nodes.deliver()
    assert one.sync.in_step(one.links[number])
    assert two.sync.in_step(two.links[number])


def test_after_a_whole_session_a_neighbor_whose_clock_is_apart_counts_as_in_step():
    nodes = web(pool(), pool()[:30], skews=(0, 900))
    number = nodes.connect(0, 1)
    nodes.deliver()
    assert all(holder.sync.in_step(holder.links[number]) for holder in nodes.holders)


def test_namespace_of_a_session_does_not_change():
    nodes = web(pool(), [])
    number = nodes.connect(0, 1)
    nodes.step(*nodes.waiting()[0])
    wire = nodes.wires[number]
    answer = wire.queues[1].popleft()
    assert isinstance(answer, Reconcile)
    wrong = Reconcile(Namespace.EXPIRING, 0, answer.session, answer.round, answer.payload, answer.done)
    with pytest.raises(Exception, match="not the next"):
        nodes.holders[0].hear(number, wrong, 0)


def test_what_no_digest_tells_comes_from_a_neighbor_that_was_put_off_when_its_turn_has_come():
    """Its session found nobody willing, and it does not begin another: its digest is what it should be."""
    nodes = web(pool()[:30], pool(), [*pool()[:30], young()])
    nodes.connect(0, 1)
    while not any(isinstance(message, Transfer) for _, _, message in nodes.log):
        nodes.step(*nodes.waiting()[0])
    second = nodes.connect(2, 0)
    while any(number == second for number, _ in nodes.waiting()):
        nodes.step(*next(one for one in nodes.waiting() if one[0] == second))
    assert young().header.id not in nodes.holders[0].held
    nodes.deliver()
    assert young().header.id in nodes.holders[0].held


def test_neighbor_that_stalls_holds_up_what_no_digest_tells_for_five_seconds_and_no_longer():
    nodes = web([*pool(), young()], pool(), pool())
    first = nodes.connect(0, 1)
    for queue in nodes.wires[first].queues:
        queue.clear()
    nodes.connect(0, 2)
    nodes.deliver()
    holder = nodes.holders[0]
    due = holder.sync.next_deadline()
    assert due == holder.now(DIGEST_DIFFERS_MS / 1000).mono_ms
    nodes.tick(DIGEST_DIFFERS_MS / 1000)
    nodes.deliver()
    assert young().header.id in nodes.holders[2].held


def test_what_a_session_brings_is_passed_on_where_it_could_not_be_compared():
    nodes = web(pool()[:30], pool()[:30], pool(), skews=(0, 16, 0))
    apart = nodes.connect(0, 1)
    source = nodes.connect(0, 2)
    holder = nodes.holders[0]
    assert holder.sync._partners[apart].data.agrees is None
    assert holder.sync.neighbors_in_step(holder.links[source]) == [holder.links[apart]]
