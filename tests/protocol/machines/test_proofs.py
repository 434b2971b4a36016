"""What opening a connection hashes and signs fits no other group, side, connection, node or exchange."""

from __future__ import annotations

import hashlib
import hmac
from itertools import combinations

import pytest
from hypothesis import given, strategies as st

from protocol.machines.proofs import (
    Direction,
    answerer_statement,
    caller_statement,
    exchange_hash,
    same_selector,
    selector,
)

AUTHORITY, EXPORTER, PID, NODE, EXCHANGE = (
    bytes([1]) * 20,
    bytes([2]) * 32,
    bytes([3]) * 32,
    bytes([4]) * 16,
    bytes(32),
)
OTHER = {20: bytes([9]) * 20, 32: bytes([9]) * 32, 16: bytes([9]) * 16}

payloads = st.binary(max_size=30)


def spoilt(arguments: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """The same arguments with one of them changed, each in turn."""
    return [
        (*arguments[:position], OTHER[len(value)], *arguments[position + 1 :])
        for position, value in enumerate(arguments)
    ]


def test_selector_is_the_hmac_of_direction_and_exporter_under_the_authority():
    message = b"\0\0\0\x10peerd/selector/1" + b"\0\0\0\x06caller" + b"\0\0\0\x20" + EXPORTER
    expected = hmac.new(AUTHORITY, message, hashlib.sha256).digest()[:16]
    assert selector(AUTHORITY, Direction.CALLER, EXPORTER) == expected


def test_selector_differs_by_group_direction_and_connection():
    found = {
        selector(authority, direction, exporter)
        for authority in (AUTHORITY, OTHER[20])
        for direction in Direction
        for exporter in (EXPORTER, OTHER[32])
    }
    assert len(found) == 8


def test_same_selector_is_equality():
    ours = selector(AUTHORITY, Direction.CALLER, EXPORTER)
    assert same_selector(ours, bytes(ours))
    assert not same_selector(ours, selector(AUTHORITY, Direction.ANSWERER, EXPORTER))


def test_callers_statement_binds_all_that_it_names():
    arguments = (AUTHORITY, PID, NODE, EXPORTER)
    assert len({caller_statement(*some) for some in (arguments, *spoilt(arguments))}) == 5


def test_answerers_statement_binds_all_that_it_names():
    arguments = (AUTHORITY, PID, NODE, EXPORTER, PID, EXCHANGE)
    assert len({answerer_statement(*some) for some in (arguments, *spoilt(arguments))}) == 7


def test_statements_of_the_two_sides_are_never_the_same_bytes():
    caller = caller_statement(AUTHORITY, PID, NODE, EXPORTER)
    answerer = answerer_statement(AUTHORITY, PID, NODE, EXPORTER, PID, EXCHANGE)
    assert not answerer.startswith(caller)


@given(st.lists(st.tuples(payloads, payloads, payloads), min_size=2, max_size=2, unique=True))
def test_two_exchanges_never_share_a_hash(exchanges):
    one, other = exchanges
    assert exchange_hash(*one) != exchange_hash(*other)


def test_moving_bytes_from_one_payload_to_the_next_changes_the_hash():
    cuts = combinations(range(7), 2)
    hashes = [exchange_hash(b"abcdef"[:a], b"abcdef"[a:b], b"abcdef"[b:]) for a, b in cuts]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("exporter", [b"", bytes(31), bytes(33)])
def test_without_a_whole_exporter_nothing_is_made(exporter):
    with pytest.raises(AssertionError):
        selector(AUTHORITY, Direction.CALLER, exporter)
    with pytest.raises(AssertionError):
        caller_statement(AUTHORITY, PID, NODE, exporter)
