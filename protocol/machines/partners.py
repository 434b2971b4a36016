"""What is remembered of a neighbor for the sake of sessions, and of the session that is under way with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

from protocol.limits import (
    DIGEST_DIFFERS_MS,
    RECONCILE_S_MAX,
    SESSION_GAP_MS_MAX,
    SESSION_GAP_MS_MIN,
)
from protocol.machines.events import LinkId
from protocol.machines.link import Link
from protocol.machines.recent import Exchange
from protocol.machines.reconcile import Reconciliation
from protocol.peer_time import Moment
from protocol.wire.messages import Namespace


class Subject(IntEnum):
    """What digests are told about, in the order in which it is reconciled: records come after the credentials
    by which they count.
    """

    AUTH = 0
    DATA = 1

    @classmethod
    def of(cls, namespace: Namespace) -> Subject:
        """The subject that a set belongs to."""
        return cls.AUTH if namespace is Namespace.AUTH else cls.DATA


@dataclass(slots=True)
class Track:
    """When sessions with one neighbor about one subject are due. Times are of the monotonic clock."""

    agrees: bool | None = None  # what the last comparison said; None before there was one
    differs_since_ms: int | None = None
    waits: bool = False  # it was not known to agree when the link opened, and its turn has not come
    untold: bool = False  # it waits for the sake of what no digest tells, so it may agree meanwhile
    not_before_ms: int = 0
    gap_ms: int = SESSION_GAP_MS_MIN

    def note_agrees(self) -> None:
        """The neighbor has what we have: nothing is due, and what was in vain is forgotten."""
        self.agrees = True
        self.differs_since_ms = None
        self.waits = self.untold
        self.gap_ms = SESSION_GAP_MS_MIN

    def note_differs(self, now: Moment) -> None:
        """The neighbor told a digest that is not ours."""
        self.agrees = False
        if self.differs_since_ms is None:
            self.differs_since_ms = now.mono_ms

    def note_begun(self, now: Moment) -> None:
        """A session was begun here; until it brings something, the next is to come later than this one."""
        self.waits = self.untold = False
        self.not_before_ms = now.mono_ms + self.gap_ms
        self.gap_ms = min(SESSION_GAP_MS_MAX, self.gap_ms * 2)

    def note_answered(self, now: Moment) -> None:
        """The neighbor began a session."""
        self.untold = False
        self.not_before_ms = now.mono_ms + self.gap_ms

    def note_overruled(self) -> None:
        """A session that was begun here had to give way to one about something else, or one that the neighbor
        began was put off: its turn comes.
        """
        self.waits = self.untold = True

    def note_hope(self, now: Moment) -> None:
        """What sessions brought in vain may now be of use: the next need not wait for minutes."""
        self.gap_ms = SESSION_GAP_MS_MIN
        self.not_before_ms = min(self.not_before_ms, now.mono_ms + SESSION_GAP_MS_MIN)

    @property
    def due_ms(self) -> int | None:
        """When a session may begin for a difference that has lasted."""
        if self.differs_since_ms is None:
            return None
        return max(self.differs_since_ms + DIGEST_DIFFERS_MS, self.not_before_ms)


@dataclass(slots=True)
class Session:
    """One session on one link."""

    number: int
    namespace: Namespace
    engine: Reconciliation | Exchange
    began: bool  # this side began it
    dialler_began: bool
    moved_ms: int
    round: int  # of the message that is expected next
    horizon_s: int = 0
    lacking: list[bytes] = field(default_factory=list)  # ids that the neighbor lacks
    receives: bool = False  # the neighbor has something for us, and has not sent the last of it
    queue: deque[bytes] | None = None  # ids still to be sent; None while the engine talks
    next_frame: int = 0
    in_flight: deque[tuple[bytes, ...]] = field(default_factory=deque)  # the ids in each frame
    cut: bool = False  # the engine left something to another session
    expected: int = 0  # how many elements or versions the neighbor will send, as far as is known
    received: int = 0
    fresh: int = 0  # how many of them were new

    @property
    def over(self) -> bool:
        """Whether neither side owes the other anything."""
        return self.queue is not None and not self.queue and not self.in_flight and not self.receives

    @property
    def owes_last(self) -> bool:
        """Whether a frame has to be sent even if nothing is left that could stand in it."""
        return bool(self.lacking) and self.next_frame == 0

    @property
    def brings(self) -> bool:
        """Whether it may still bring us something."""
        return self.queue is None or self.receives

    @property
    def deadline_ms(self) -> int:
        """When it is forgotten if nothing moves."""
        return self.moved_ms + RECONCILE_S_MAX * 1000


@dataclass(slots=True)
class Partner:
    """A neighbor."""

    link: Link
    next_number: int
    tracks: tuple[Track, Track] = field(default_factory=lambda: (Track(), Track()))
    position: int | None = None  # the last arrival of a record up to which it agreed, of this link or before
    comparable: bool = True  # whether the DATA that it told last could be compared with ours
    session: Session | None = None

    @property
    def auth(self) -> Track:
        """What is due about AUTH."""
        return self.tracks[Subject.AUTH]

    @property
    def data(self) -> Track:
        """What is due about DATA."""
        return self.tracks[Subject.DATA]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far what a neighbor sends has come, in elements or versions."""

    link: LinkId
    namespace: Namespace
    received: int
    expected: int
