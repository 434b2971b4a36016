"""Flood: what is new here goes to every neighbor but the one that brought it.

Authority is flooded on every link, because a neighbor that silently drops what it should pass on must not
delay a revocation (protocol-study 1.6, "flood classes"). There is no acknowledgement and no retry: what a
full outbox leaves out shows in the digests, and reconciliation mends it. A neighbor that lacks a parent asks
for it with Want, once; the answer is News as well.

Records are flooded too, each with its body if that is small. A larger body is only announced by its header,
and fetched by whoever lacks it (bodies.py). Whoever wrote a version may ask the neighbors to say when it is
durable with them (replicas.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from protocol.authority.act_set import ActSet
from protocol.authority.elements import Element
from protocol.ids import split_ids
from protocol.limits import (
    BODY_FLOODED_BYTES_MAX,
    ELEMENTS_PER_FRAME_MAX,
    GOT_IDS_MAX,
    TRANSFER_FRAME_BYTES_TARGET,
    WANTED_IDS_MAX,
)
from protocol.machines.events import LinkId, Send
from protocol.machines.link import Link
from protocol.records.record import RecordItem
from protocol.wire.messages import Got, News, Records, Want


def relay(fresh: Sequence[Element], source: LinkId | None, links: Iterable[Link]) -> list[Send]:
    """Pass on new elements, parents first, to all links but `source`."""
    others = _others(links, source)
    if not others:
        return []
    frames = [News(tuple(part)) for part in in_frames(element.raw for element in fresh)]
    return [Send(link, frame, droppable=True) for link in others for frame in frames]


def unlike(source: Link, links: Iterable[Link]) -> list[Link]:
    """The links to pass on to what a session brought from `source`.

    A neighbor that told the same digest has it, and must not get the whole set again because a new node
    catches up beside it; one that has told none yet will show what it lacks by its Open.
    """
    assert source.theirs is not None, "a link says Open first"
    its = (source.theirs.count, source.theirs.digest)
    told = [(link, link.theirs) for link in links if link.theirs is not None]
    return [link for link, theirs in told if (theirs.count, theirs.digest) != its]


def relay_records(
    fresh: Iterable[RecordItem], source: LinkId | None, links: Iterable[Link], *, ask: bool = False
) -> list[Send]:
    """Pass on new versions to all links but `source`; `ask` for word when they are durable."""
    others = _others(links, source)
    if not others:
        return []
    frames = [Records(tuple(part), ask) for part in in_frames(_flooded(item).raw for item in fresh)]
    return [Send(link, frame, droppable=True) for link in others for frame in frames]


def _others(links: Iterable[Link], source: LinkId | None) -> list[LinkId]:
    """Whom to pass something on to; with nobody, nothing need be made ready."""
    return [link.id for link in links if link.id != source]


def _flooded(item: RecordItem) -> RecordItem:
    """The version as it is flooded: a large body is left out."""
    if item.body is None or len(item.body) <= BODY_FLOODED_BYTES_MAX:
        return item
    return RecordItem(item.header)


def whole(
    items: Iterable[RecordItem], durable: Iterable[bytes], lacking: Iterable[tuple[bytes, int]]
) -> list[bytes]:
    """The ids of those `items` that are durable here, and whose bodies (hash, size) are not lacking."""
    ids, hashes = set(durable), {body_hash for body_hash, _ in lacking}
    return [one.header.id for one in items if one.header.id in ids and one.header.body_hash not in hashes]


def acknowledge(ids: Sequence[bytes], link: LinkId) -> list[Send]:
    """Say that these versions are durable here, bodies and all; an output of the event that made them so, or
    of a later one.
    """
    parts = (ids[at : at + GOT_IDS_MAX] for at in range(0, len(ids), GOT_IDS_MAX))
    return [Send(link, Got(b"".join(part))) for part in parts]


def ask(wanted: Sequence[bytes], link: LinkId) -> list[Send]:
    """Ask the link that brought children for their parents."""
    return [Send(link, Want(b"".join(wanted[:WANTED_IDS_MAX])))] if wanted else []


def answer(message: Want, link: LinkId, store: ActSet) -> list[Send]:
    """Send what was asked for and is here, parents first."""
    ids = store.in_arrival_order(split_ids(message.ids))
    raws = (raw for element_id in ids if (raw := store.get(element_id)) is not None)
    return [Send(link, News(tuple(part)), droppable=True) for part in in_frames(raws)]


def in_frames(raws: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut a sequence of elements into what one frame takes: at most 256, and about 64 KiB."""
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and (len(part) == ELEMENTS_PER_FRAME_MAX or size + len(raw) > TRANSFER_FRAME_BYTES_TARGET):
            yield part
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    if part:
        yield part
