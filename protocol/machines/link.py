"""Links: the neighbor relations of one node in one group, from Open to Bye.

A link exists once both sides have proved themselves (connect.py). Each side first says Open: where it
listens, whom else to try, and the digest of its AUTH set; it says Open again when another neighbor has come
and told where it listens. After that silence is bounded: whoever has said nothing for 15 seconds says
KeepAlive with its digest, and a link from which nothing has come for 35 seconds is dead.

Conflicts. Two links between the same two nodes, made at the same time: the one dialled by the smaller node id
stays. Otherwise the newer stays, since a node dials again only when the older is of no use to it: it has lost
power, and we have not noticed. No room: Bye with referrals. A neighbor whose membership ended: Bye, checked
whenever authority changed and at least every 60 seconds.

Not here: when to dial (dialling.py), what differs between the sets (synchronize.py). Source: design sections
7 and 8; protocol-study 1.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from protocol.authority.bundle import Bundle
from protocol.credentials.keys import PublicKey
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    HANDSHAKE_MS_MAX,
    KEEPALIVE_MS,
    LINK_SILENT_MS_MAX,
    LINKS_MAX,
    MEMBERSHIP_RECHECK_MS,
    REFERRALS_MAX,
    SUMMARY_QUIET_MS,
)
from protocol.machines.events import Close, LinkId, LinkUp, Output, Send
from protocol.peer_time import Moment
from protocol.wire.messages import TIME_MS_MAX, Bye, ByeReason, DataSummary, KeepAlive, Message, Open


@dataclass(frozen=True, slots=True)
class Summary:
    """What one side tells of its sets: count and digest (16 bytes) of AUTH, and the settled part of DATA."""

    count: int
    digest: bytes
    data: DataSummary

    @classmethod
    def told_by(cls, message: Open | KeepAlive) -> Summary:
        """What a neighbor told."""
        return cls(message.count, message.digest, message.data)


def opening(listens: tuple[str, ...], referrals: tuple[str, ...], summary: Summary, now: Moment) -> Open:
    """What is said first on a link."""
    return Open(listens, referrals, summary.count, summary.digest, _clock(now), summary.data)


def alive(summary: Summary, now: Moment) -> KeepAlive:
    """What is said when there is nothing else to say."""
    return KeepAlive(summary.count, summary.digest, _clock(now), summary.data)


def _clock(now: Moment) -> int:
    """This node's clock, as far as a message can tell it."""
    return min(max(now.utc_ms, 0), TIME_MS_MAX)


@dataclass(slots=True)
class Link:
    """One neighbor. Times are milliseconds of the monotonic clock."""

    id: LinkId
    key: PublicKey
    node_id: bytes
    address: str | None
    bundle: Bundle | None
    exporter: bytes = field(repr=False)
    since_ms: int = 0
    said_ms: int = 0
    untold: bool = False  # our set has changed since we told its digest
    heard_ms: int = 0
    opened: bool = False  # the neighbor has said Open
    introduced: bool = False  # the other neighbors have been told where this one listens
    listens: tuple[str, ...] = ()
    theirs: Summary | None = None

    @property
    def dialled(self) -> bool:
        """Whether this node made the connection."""
        return self.address is not None

    @property
    def reached_at(self) -> str | None:
        """An address under which others can reach this neighbor."""
        return self.address or next(iter(self.listens), None)


class Links:
    """The table of neighbors."""

    def __init__(self, node_id: bytes) -> None:
        """`listens`, the addresses that this node tells its neighbors, is set once they are known."""
        self.listens: tuple[str, ...] = ()
        self._node_id = node_id
        self._links: dict[LinkId, Link] = {}
        self._recheck_ms = 0
        self._quiet_ms = 0
        self._revision = 0

    def __iter__(self) -> Iterator[Link]:
        """All neighbors, oldest link first."""
        return iter(tuple(self._links.values()))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._links)

    def get(self, link: LinkId) -> Link | None:
        """A neighbor by its link; None after the link has closed, when messages may still arrive."""
        return self._links.get(link)

    def on_up(self, event: LinkUp, summary: Summary, now: Moment, *, static: bool = False) -> list[Output]:
        """Begin a link, or close one that must not be. `static`: whom this node dials, its user wants."""
        twin = next((link for link in self._links.values() if link.node_id == event.node_id), None)
        if twin is not None and not self._displaces(event, twin, now):
            return [Close(event.link, ByeReason.DUPLICATE)]
        if twin is None and len(self._links) >= LINKS_MAX and not (event.dialled and static):
            return [Close(event.link, ByeReason.FULL, self.referrals())]
        closed: list[Output] = []
        if twin is not None:
            closed = self.close(twin.id, ByeReason.DUPLICATE)
        referrals = self.referrals()
        self._links[event.link] = Link(
            id=event.link,
            key=event.key,
            node_id=event.node_id,
            address=event.address,
            bundle=event.bundle,
            exporter=event.exporter,
            since_ms=now.mono_ms,
            said_ms=now.mono_ms,
            heard_ms=now.mono_ms,
        )
        return [*closed, Send(event.link, opening(self.listens, referrals, summary, now))]

    def _displaces(self, event: LinkUp, twin: Link, now: Moment) -> bool:
        """Whether the new one of two links between the same nodes stays. Both sides come to the same: whose
        dial is younger than a handshake may take did not know of the other's.
        """
        if event.dialled == twin.dialled or now.mono_ms - twin.since_ms > HANDSHAKE_MS_MAX:
            return True
        return event.dialled == (self._node_id < event.node_id)

    def close(self, link: LinkId, reason: int) -> list[Output]:
        """End a link from this side."""
        return [Close(link, reason, self.referrals())] if self._links.pop(link, None) is not None else []

    def on_down(self, link: LinkId) -> Link | None:
        """Forget a link whose connection is gone."""
        return self._links.pop(link, None)

    def on_heard(self, link: Link, message: Message, now: Moment) -> None:
        """Any message shows that the neighbor is there. Open comes first; before it only Bye.

        Raises: RemoteProtocolError(OUT_OF_TURN).
        """
        link.heard_ms = now.mono_ms
        if isinstance(message, Bye):
            return
        if not link.opened and not isinstance(message, Open):
            raise RemoteProtocolError(Fault.OUT_OF_TURN, f"{type(message).__name__} before Open")
        link.opened = True

    def note_said(self, outputs: Iterable[Output], now: Moment) -> None:
        """Any message that leaves spares a keep-alive."""
        for output in outputs:
            if isinstance(output, Send) and (link := self._links.get(output.link)) is not None:
                link.said_ms = now.mono_ms
                link.untold = link.untold and not isinstance(output.message, (Open, KeepAlive))

    def note_change(self, now: Moment) -> None:
        """Our set has changed: memberships may have, and once it has been quiet for a second, the neighbors
        are told its digest.
        """
        self._recheck_ms = min(self._recheck_ms, now.mono_ms)
        self._note_untold(now)

    def _note_untold(self, now: Moment) -> None:
        self._quiet_ms = now.mono_ms + SUMMARY_QUIET_MS
        for link in self._links.values():
            link.untold = True

    def note_settled(self, revision: int, now: Moment) -> None:
        """The settled part of our DATA is at this revision; to be told with every event. A new one is told to
        the neighbors as a change of AUTH is.
        """
        if revision != self._revision:
            self._revision = revision
            self._note_untold(now)

    def referrals(self) -> tuple[str, ...]:
        """At most 8 addresses under which live neighbors can be reached."""
        reached = dict.fromkeys(
            address for link in self._links.values() if (address := link.reached_at) is not None
        )
        return tuple(reached)[:REFERRALS_MAX]

    def introduce(self, newcomer: Link, summary: Summary, now: Moment) -> list[Output]:
        """Tell the other neighbors where a new one listens, once: nodes that came at the same time would
        never hear of each other, and be parted when this one ends.
        """
        if newcomer.introduced or not newcomer.listens:
            return []
        newcomer.introduced = True
        message = opening(self.listens, newcomer.listens, summary, now)
        return [Send(link.id, message) for link in self._links.values() if link is not newcomer]

    def on_tick(self, summary: Summary, now: Moment) -> list[Output]:
        """Keep the living alive, and drop the dead."""
        outputs: list[Output] = []
        for link in tuple(self._links.values()):
            if now.mono_ms - link.heard_ms >= LINK_SILENT_MS_MAX:
                outputs += self.close(link.id, ByeReason.LEAVING)
            elif now.mono_ms - link.said_ms >= KEEPALIVE_MS or (
                link.untold and now.mono_ms >= self._quiet_ms
            ):
                outputs.append(Send(link.id, alive(summary, now)))
        return outputs

    def note_rechecked(self, now: Moment) -> None:
        """Every neighbor's membership has been checked just now."""
        self._recheck_ms = now.mono_ms + MEMBERSHIP_RECHECK_MS

    def recheck_due(self, now: Moment) -> bool:
        """Whether a check of the neighbors' membership is due."""
        return now.mono_ms >= self._recheck_ms

    def next_deadline(self) -> int | None:
        """When `on_tick` or the check of memberships next has something to do; None without neighbors."""
        if not self._links:
            return None
        alive = min(
            min(link.said_ms + KEEPALIVE_MS, link.heard_ms + LINK_SILENT_MS_MAX)
            for link in self._links.values()
        )
        untold = [self._quiet_ms for link in self._links.values() if link.untold]
        return min(alive, self._recheck_ms, *untold)
