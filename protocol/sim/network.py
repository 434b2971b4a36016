"""Network: connections as streams, with everything that TCP lets happen to them.

A frame leaves its sender's outbox at the pace of the connection, travels for a random time, and arrives in
order. A lost packet shows as a frame that is late, with all that follow it. Between two sides of a partition
frames wait and are delivered when it heals, if both ends are still there; nobody is told. A connection that
is closed delivers what was sent before; one that is reset loses it. A node whose process dies resets its
connections, one that loses power says nothing: its neighbors notice when it is silent for too long, or when
it is back and knows nothing of the connection.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from protocol.limits import OUTBOX_BYTES_MAX, OUTBOX_FLOOD_BYTES_MAX
from protocol.sim.schedule import Action, Schedule
from protocol.wire.framing import LENGTH_BYTES

EXPORTER_BYTES = 32
Connected: TypeAlias = Callable[["End | None"], None]
CONNECT_MS_MAX = 5_000  # how long a call across a partition goes unanswered before it fails


@dataclass(slots=True)
class Weather:
    """How the network behaves: travel times in milliseconds, the share of frames that are late, by how much,
    and the pace of a connection.
    """

    travel_ms: tuple[int, int] = (10, 50)
    late_share: float = 0.0
    late_ms: tuple[int, int] = (200, 2_000)
    bytes_per_ms: int = 12_500  # 100 Mbit/s


class Reader(Protocol):
    """What stands at one end of a connection."""

    def on_frame(self, payload: bytes) -> None:
        """A frame arrived."""

    def on_end(self) -> None:
        """The connection is gone, by the other side or by the network."""


class Host(Protocol):
    """A node as the network sees it."""

    @property
    def name(self) -> str:
        """Its name in traces."""

    @property
    def up(self) -> bool:
        """Whether its process runs."""

    def on_call(self, end: End) -> Reader:
        """Somebody connected."""


@dataclass(slots=True)
class _Frame:
    payload: bytes | None  # None is the end of the stream
    left_ms: int  # when it had left the outbox


@dataclass(slots=True)
class End:
    """One end of a connection; `exporter` is what both ends know and nobody else."""

    network: Network
    host: Host
    exporter: bytes
    bytes_per_ms: int
    reader: Reader | None = None
    other: End | None = None
    open: bool = True
    dropped: int = 0
    _outbox: deque[tuple[int, int]] = field(default_factory=deque)  # when each frame has left, and its bytes
    _outbox_bytes: int = 0
    _free_ms: int = 0
    _arrives_ms: int = 0
    _died_ms: int | None = None
    _stalled: deque[_Frame] = field(default_factory=deque)

    @property
    def peer(self) -> str:
        """The name of the node at the other end."""
        assert self.other is not None
        return self.other.host.name

    def send(self, payload: bytes, *, droppable: bool = False) -> None:
        """Queue a frame. A droppable one is left out when much is queued; too much ends the connection."""
        if not self.open:
            return
        size = len(payload) + LENGTH_BYTES
        waiting = self.outbox_bytes + size
        if droppable and waiting > OUTBOX_FLOOD_BYTES_MAX:
            self.dropped += 1
        elif waiting > OUTBOX_BYTES_MAX:
            self.network.reset(self)
        else:
            self._queue(payload, size)

    def close(self) -> None:
        """End the connection, after what is queued."""
        if self.open:
            self._queue(None, 0)
            self.open = False

    def _queue(self, payload: bytes | None, size: int) -> None:
        now_ms = self.network.schedule.now_ms
        self._free_ms = max(self._free_ms, now_ms) + size // self.bytes_per_ms
        self._outbox.append((self._free_ms, size))
        self._outbox_bytes += size
        frame = _Frame(payload, self._free_ms)
        self._arrives_ms = max(self._arrives_ms, self._free_ms + self.network.travel_ms())
        self.network.schedule.at(self._arrives_ms, lambda: self._arrive(frame))

    @property
    def outbox_bytes(self) -> int:
        """How much is queued and has not left."""
        while self._outbox and self._outbox[0][0] <= self.network.schedule.now_ms:
            self._outbox_bytes -= self._outbox.popleft()[1]
        return self._outbox_bytes

    def die(self) -> None:
        """The process at this end is gone; what had not left is lost."""
        self.open = False
        self._died_ms = self.network.schedule.now_ms

    def _arrive(self, frame: _Frame) -> None:
        """A frame has reached the other end, or the cut."""
        assert self.other is not None
        if self._died_ms is not None and frame.left_ms > self._died_ms:
            return
        if self._stalled or self.network.is_cut(self.host.name, self.peer):
            self._stalled.append(frame)
        else:
            self.other._take(frame)

    def release(self) -> None:
        """The cut is mended: deliver what waited, in order."""
        assert self.other is not None
        while self._stalled and not self.network.is_cut(self.host.name, self.peer):
            self.other._take(self._stalled.popleft())

    def _take(self, frame: _Frame) -> None:
        assert self.other is not None
        if not self.open:
            if self._died_ms is not None and self.host.up:
                self.network.reset(self.other)  # nobody here knows of this connection
            return
        assert self.reader is not None
        if frame.payload is None:
            self.open = False
            self.reader.on_end()
        else:
            self.reader.on_frame(frame.payload)


class Network:
    """All connections of one run."""

    def __init__(self, schedule: Schedule, rng: random.Random, weather: Weather) -> None:
        """`weather` may be changed while the run goes on."""
        self.schedule = schedule
        self.weather = weather
        self._rng = rng
        self._hosts: dict[str, Host] = {}
        self._ends: dict[str, list[End]] = {}  # by the name of the node that holds them
        self._sides: dict[str, int] = {}

    def travel_ms(self) -> int:
        """How long the next frame is under way."""
        weather = self.weather
        late = weather.late_share > 0 and self._rng.random() < weather.late_share
        return self._rng.randint(*weather.travel_ms) + (self._rng.randint(*weather.late_ms) if late else 0)

    def settle(self, address: str, host: Host) -> None:
        """Let a node be found at an address, whether it is up or not."""
        self._hosts[address] = host

    def call(self, caller: Host, address: str, connected: Connected) -> None:
        """Try to connect; `connected` gets the caller's end, or None when nobody answered."""
        host = self._hosts.get(address)
        delay_ms = self.travel_ms()
        if host is not None and self.is_cut(caller.name, host.name):
            self.schedule.after(CONNECT_MS_MAX, lambda: connected(None))
        else:
            self.schedule.after(2 * delay_ms, lambda: self._connect(caller, host, connected))

    def _connect(self, caller: Host, host: Host | None, connected: Connected) -> None:
        if host is None or not host.up or not caller.up or self.is_cut(caller.name, host.name):
            connected(None)
            return
        exporter, pace = self._rng.randbytes(EXPORTER_BYTES), self.weather.bytes_per_ms
        near, far = End(self, caller, exporter, pace), End(self, host, exporter, pace)
        near.other, far.other = far, near
        for end in (near, far):
            self._ends[end.host.name] = [*self._living(end.host.name), end]
        far.reader = host.on_call(far)
        connected(near)

    # --- what goes wrong ------------------------------------------------------------------------------------

    def is_cut(self, one: str, other: str) -> bool:
        """Whether two nodes stand on different sides of a partition."""
        return self._sides.get(one, 0) != self._sides.get(other, 0)

    def part(self, side: Iterable[str]) -> None:
        """Cut these nodes off from all others."""
        self._sides = dict.fromkeys(side, 1)

    def mend(self) -> None:
        """End the partition."""
        self._sides = {}
        for end in self._all_ends():
            self.schedule.after(self.travel_ms(), end.release)

    def ends_of(self, name: str) -> list[End]:
        """A node's ends of its open connections."""
        return [end for end in self._ends.get(name, ()) if end.open]

    def open_ends(self) -> list[End]:
        """All ends that are open."""
        return [end for end in self._all_ends() if end.open]

    def _all_ends(self) -> list[End]:
        return [end for ends in self._ends.values() for end in ends]

    def _living(self, name: str) -> list[End]:
        """A node's ends that are open, or from which something is still to arrive."""
        return [end for end in self._ends.get(name, ()) if end.open or end._stalled]

    def reset(self, end: End) -> None:
        """Break a connection at one end; the other learns it, unless it is cut off."""
        assert end.other is not None
        cut = self.is_cut(end.host.name, end.peer)
        for one in (end,) if cut else (end, end.other):
            if one.open:
                one.die()
                self.schedule.after(self.travel_ms(), _ending(one))

    def kill(self, name: str, *, silently: bool) -> None:
        """A node's process dies; `silently` is a power cut, of which no packet tells."""
        for end in self.ends_of(name):
            assert end.other is not None
            end.die()
            if not silently and end.other.open and not self.is_cut(name, end.peer):
                end.other.open = False
                self.schedule.after(self.travel_ms(), _ending(end.other))


def _ending(end: End) -> Action:
    def tell() -> None:
        assert end.reader is not None
        end.reader.on_end()

    return tell
