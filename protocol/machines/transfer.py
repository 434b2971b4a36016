"""Transfer: cut what a session found missing into frames, and read each frame from the store when it is due.

A session may owe a hundred thousand versions, so its queue holds ids alone. In AUTH an element is sent as it
arrived; of DATA a version goes with its body when that is small, and a larger body is fetched by whoever
wants it (bodies.py). What has gone from the store meanwhile is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from protocol.authority.act_set import ActSet
from protocol.limits import (
    BODY_TRANSFERRED_BYTES_MAX,
    ELEMENTS_PER_FRAME_MAX,
    TRANSFER_FRAME_BYTES_TARGET,
)
from protocol.records.record import body_named_in, item_raw
from protocol.records.record_set import GroupSet, RecordSet
from protocol.wire.messages import Namespace


def to_send(ids: Collection[bytes], namespace: Namespace, store: ActSet) -> deque[bytes]:
    """What is owed, in the order in which it is to be sent: acts by arrival, which is an order of causes."""
    return deque(store.in_arrival_order(ids) if namespace is Namespace.AUTH else ids)


def next_frame(
    queue: deque[bytes], namespace: Namespace, store: GroupSet
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Take what one frame holds off the queue: its ids, and what to send for each."""
    read: Callable[[bytes], bytes | None] = store.get
    if namespace is not Namespace.AUTH:
        read = lambda version_id: item_of(version_id, BODY_TRANSFERRED_BYTES_MAX, store)  # noqa: E731
    ids: list[bytes] = []
    raws: list[bytes] = []
    size = 0
    while queue and len(raws) < ELEMENTS_PER_FRAME_MAX:
        raw = read(queue[0])
        if raw is not None:
            if raws and size + len(raw) > TRANSFER_FRAME_BYTES_TARGET:
                break
            ids.append(queue[0])
            raws.append(raw)
            size += len(raw)
        queue.popleft()
    return tuple(ids), tuple(raws)


def item_of(version_id: bytes, body_bytes_max: int, store: RecordSet) -> bytes | None:
    """A version as it travels, with its body if that is here and no larger; None when it has gone."""
    raw = store.header(version_id)
    if raw is None:
        return None
    named = body_named_in(raw)
    body = None if named is None or named[1] > body_bytes_max else store.body(named[0])
    return item_raw(raw, body)
