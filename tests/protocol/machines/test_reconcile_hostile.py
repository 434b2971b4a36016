"""Neighbors that cheat in a reconciliation: every message is answered or refused, at a bounded cost."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import RECONCILE_ANSWER_BYTES_MAX, RECONCILE_MESSAGES_MAX, RECONCILE_PAYLOAD_BYTES_MAX
from protocol.machines.ordered_ids import HIGHEST, LOWEST, OrderedIds, entry_of
from protocol.machines.reconcile import Reconciliation
from protocol.machines.reconcile_format import Compared, Head, Left, Listed, Reader, Same, Split, Writer
from tests.protocol.machines.reconciling import KEY, limits, many, reconciled, two_sets, weak


def message(*answers, repeated=False, agreement=None, lower=LOWEST) -> bytes:
    """A message with the given answers, all written as if about ranges from `lower` on."""
    writer = Writer()
    for answer in answers:
        writer.add(answer, lower)
    return writer.message(Head(repeated, agreement))


def opened(ids: OrderedIds) -> Reconciliation:
    """An initiator that has spoken."""
    side = Reconciliation(ids, KEY, initiator=True)
    side.open()
    return side


def responder(ids: OrderedIds) -> Reconciliation:
    """A side that waits for the first message."""
    return Reconciliation(ids, KEY, initiator=False)


def fault_of(side: Reconciliation, payload: bytes) -> Fault:
    """The fault that a message is refused with."""
    with pytest.raises(RemoteProtocolError) as caught:
        side.answer(payload)
    return caught.value.fault


Asked: TypeAlias = tuple[bytes, bytes, bool]  # the ends of a range, and whether its list was sent
NOTHING_EQUAL = tuple(bytes([n]) * 16 for n in range(16))


@given(two_sets(), st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.booleans())
def test_any_bytes_are_answered_or_refused(drawn, junk, initiator):
    ids = OrderedIds(next(iter(drawn)))
    side = opened(ids) if initiator else responder(ids)
    with suppress(RemoteProtocolError):
        for payload in junk:
            side.answer(payload)


@given(two_sets(), st.data())
def test_honest_messages_with_bytes_changed_are_answered_or_refused(drawn, data):
    one, other = map(OrderedIds, drawn)
    sides = [opened(one), responder(other)]
    payload: bytes | None = Reconciliation(one, KEY, initiator=True).open()
    with suppress(RemoteProtocolError):
        for turn in range(1, RECONCILE_MESSAGES_MAX + 1):
            if payload is None:
                return
            changed = bytearray(payload)
            for at, value in data.draw(
                st.lists(st.tuples(st.integers(0, len(payload) - 1), st.integers(0, 255)), max_size=2)
            ):
                changed[at] = value
            payload = sides[turn % 2].answer(bytes(changed)).payload
        assert payload is None, "a session outlived its messages"


def test_message_after_the_end_is_out_of_turn():
    side = opened(OrderedIds(many(100)))
    assert side.answer(message(Same(12))).done
    assert fault_of(side, message(Same())) is Fault.OUT_OF_TURN


@pytest.mark.parametrize("more", [1, 2**30])
def test_more_answers_than_questions_are_malformed(more):
    assert fault_of(opened(OrderedIds(many(100))), message(Same(12 + more))) is Fault.MALFORMED
    assert fault_of(opened(OrderedIds(many(100))), message(Same(12), Left(more))) is Fault.MALFORMED


def test_message_that_answers_nothing_is_malformed():
    assert fault_of(opened(OrderedIds(many(100))), message()) is Fault.MALFORMED
    assert fault_of(responder(OrderedIds(many(100))), message()) is Fault.MALFORMED


def test_list_is_not_settled_by_a_run_of_equal_ranges():
    bound = entry_of(950, bytes(32))[:5]
    first = message(
        Split((bound,), NOTHING_EQUAL[:2])
    )  # 95 ids and 5: eleven fingerprints and a list come back
    for answer, accepted in ((message(Same(11), Left()), True), (message(Same(12)), False)):
        side = responder(OrderedIds(many(100)))
        side.answer(first)
        if accepted:
            assert side.answer(answer).done
        else:
            assert fault_of(side, answer) is Fault.MALFORMED


def test_session_repeated_twice_is_malformed():
    side = responder(OrderedIds(many(100)))
    again = message(Split((bytes(5),), NOTHING_EQUAL[:2]), repeated=True)
    side.answer(again)
    assert fault_of(side, again) is Fault.MALFORMED


def test_lists_compared_without_an_agreement_are_malformed():
    side = opened(OrderedIds(many(1)))
    assert fault_of(side, message(Compared((False,), (), 0))) is Fault.MALFORMED


def test_agreement_without_lists_compared_is_malformed():
    side = opened(OrderedIds(many(100)))
    assert fault_of(side, message(Same(12), agreement=bytes(16))) is Fault.MALFORMED


def test_agreement_after_a_repetition_is_malformed():
    side = Reconciliation(OrderedIds(many(2)), KEY, initiator=True, short_id=weak(0))
    assert side.open()[0] & 1
    assert fault_of(side, message(Compared((True, True), (), 0), agreement=bytes(16))) is Fault.MALFORMED


def test_agreement_that_never_holds_costs_one_repetition():
    side = opened(OrderedIds(many(1)))
    step = side.answer(message(Compared((False,), (), 0), agreement=bytes(16)))
    assert step.payload is not None
    assert step.payload[0] & 1
    assert side.answer(message(Compared((False,), (), 0))).complete


def test_message_over_its_size_is_over_the_limit():
    side = responder(OrderedIds(many(100)))
    assert fault_of(side, bytes(RECONCILE_PAYLOAD_BYTES_MAX + 1)) is Fault.OVER_LIMIT
    assert fault_of(side, bytes(RECONCILE_PAYLOAD_BYTES_MAX)) is Fault.MALFORMED


def test_message_over_what_is_left_of_the_session_is_over_the_limit():
    side = responder(OrderedIds(many(100)))
    with limits(RECONCILE_BYTES_MAX=RECONCILE_ANSWER_BYTES_MAX + 100):
        assert fault_of(side, bytes(RECONCILE_ANSWER_BYTES_MAX + 101)) is Fault.OVER_LIMIT


def questions_of(payload: bytes, ranges: list[tuple[bytes, bytes]]) -> list[Asked]:
    """What a message asks that answers fingerprints of these ranges."""
    reader = Reader(payload)
    reader.head_untrusted()
    asked: list[Asked] = []
    for lower, upper in ranges:
        match reader.answer_untrusted(lower, upper, None, whole_ids=False):
            case Split(bounds, _):
                edges = (lower, *bounds, upper)
                asked += [(below, above, False) for below, above in pairwise(edges)]
            case answer:
                assert isinstance(answer, Listed)
                asked.append((lower, upper, True))
    assert reader.at_end
    return asked


def uneven(payload: bytes, ranges: list[tuple[bytes, bytes]]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """An answer that calls all ranges different and cuts nothing off; and the ranges that it asks about."""
    writer = Writer()
    asked = []
    for lower, upper, listed in questions_of(payload, ranges):
        if listed:
            writer.add(Left(), lower)
            continue
        bound = lower + b"\x00" if lower else bytes(5)
        writer.add(Split((bound,), NOTHING_EQUAL[:2]), lower)
        asked += [(lower, bound), (bound, upper)]
    return writer.message(Head(repeated=False, agreement=None)), asked


def test_neighbor_that_calls_everything_different_is_cut_off():
    ids = OrderedIds(many(4000, second=9))
    with limits(RECONCILE_PASSES_MAX=4, RECONCILE_HASHED_IDS_MIN=0):
        reconciled(ids, many(4200, second=9)[200:])
        side = opened(ids)
        ranges = [(LOWEST, HIGHEST)]
        payload = Reconciliation(ids, KEY, initiator=True).open()
        cheat, ranges = uneven(payload, ranges)
        reply = side.answer(cheat).payload
        assert reply is not None
        assert fault_of(side, uneven(reply, ranges)[0]) is Fault.OVER_LIMIT
