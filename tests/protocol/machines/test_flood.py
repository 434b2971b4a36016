"""Flood: what is new goes to everybody but its source, in frames of bounded size, parents first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind
from protocol.limits import (
    ACT_BYTES_MAX,
    BODY_FLOODED_BYTES_MAX,
    ELEMENTS_PER_FRAME_MAX,
    FRAME_BYTES_MAX_MEMBER,
    GOT_IDS_MAX,
    TRANSFER_FRAME_BYTES_TARGET,
    WANTED_IDS_MAX,
)
from protocol.machines import flood
from protocol.machines.events import Send
from protocol.machines.link import Link, Summary
from protocol.records.record import RecordItem
from protocol.wire.messages import Got, Namespace, News, Records, Transfer, Want, encode_message
from tests.protocol.machines.playing import Player, news, node_id, said
from tests.support.builders import NO_DATA, Group, node_of
from tests.support.keys import named
from tests.support.records import Writer, circle


def links(count: int) -> list[Link]:
    return [
        Link(number, named(f"p{number}").public, node_id(f"p{number}"), None, None, bytes(32))
        for number in range(1, count + 1)
    ]


# --- frames -----------------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([1, 100, 30_000, 32_768, ACT_BYTES_MAX]), max_size=30),
    st.integers(0, 3),
    st.data(),
)
def test_frames_hold_all_in_order_and_each_is_small_and_none_is_empty(sizes, runs, data):
    short = [1] * (runs * ELEMENTS_PER_FRAME_MAX)
    cut = data.draw(st.integers(0, len(sizes)))
    raws = [bytes([i % 256]) * size for i, size in enumerate([*sizes[:cut], *short, *sizes[cut:]])]
    frames = list(flood.in_frames(raws))
    assert [raw for frame in frames for raw in frame] == raws
    for frame in frames:
        assert 1 <= len(frame) <= ELEMENTS_PER_FRAME_MAX
        assert sum(map(len, frame)) <= TRANSFER_FRAME_BYTES_TARGET
    for frame, following in pairwise(frames):
        full = len(frame) == ELEMENTS_PER_FRAME_MAX
        assert full or sum(map(len, frame)) + len(following[0]) > TRANSFER_FRAME_BYTES_TARGET


def test_fullest_frames_fit_the_wire():
    small = tuple([b"x" * (TRANSFER_FRAME_BYTES_TARGET // ELEMENTS_PER_FRAME_MAX)] * ELEMENTS_PER_FRAME_MAX)
    assert len(list(flood.in_frames(small))) == 1
    assert (
        len(encode_message(Transfer(Namespace.AUTH, 2**32 - 1, 2**32 - 1, small, True)))
        < FRAME_BYTES_MAX_MEMBER
    )
    assert len(encode_message(News((b"x" * ACT_BYTES_MAX,)))) < FRAME_BYTES_MAX_MEMBER


# --- relaying ---------------------------------------------------------------------------------------------


def test_what_is_new_goes_to_all_links_but_its_source_and_may_be_dropped():
    group = Group()
    message = news(*group.elements)
    outputs = flood.relay(group.elements, 2, links(3))
    assert outputs == [Send(1, message, droppable=True), Send(3, message, droppable=True)]
    assert [one.link for one in flood.relay(group.elements, None, links(3))] == [1, 2, 3]
    assert flood.relay([], None, links(3)) == []


def test_what_a_session_brought_goes_to_neighbors_that_told_another_digest_than_its_source():
    source, like, unlike, silent = links(4)
    source.theirs = like.theirs = Summary(3, b"a" * 16, NO_DATA)
    unlike.theirs = Summary(3, b"b" * 16, NO_DATA)
    assert flood.unlike(source, [source, like, unlike, silent]) == [unlike]


# --- records ----------------------------------------------------------------------------------------------


def test_versions_go_to_all_links_but_their_source_with_small_bodies_alone():
    dave = Writer.of(circle(), "dave")
    small, large = (
        dave.add(body=b"s" * BODY_FLOODED_BYTES_MAX),
        dave.add(body=b"l" * (BODY_FLOODED_BYTES_MAX + 1)),
    )
    none = dave.add()
    message = Records((small.raw, RecordItem(large.header).raw, none.raw), False)
    outputs = flood.relay_records([small, large, none], 2, links(3))
    assert outputs == [Send(1, message, droppable=True), Send(3, message, droppable=True)]
    assert flood.relay_records([], 2, links(3)) == []


def test_writer_may_ask_for_word():
    item = Writer.of(circle(), "dave").add()
    (asking,) = said(flood.relay_records([item], None, links(1), ask=True))
    assert asking == Records((item.raw,), True)


def test_many_versions_go_in_frames():
    dave = Writer.of(circle(), "dave")
    items = [dave.add(body=b"x" * 200) for _ in range(300)]
    frames = [message.items for message in said(flood.relay_records(items, None, links(1)))]  # type: ignore[union-attr]
    assert [raw for frame in frames for raw in frame] == [item.raw for item in items]
    assert all(sum(map(len, frame)) <= TRANSFER_FRAME_BYTES_TARGET for frame in frames)


def test_word_is_given_for_versions_that_are_durable_with_their_bodies():
    dave = Writer.of(circle(), "dave")
    items = [dave.add(), dave.add(body=b"here"), dave.add(body=b"lacking"), dave.add(body=b"refused")]
    ids = [item.header.id for item in items]
    lacking = [(items[2].header.body_hash or b"", 7)]
    assert flood.whole(items, ids[:3], lacking) == ids[:2]


def test_word_for_many_versions_is_cut():
    ids = [number.to_bytes(32, "big") for number in range(GOT_IDS_MAX + 1)]
    assert flood.acknowledge(ids, 4) == [Send(4, Got(b"".join(ids[:-1]))), Send(4, Got(ids[-1]))]
    assert flood.acknowledge([], 4) == []


# --- asking and answering ---------------------------------------------------------------------------------


def test_missing_parents_are_asked_for_up_to_a_limit():
    ids = [number.to_bytes(32, "big") for number in range(WANTED_IDS_MAX + 5)]
    assert flood.ask([], 1) == []
    assert flood.ask(ids[:2], 1) == [Send(1, Want(ids[0] + ids[1]))]
    assert flood.ask(ids, 1) == [Send(1, Want(b"".join(ids[:WANTED_IDS_MAX])))]


def test_want_is_answered_with_what_is_here_parents_first():
    group = Group()
    group.grant("alice -> bob:member")
    node = node_of(group, "bob")
    node.take(group.elements)
    wanted = [bytes(32), *(element.id for element in reversed(group.elements)), group.elements[0].id]
    assert flood.answer(Want(b"".join(wanted)), 7, node.store) == [
        Send(7, news(*group.elements), droppable=True)
    ]
    assert flood.answer(Want(bytes(32)), 7, node.store) == []


def test_large_answer_is_cut_into_frames():
    group = Group()
    acts = [
        group.act("alice", Kind.ANNUL, {"act": bytes(32), "pad": b"x" * 30_000, "n": n}) for n in range(5)
    ]
    node = node_of(group, "bob")
    node.take(group.elements)
    outputs = flood.answer(Want(b"".join(act.id for act in acts)), 7, node.store)
    assert [len(message.elements) for message in said(outputs, 7) if isinstance(message, News)] == [2, 2, 1]


# --- in the group's machine -------------------------------------------------------------------------------


def test_news_are_passed_on_in_an_order_of_causes_and_only_once():
    group = Group()
    group.grant("alice -> bob:member")
    player = Player.of(group, "bob")
    for link, name in enumerate(("alice", "carl", "dave"), start=1):
        player.meet(link, name)
    start = len(group.elements)
    group.grant("grc -> alice:admin -> carl:admin -> dave:member")
    fresh = group.elements[start:]
    outputs = player.hear(1, news(*reversed(fresh)))
    assert said(outputs, 1) == []
    (passed_on,) = said(outputs, 2)
    assert said(outputs, 3) == [passed_on]
    assert isinstance(passed_on, News)
    order = [[one.raw for one in fresh].index(raw) for raw in passed_on.elements]
    assert sorted(order) == list(range(len(fresh)))
    carl, carl_der, dave, dave_der = (order.index(place) for place in range(4))
    assert carl < carl_der < len(fresh)
    assert carl < dave < dave_der
    assert said(player.hear(2, news(*fresh))) == []


def test_link_that_brought_a_child_alone_is_asked_for_its_parent_which_completes_both():
    group = Group()
    group.grant("alice -> bob:member")
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    player.meet(2, "carl")
    dave = group.grant("grc -> alice:admin -> carl:admin -> dave:member")
    assert dave.act.place.cred is not None
    carl = group.granted[dave.act.place.cred]
    outputs = player.hear(1, news(dave.act, dave.der))
    assert said(outputs) == [Want(carl.act.id)]
    assert said(player.hear(2, Want(dave.act.id))) == []
    (relayed,) = said(player.hear(1, news(carl.act, carl.der)), 2)
    assert isinstance(relayed, News)
    assert relayed.elements[0] == carl.act.raw
    assert sorted(relayed.elements) == sorted(e.raw for e in (*carl.elements, *dave.elements))
