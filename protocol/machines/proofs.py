"""What opening a connection hashes and signs: blinded group names, statements of identity, the exchange.

Everything here binds the TLS session by its exporter (RFC 9266, 32 bytes), so a selector or a signature says
nothing on another connection, and the direction, so neither side can hand the other's back. The group is
bound by its authority (20 bytes), because a subject that never was a member knows no more of it than its
name.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum

from protocol.ids import AUTHORITY_BYTES, NODE_ID_BYTES, PID_BYTES, framed, tagged_hash
from protocol.wire.messages import SELECTOR_BYTES

EXPORTER_BYTES = 32

_SELECTOR_TAG = "peerd/selector/1"
_PROVE_TAG = "peerd/prove/1"
_EXCHANGE_TAG = "peerd/exchange/1"


class Direction(Enum):
    """Who speaks: the side that dialled, or the side that listened."""

    CALLER = b"caller"
    ANSWERER = b"answerer"


def selector(authority: bytes, direction: Direction, exporter: bytes) -> bytes:
    """A group's name (20 bytes) as one side says it on one connection: 16 bytes, random without the name."""
    assert len(authority) == AUTHORITY_BYTES
    assert len(exporter) == EXPORTER_BYTES
    message = framed(_SELECTOR_TAG, direction.value, exporter)
    return hmac.digest(authority, message, hashlib.sha256)[:SELECTOR_BYTES]


def same_selector(one: bytes, other: bytes) -> bool:
    """Compare without telling by time where they differ."""
    return hmac.compare_digest(one, other)


def caller_statement(authority: bytes, pid: bytes, node_id: bytes, exporter: bytes) -> bytes:
    """What a caller signs: I am `pid`, at `node_id`, and speak to this group on this connection."""
    return framed(_PROVE_TAG, *_identity(Direction.CALLER, authority, pid, node_id, exporter))


def answerer_statement(
    authority: bytes, pid: bytes, node_id: bytes, exporter: bytes, caller_pid: bytes, exchange: bytes
) -> bytes:
    """What an answerer signs: the same of itself, to this caller, after this exchange (`exchange_hash`)."""
    identity = _identity(Direction.ANSWERER, authority, pid, node_id, exporter)
    return framed(_PROVE_TAG, *identity, caller_pid, exchange)


def _identity(
    direction: Direction, authority: bytes, pid: bytes, node_id: bytes, exporter: bytes
) -> tuple[bytes, ...]:
    assert len(authority) == AUTHORITY_BYTES
    assert len(pid) == PID_BYTES
    assert len(node_id) == NODE_ID_BYTES
    assert len(exporter) == EXPORTER_BYTES
    return (direction.value, authority, pid, node_id, exporter)


def exchange_hash(callers_hello: bytes, answerers_hello: bytes, prove: bytes) -> bytes:
    """32 bytes over the three payloads as they were sent: version lists and evidence cannot be swapped."""
    return tagged_hash(_EXCHANGE_TAG, callers_hello, answerers_hello, prove)
