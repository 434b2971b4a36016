"""Recent: nodes that meet again are complete after one round trip; no remembered position does harm."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import POSITIONS_MAX, RECENT_COMPARED_MAX, RECENT_IDS_MAX
from protocol.machines import recent
from protocol.machines.data_ids import mark_at
from protocol.machines.recent import Exchange, Positions, count_wanted
from protocol.records.memory import MemoryStore
from protocol.records.record import RecordItem
from protocol.wire.messages import Namespace, Recent, Reconcile
from tests.protocol.machines.data_sessions import Holder, Web, pool, web
from tests.support.builders import NOW, after
from tests.support.records import Writer, circle

KEY = bytes(range(32))
NODES = [bytes([n]) * 16 for n in range(3)]
subsets = st.sets(st.integers(0, len(pool()) - 1)).map(lambda chosen: [pool()[n] for n in sorted(chosen)])


def holding(*items: RecordItem) -> MemoryStore:
    return Holder("alice", items).store


def in_transaction(store: MemoryStore) -> MemoryStore:
    store.begin()
    return store


# --- one comparison ---------------------------------------------------------------------------------------


@given(subsets, subsets, subsets, st.integers(0, 5), st.integers(0, 5))
def test_each_side_learns_what_the_other_lacks_of_what_is_recent(common, one, two, before, behind):
    """`before` and `behind`: by how much either position lags behind the agreement."""
    both = {item.header.id for item in common}
    news = [[item for item in items if item.header.id not in both] for items in (one, two)]
    stores = [holding(*common, *items) for items in news]
    positions = [max(0, len(common) - lag) for lag in (before, behind)]
    caller, answerer = (
        Exchange(KEY, 4, position, store) for position, store in zip(positions, stores, strict=True)
    )
    assert caller.complete
    assert answerer.complete
    wanted_by_answerer = answerer.wants(caller.ids)
    listed_by_answerer = answerer.ids
    to_answerer = caller.wanted(wanted_by_answerer)
    to_caller = answerer.wanted(caller.wants(listed_by_answerer))
    ids = [[item.header.id for item in items] for items in news]
    assert to_answerer == [one for one in ids[0] if one not in ids[1]]
    assert to_caller == [one for one in ids[1] if one not in ids[0]]
    assert count_wanted(wanted_by_answerer) == len(to_answerer)


def test_too_much_or_an_unknown_neighbor_is_not_listed(monkeypatch):
    monkeypatch.setattr(recent, "RECENT_IDS_MAX", 5)
    assert RECENT_IDS_MAX > 5
    store = holding(*pool()[:20])
    for position, complete, listed in ((15, True, 5), (14, False, 0), (None, False, 0)):
        exchange = Exchange(KEY, 1, position, store)
        assert (exchange.complete, len(exchange.ids) // 8) == (complete, listed)


def test_list_is_compared_with_what_arrived_last_alone(monkeypatch):
    monkeypatch.setattr(recent, "RECENT_COMPARED_MAX", 3)
    assert RECENT_COMPARED_MAX > 3
    store = holding(*pool()[:10])
    names = Exchange(KEY, 1, 0, store).ids
    assert Exchange(KEY, 1, None, store).wants(names) == b"\x7f\x00"


def test_short_ids_belong_to_one_session():
    store = holding(*pool()[:3])
    names = {Exchange(key, number, 0, store).ids for key in (KEY, bytes(32)) for number in (1, 2)}
    assert len(names) == 4


@pytest.mark.parametrize("bits", [b"", b"\x00\x00", b"\x08"])
def test_bits_that_do_not_go_with_the_list_are_malformed(bits):
    exchange = Exchange(KEY, 1, 0, holding(*pool()[:3]))
    with pytest.raises(RemoteProtocolError) as caught:
        exchange.wanted(bits)
    assert caught.value.fault is Fault.MALFORMED
    assert len(exchange.wanted(b"\x07")) == 3


# --- positions --------------------------------------------------------------------------------------------


def test_position_is_where_all_had_settled():
    positions, store = Positions(), holding(*pool()[:4])
    assert positions.look(mark_at(NOW.utc_s), NOW, store) is None
    assert positions.look(NOW.utc_s, NOW, store) is None
    assert positions.look(mark_at(after(32).utc_s), after(32), store) == 4


def test_positions_of_the_neighbors_of_late_are_remembered():
    store = in_transaction(MemoryStore())
    assert Positions.of(NODES[0], store) is None
    for number in range(POSITIONS_MAX + 1):
        Positions.save(number.to_bytes(16, "big"), number * 10, store)
    assert Positions.of((0).to_bytes(16, "big"), store) is None
    assert Positions.of((1).to_bytes(16, "big"), store) == 10
    Positions.save((1).to_bytes(16, "big"), 2**40, store)
    Positions.save(NODES[2], 5, store)
    assert Positions.of((1).to_bytes(16, "big"), store) == 2**40
    assert Positions.of((2).to_bytes(16, "big"), store) is None


def test_position_that_has_not_changed_is_not_written():
    store = in_transaction(MemoryStore())
    Positions.save(NODES[0], 5, store)
    store.commit()
    Positions.save(NODES[0], 5, store)  # outside of a transaction a write would be a mistake


# --- sessions ---------------------------------------------------------------------------------------------


def parted(one: Sequence[RecordItem], two: Sequence[RecordItem], *common: RecordItem) -> Web:
    """Two nodes that agreed on `common`, and since they parted have got these."""
    nodes = web(common, common)
    nodes.connect(0, 1)
    for _ in range(4):
        nodes.tick(16)
        nodes.deliver()
    nodes.cut(1)
    nodes.holders[0].take(one)
    nodes.holders[1].take(two)
    nodes.tick(40)
    nodes.log.clear()
    return nodes


@settings(max_examples=40)
@given(subsets, subsets)
def test_nodes_that_meet_again_are_equal_after_one_round_trip(one, two):
    common = pool()[:20]
    nodes = parted(one, two, *common)
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    assert not any(isinstance(message, Reconcile) for _, _, message in nodes.log)
    steps = [message.step for _, _, message in nodes.log if isinstance(message, Recent)]
    ids = [{item.header.id for item in items} - {item.header.id for item in common} for items in (one, two)]
    assert steps == ([0, 1, 2] if ids[0] != ids[1] else [])
    assert sum(nodes.moved()) == len(ids[0] ^ ids[1])
    assert not any(holder.sync.busy for holder in nodes.holders)


@settings(max_examples=40)
@given(subsets, subsets, st.tuples(st.integers(0, 70), st.integers(0, 70)), st.data())
def test_wrong_positions_do_no_harm(one, two, positions, data):
    nodes = web(one, two)
    for holder, other, position in zip(nodes.holders, reversed(nodes.holders), positions, strict=True):
        holder.store.begin()
        Positions.save(other.name.encode().ljust(16, b"\0"), position, holder.store)
        holder.store.commit()
    number = nodes.connect(0, 1)
    for _ in range(data.draw(st.integers(0, 6))):
        if nodes.waiting():
            nodes.step(*data.draw(st.sampled_from(nodes.waiting())))
    if data.draw(st.booleans()):
        nodes.cut(number)
        nodes.connect(1, 0)
    nodes.settle()


def test_neighbor_that_remembers_nothing_takes_what_is_listed_and_ranges_follow_at_once():
    nodes = parted(pool()[20:24], pool()[30:34], *pool()[:20])
    nodes.holders[1].store.begin()
    nodes.holders[1].store.set_setting("positions", None)
    nodes.holders[1].store.commit()
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    assert [namespace for _, _, namespace in nodes.begun()] == [Namespace.DURABLE, Namespace.EXPIRING]
    assert sum(nodes.moved()) == 8


def test_more_than_is_listed_goes_by_ranges(monkeypatch):
    monkeypatch.setattr(recent, "RECENT_IDS_MAX", 3)
    nodes = parted(pool()[20:24], [], *pool()[:20])
    nodes.connect(0, 1)
    nodes.deliver()
    assert nodes.equal
    assert not any(isinstance(message, Recent) for _, _, message in nodes.log)


def test_step_out_of_turn_is_a_fault_and_one_of_no_session_is_ignored():
    nodes = parted(pool()[20:24], [], *pool()[:20])
    number = nodes.connect(0, 1)
    assert nodes.holders[0].hear(number, Recent(6, 1, True, b"", b""), nodes.seconds) == []
    assert nodes.holders[0].hear(number, Recent(1, 0, True, b"", b""), nodes.seconds) == []
    with pytest.raises(RemoteProtocolError) as caught:
        nodes.holders[0].hear(number, Recent(0, 2, True, b"", b""), nodes.seconds)
    assert caught.value.fault is Fault.OUT_OF_TURN


def test_version_written_at_the_last_moment_is_not_taken_for_agreed():
    """It has not settled, so the digests say nothing of it; the link ends before it was flooded."""
    nodes = web(pool()[:20], pool()[:20])
    nodes.connect(0, 1)
    for _ in range(4):
        nodes.tick(16)
        nodes.deliver()
    erin = Writer.of(circle(), "erin")
    erin.hlc += (4_000 + int(nodes.seconds) - 2) * 1000 << 16
    late = erin.add()
    nodes.holders[0].take([late])
    nodes.tick(1)
    nodes.deliver()
    nodes.cut(1)
    nodes.tick(60)
    nodes.connect(0, 1)
    nodes.deliver()
    assert late.header.id in nodes.holders[1].held
