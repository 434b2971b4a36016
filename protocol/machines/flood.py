"""Flood: what is new here goes to every neighbor but the one that brought it.

Authority is flooded on every link, because a neighbor that silently drops what it should pass on must not
delay a revocation (protocol-study 1.6, "flood classes"). There is no acknowledgement and no retry: what a
full outbox leaves out shows in the digests, and reconciliation mends it. A neighbor that lacks a parent asks
for it with Want, once; the answer is News as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from protocol.authority.act_set import ActSet
from protocol.authority.elements import Element
from protocol.ids import split_ids
from protocol.limits import ELEMENTS_PER_FRAME_MAX, TRANSFER_FRAME_BYTES_TARGET, WANTED_IDS_MAX
from protocol.machines.events import LinkId, Send
from protocol.machines.link import Link
from protocol.wire.messages import News, Want


def relay(fresh: Sequence[Element], source: LinkId | None, links: Iterable[Link]) -> list[Send]:
    """Pass on new elements, parents first, to all links but `source`."""
    frames = [News(tuple(part)) for part in in_frames(element.raw for element in fresh)]
    return [Send(link.id, frame, droppable=True) for link in links if link.id != source for frame in frames]


def unlike(source: Link, links: Iterable[Link]) -> list[Link]:
    """The links to pass on to what a session brought from `source`.

    A neighbor that told the same digest has it, and must not get the whole set again because a new node
    catches up beside it; one that has told none yet will show what it lacks by its Open.
    """
    return [link for link in links if link.theirs is not None and link.theirs != source.theirs]


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
