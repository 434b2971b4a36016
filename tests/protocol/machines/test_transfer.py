"""Transfer: what is owed is cut into frames that are read when they are due."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings, strategies as st

from protocol.limits import (
    BODY_TRANSFERRED_BYTES_MAX,
    ELEMENTS_PER_FRAME_MAX,
    FRAME_BYTES_MAX_MEMBER,
    RECORD_ITEM_BYTES_MAX,
    TRANSFER_FRAME_BYTES_TARGET,
)
from protocol.machines.transfer import item_of, next_frame, to_send
from protocol.records.memory import MemoryStore
from protocol.records.record import RecordItem, decode_untrusted_item
from protocol.records.record_set import State
from protocol.wire.messages import Namespace, Transfer, encode_message
from tests.support.builders import Group, node_of
from tests.support.records import Writer, circle


def holding(*items: RecordItem) -> MemoryStore:
    store = MemoryStore()
    store.begin()
    for item in items:
        store.put_version(item.header, State.KEPT, 0)
        if item.header.body_hash is not None and item.body is not None:
            store.put_body(item.header.body_hash, item.body)
    store.commit()
    return store


def frames(ids: list[bytes], namespace: Namespace, store: MemoryStore) -> list[tuple[tuple[bytes, ...], ...]]:
    queue = deque(ids)
    made: list[tuple[tuple[bytes, ...], ...]] = []
    while queue:
        made.append(next_frame(queue, namespace, store))
    return made


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([0, 1, 300, 9_000, BODY_TRANSFERRED_BYTES_MAX, 20_000]), max_size=30), st.data()
)
def test_frames_hold_all_that_is_here_once_and_each_is_small(sizes, data):
    dave = Writer.of(circle(), "dave")
    items = [dave.add(body=bytes([n]) * size) for n, size in enumerate(sizes)]
    gone = {n for n in range(len(items)) if data.draw(st.integers(0, 5)) == 0}
    here = [item for n, item in enumerate(items) if n not in gone]
    made = frames([item.header.id for item in items], Namespace.EXPIRING, holding(*here))
    assert [one for ids, _ in made for one in ids] == [item.header.id for item in here]
    sent = [decode_untrusted_item(raw) for _, raws in made for raw in raws]
    for item, travelling in zip(here, sent, strict=True):
        small = item.header.size <= BODY_TRANSFERRED_BYTES_MAX
        assert travelling == (item if small else RecordItem(item.header))
    for ids, raws in made:
        assert len(ids) == len(raws) <= ELEMENTS_PER_FRAME_MAX
        assert sum(map(len, raws)) <= TRANSFER_FRAME_BYTES_TARGET
        message = Transfer(Namespace.DURABLE, 2**32 - 1, 2**32 - 1, raws, True)
        assert len(encode_message(message)) <= FRAME_BYTES_MAX_MEMBER


def test_many_small_versions_go_by_what_a_frame_holds():
    dave = Writer.of(circle(), "dave")
    items = [dave.add() for _ in range(300)]
    made = frames([item.header.id for item in items], Namespace.DURABLE, holding(*items))
    assert len(made) == -(-sum(len(item.raw) for item in items) // TRANSFER_FRAME_BYTES_TARGET)


def test_body_that_is_not_here_is_left_to_be_fetched():
    item = Writer.of(circle(), "dave").add(body=b"x" * 10)
    store = holding(RecordItem(item.header))
    assert item_of(item.header.id, BODY_TRANSFERRED_BYTES_MAX, store) == RecordItem(item.header).raw
    assert item_of(bytes(32), BODY_TRANSFERRED_BYTES_MAX, store) is None


@pytest.mark.parametrize("size, there", [(100, True), (101, False)])
def test_body_beyond_a_limit_is_left_out(size, there):
    item = Writer.of(circle(), "dave").add(body=b"x" * size)
    raw = item_of(item.header.id, 100, holding(item))
    assert raw == (item if there else RecordItem(item.header)).raw
    assert len(item.raw) <= RECORD_ITEM_BYTES_MAX


def test_queue_of_acts_is_in_the_order_of_their_arrival():
    group = Group()
    group.grant("alice -> bob:member")
    node = node_of(group, "bob")
    node.take(group.elements)
    ids = [element.id for element in group.elements]
    assert list(to_send([bytes(32), *reversed(ids)], Namespace.AUTH, node.store)) == ids
    assert list(to_send([bytes(32), *ids], Namespace.DURABLE, node.store)) == [bytes(32), *ids]


def test_large_elements_have_frames_of_their_own():
    node_store = MemoryStore()
    node_store.begin()
    for n in range(3):
        node_store.put(bytes([n]) * 32, bytes([n]) * 40_000)
    node_store.commit()
    made = frames([bytes([n]) * 32 for n in range(3)], Namespace.AUTH, node_store)
    assert [ids for ids, _ in made] == [(bytes([n]) * 32,) for n in range(3)]


def test_nothing_is_read_before_its_frame_is_due():
    dave = Writer.of(circle(), "dave")
    items = [dave.add(body=b"x" * 16_000) for _ in range(8)]
    store = holding(*items)
    read: list[bytes] = []
    original = store.body

    def body(body_hash: bytes) -> bytes | None:
        read.append(body_hash)
        return original(body_hash)

    store.body = body  # type: ignore[method-assign]
    queue = deque(item.header.id for item in items)
    next_frame(queue, Namespace.DURABLE, store)
    assert len(read) <= 4
