"""The bytes of reconciliation messages: what is written reads back, and nothing else is taken."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import RECONCILE_BRANCHES, RECONCILE_LIST_MAX, RECONCILE_NAMED_MAX
from protocol.machines.ordered_ids import HIGHEST, LOWEST, SECOND_MAX, entry_of
from protocol.machines.reconcile_format import (
    Compared,
    Head,
    Left,
    Listed,
    Reader,
    Same,
    Split,
    Writer,
)

FINGERPRINT = bytes(range(16))
NO_HEAD = Head(repeated=False, agreement=None)

heads = st.builds(Head, st.booleans(), st.none() | st.binary(min_size=16, max_size=16))
bounds = st.tuples(st.integers(0, SECOND_MAX), st.binary(max_size=32)).map(
    lambda drawn: drawn[0].to_bytes(5, "big") + drawn[1]
)
names = st.lists(st.binary(min_size=8, max_size=8), max_size=RECONCILE_LIST_MAX - 1, unique=True)
whole_ids = st.lists(st.binary(min_size=32, max_size=32), max_size=40, unique=True)
runs = st.builds(Same, st.integers(1, 2**20)) | st.builds(Left, st.integers(1, 2**20))


@st.composite
def splits(draw):
    """Edges of a range and of its parts, and the split of it."""
    edges = sorted(draw(st.sets(bounds, min_size=3, max_size=RECONCILE_BRANCHES + 1)))
    count = len(edges) - 1
    fingerprints = draw(st.lists(st.binary(min_size=16, max_size=16), min_size=count, max_size=count))
    return edges, Split(tuple(edges[1:-1]), tuple(fingerprints))


@st.composite
def comparisons(draw):
    """The outcome of a list, either with the missing ids named or with their count."""
    wanted = tuple(draw(st.lists(st.booleans(), max_size=RECONCILE_LIST_MAX - 1)))
    if draw(st.booleans()):
        return Compared(wanted, tuple(draw(whole_ids)), 0)
    return Compared(wanted, (), draw(st.integers(RECONCILE_NAMED_MAX + 1, 2**30)))


def written(*answers, lower=LOWEST):
    """The message that consists of these answers, all of them about one range."""
    writer = Writer()
    for answer in answers:
        writer.add(answer, lower)
    message = writer.message(NO_HEAD)
    assert len(message) <= writer.size
    return message


def read(message, listed=None, lower=LOWEST, upper=HIGHEST, whole=False):
    """The only answer in a message."""
    reader = Reader(message)
    assert reader.head_untrusted() == NO_HEAD
    answer = reader.answer_untrusted(lower, upper, listed, whole_ids=whole)
    assert reader.at_end
    return answer


def refused(message, **question):
    """Whether the reader calls a message malformed."""
    with pytest.raises(RemoteProtocolError) as caught:
        read(message, **question)
    return caught.value.fault is Fault.MALFORMED


@given(heads)
def test_head_reads_back(head):
    reader = Reader(Writer().message(head))
    assert reader.head_untrusted() == head
    assert reader.at_end


@given(runs)
def test_run_reads_back(run):
    assert read(written(run)) == run


@given(splits())
def test_split_reads_back(drawn):
    edges, split = drawn
    assert read(written(split, lower=edges[0]), lower=edges[0], upper=edges[-1]) == split
    assert read(written(split, lower=edges[0]), lower=edges[0], upper=edges[-1], listed=3) == split


@given(names)
def test_list_of_short_ids_reads_back(drawn):
    assert read(written(Listed(tuple(drawn)))) == Listed(tuple(drawn))


@given(whole_ids)
def test_list_of_whole_ids_reads_back(drawn):
    listed = Listed(tuple(drawn[: RECONCILE_LIST_MAX - 1]))
    assert read(written(listed), whole=True) == listed


@given(comparisons())
def test_outcome_of_a_list_reads_back(drawn):
    assert read(written(drawn), listed=len(drawn.wanted)) == drawn


@given(st.lists(st.sampled_from([Same(), Left(), Listed(())]), max_size=30))
def test_runs_are_joined_and_nothing_is_lost(answers):
    message = written(*answers)
    reader = Reader(message)
    reader.head_untrusted()
    got: list[object] = []
    joined: list[object] = []
    while not reader.at_end:
        answer = reader.answer_untrusted(LOWEST, HIGHEST, None, whole_ids=False)
        joined.append(type(answer))
        got += [type(answer)] * (answer.run if isinstance(answer, Same | Left) else 1)
    assert got == [type(answer) for answer in answers]
    assert all(one is Listed or one is not other for one, other in pairwise(joined))


def test_split_is_written_as_the_module_says():
    split = Split(
        (entry_of(300, bytes(32))[:5], entry_of(300, b"\xab" * 32)[:7]), (b"a" * 16, b"b" * 16, b"c" * 16)
    )
    message = written(split, lower=entry_of(100, bytes(32)))
    second_difference, prefix_follows = bytes([0x90, 0x03]), bytes([1, 2, 0xAB, 0xAB])
    assert message == (
        bytes([0, 2, 3]) + b"a" * 16 + second_difference + b"b" * 16 + prefix_follows + b"c" * 16
    )


def test_outcomes_are_written_as_the_module_says():
    wanted = (True, False, False, False, False, False, False, False, True)
    assert written(Compared(wanted, (bytes(32),), 0)) == bytes([0, 4, 1, 1, 1]) + bytes(32)
    assert written(Compared(wanted, (), 300)) == bytes([0, 5, 1, 1, 0xAC, 0x02])
    assert written(Same(), Same(), Left(300), Listed((b"12345678",))) == (
        bytes([0, 0, 2, 1, 0xAC, 0x02, 3, 1]) + b"12345678"
    )


@pytest.mark.parametrize("run", [1, 127, 128, 2**14 - 1, 2**14, 2**42 - 1])
def test_number_takes_no_more_bytes_than_it_needs(run):
    assert len(written(Same(run))) == 2 + max(1, -(-run.bit_length() // 7))
    assert read(written(Same(run))) == Same(run)


def test_split_into_as_many_parts_as_there_may_be_reads_back():
    bounds = tuple(entry_of(second, bytes(32))[:5] for second in range(1, RECONCILE_BRANCHES))
    split = Split(bounds, (FINGERPRINT,) * RECONCILE_BRANCHES)
    assert read(written(split)) == split


@given(st.binary(max_size=400), st.none() | st.integers(0, 31), bounds, bounds, st.booleans())
def test_any_bytes_are_read_or_called_malformed(junk, listed, one, other, whole):
    lower, upper = sorted((one, other))
    reader = Reader(junk)
    with suppress(RemoteProtocolError):
        reader.head_untrusted()
        while not reader.at_end:
            reader.answer_untrusted(lower, upper, listed, whole_ids=whole)


@given(comparisons(), st.data())
def test_message_that_ends_too_early_is_malformed(drawn, data):
    whole = written(drawn)
    length = data.draw(st.integers(0, len(whole) - 1))
    assert refused(whole[:length], listed=len(drawn.wanted))


@pytest.mark.parametrize("flags", [4, 8, 0x80, 0xFF])
def test_unknown_flag_is_malformed(flags):
    assert refused(bytes([flags]) + bytes(40))


@pytest.mark.parametrize("kind", [4, 5, 6, 255])
def test_answer_that_does_not_fit_a_fingerprint_is_malformed(kind):
    assert refused(bytes([0, kind, 1]) + bytes(40))


@pytest.mark.parametrize("kind", [0, 3, 6, 255])
def test_answer_that_does_not_fit_a_list_is_malformed(kind):
    assert refused(bytes([0, kind, 1]) + bytes(40), listed=8)


@pytest.mark.parametrize("kind", [0, 1])
def test_empty_run_is_malformed(kind):
    assert refused(bytes([0, kind, 0]))


@pytest.mark.parametrize("number", [b"\x80\x00", b"\x81\x80\x00", b"\xff" * 6 + b"\x00"])
def test_number_that_is_too_long_is_malformed(number):
    assert refused(bytes([0, 0]) + number)


@pytest.mark.parametrize("parts", [0, 1, RECONCILE_BRANCHES + 1, 255])
def test_split_into_too_few_or_too_many_parts_is_malformed(parts):
    assert refused(bytes([0, 2, parts]) + FINGERPRINT + (bytes([2]) + FINGERPRINT) * 254)


def two_parts(bound: bytes) -> bytes:
    """A split into two parts; `bound` is given as it is written."""
    return bytes([0, 2, 2]) + FINGERPRINT + bound + FINGERPRINT


def test_bound_at_the_lower_end_is_malformed():
    lower = entry_of(7, b"\x50" * 32)[:6]
    assert refused(two_parts(bytes([0])), lower=lower)
    assert refused(two_parts(bytes([1, 1, 0x50])), lower=lower)
    assert read(two_parts(bytes([1, 1, 0x51])), lower=lower).bounds == (lower[:5] + b"\x51",)


def test_bound_at_the_upper_end_is_malformed():
    upper = entry_of(7, b"\x50" * 32)[:6]
    assert refused(two_parts(bytes([7 * 2 + 1, 1, 0x50])), upper=upper)
    assert refused(two_parts(bytes([8 * 2])), upper=upper)
    assert read(two_parts(bytes([7 * 2 + 1, 1, 0x4F])), upper=upper).bounds == (upper[:5] + b"\x4f",)


def test_bounds_that_do_not_ascend_are_malformed():
    first, second = bytes([7 * 2 + 1, 1, 0x50]), bytes([1, 1, 0x50])
    assert refused(bytes([0, 2, 3]) + FINGERPRINT + first + FINGERPRINT + second + FINGERPRINT)


def test_bound_beyond_the_last_second_is_malformed():
    lower = entry_of(SECOND_MAX, bytes(32))
    assert refused(two_parts(bytes([2])), lower=lower)
    assert read(two_parts(bytes([1, 1, 1])), lower=lower).bounds == (lower[:5] + b"\x01",)


@pytest.mark.parametrize("length", [0, 33])
def test_bound_with_a_wrong_length_of_id_is_malformed(length):
    assert refused(two_parts(bytes([3, length]) + bytes([1] * length)))


def test_list_that_is_too_long_is_malformed():
    ids = b"".join(n.to_bytes(8, "big") for n in range(RECONCILE_LIST_MAX))
    assert refused(bytes([0, 3, RECONCILE_LIST_MAX]) + ids)
    assert len(read(bytes([0, 3, RECONCILE_LIST_MAX - 1]) + ids[:-8]).names) == RECONCILE_LIST_MAX - 1


def test_id_twice_in_one_list_is_malformed():
    assert refused(bytes([0, 3, 2]) + bytes(16))
    assert refused(bytes([0, 4, 0, 2]) + bytes(64), listed=1)


def test_bit_beyond_the_list_is_malformed():
    assert refused(bytes([0, 4, 0b100, 0]), listed=2)
    assert read(bytes([0, 4, 0b10, 0]), listed=2).wanted == (False, True)


def test_too_many_named_ids_are_malformed():
    ids = b"".join(n.to_bytes(32, "big") for n in range(RECONCILE_NAMED_MAX + 1))
    assert refused(bytes([0, 4, 0x81, 0x02]) + ids, listed=0)
    assert len(read(bytes([0, 4, 0x80, 0x02]) + ids[:-32], listed=0).named) == RECONCILE_NAMED_MAX


def test_count_of_ids_few_enough_to_be_named_is_malformed():
    assert refused(bytes([0, 5, 0x80, 0x02]), listed=0)
    assert read(bytes([0, 5, 0x81, 0x02]), listed=0).unnamed == RECONCILE_NAMED_MAX + 1
