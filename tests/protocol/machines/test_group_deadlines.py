"""The group's machine and time: whatever happened, its next deadline is one that a Tick moves on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind
from protocol.limits import HLC_AHEAD_MS_MAX, KEEPALIVE_MS
from protocol.machines.events import (
    Close,
    Connect,
    Dial,
    DialFailed,
    DialOutcome,
    Disconnect,
    LinkDown,
    Output,
    Stop,
    Tick,
)
from protocol.machines.link import alive
from protocol.peer_time import Moment, Window, hlc_at
from protocol.wire.messages import (
    Bye,
    ByeReason,
    Message,
    Namespace,
    News,
    Reconcile,
    Taken,
    Transfer,
    Want,
)
from tests.protocol.machines.playing import LIE, Player, link_up, news, only
from tests.support.builders import NOW, Group

NEIGHBORS = tuple(f"n{number}" for number in range(9))


def busy_group() -> Group:
    """A group of which credentials begin, end and lie ahead, and an act whose parent never comes."""
    group = Group()
    s = NOW.utc_s
    for start, end in ((-300, 40), (20, 90), (70, 5000)):
        group.grant("alice -> bob:member", window=Window(s + start, s + end))
    for name in NEIGHBORS[:6]:
        group.grant(f"alice -> {name}:member", window=Window(s - 300, s + 100))
    group.act("alice", Kind.RESIGN, {}, chain=1, hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX + 30_000))
    group.act("alice", Kind.RESIGN, {}, chain=2)
    group.act("alice", Kind.RESIGN, {}, chain=2)
    return group


GROUP = busy_group()
ELEMENTS = [*GROUP.elements[:-2], GROUP.elements[-1]]


@dataclass
class Driver:
    """A player whose dials are answered, and whose links hypothesis sets up and breaks."""

    player: Player
    pending: list[str] = field(default_factory=list)
    up: list[int] = field(default_factory=list)
    links: int = 0

    def do(self, outputs: list[Output]) -> None:
        self.pending += [dial.address for dial in only(Dial, outputs)]
        for close in only(Close, outputs):
            if close.link in self.up:
                self.up.remove(close.link)

    def step(self, what: str, number: int) -> None:
        player = self.player
        match what:
            case "wait":
                now = player.now
                player.now = Moment(now.mono_ms + number * 97, now.utc_ms + number * 97)
            case "meet" | "answered":
                address = self.pending.pop(number % len(self.pending)) if self.pending else None
                self.links += 1
                self.up.append(self.links)
                name = NEIGHBORS[number % len(NEIGHBORS)]
                self.do(player.tell(link_up(self.links, name, address if what == "answered" else None)))
                if what == "meet" and address is not None:
                    self.pending.append(address)
            case "failed" if self.pending:
                address = self.pending.pop(number % len(self.pending))
                self.do(player.tell(DialFailed(address, tuple(DialOutcome)[number % 4])))
            case "down" if self.up:
                self.do(player.tell(LinkDown(self.up.pop(number % len(self.up)))))
            case "hear" if self.up:
                self.do(player.hear(self.up[number % len(self.up)], MESSAGES[number % len(MESSAGES)](player)))
            case "command":
                self.do(player.tell(COMMANDS[number % len(COMMANDS)]))
            case "due":
                self.due()
            case _:
                pass  # there is no such link or dial now

    def due(self) -> None:
        """The Tick that the driver of a real node would send next, after which time has moved on."""
        deadline = self.player.deadline()
        if deadline is None:
            return
        now = self.player.now
        later = max(0, deadline - now.mono_ms)
        self.player.now = now = Moment(now.mono_ms + later, now.utc_ms + later)
        self.do(self.player.tell(Tick()))
        following = self.player.deadline()
        assert following is None or following > now.mono_ms


MESSAGES: tuple[Callable[[Player], Message], ...] = (
    lambda player: player.open(),
    lambda player: player.open("far:1", referrals=tuple(f"far:{number}" for number in range(2, 8))),
    lambda player: player.agree(),
    lambda _: alive(LIE, NOW),
    lambda _: news(*ELEMENTS[:9]),
    lambda _: news(*ELEMENTS[9:]),
    lambda _: news(*GROUP.elements),
    lambda _: Transfer(Namespace.AUTH, 1, 0, tuple(element.raw for element in ELEMENTS[-3:]), True),
    lambda _: Reconcile(Namespace.AUTH, 0, 0, 0, b"", False),
    lambda _: Taken(0, 0),
    lambda _: Want(GROUP.genesis.id),
    lambda _: News(()),
    lambda _: Bye(ByeReason.FULL, ("far:9",)),
)
COMMANDS = (
    Connect(("seed:1", "seed:2")),
    Connect(("seed:3",), only=True),
    Connect(()),
    Connect(tuple(f"seed:{number}" for number in range(20))),
    Disconnect(),
    Connect(("seed:4",)),
    Stop(),
)
# Opening and hearing are frequent, so that links live long enough to have sessions and visits.
KINDS = ("wait", "meet", "answered", "answered", "failed", "down", "hear", "hear", "hear", "command", "due")


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 400)), max_size=60),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_tick_at_the_next_deadline_always_moves_it_on(steps, knowing, seed):
    elements = ELEMENTS if knowing else ()
    driver = Driver(Player.of(GROUP, "bob", elements, seed=seed))
    for what, number in steps:
        driver.step(what, number)
    for _ in range(12):
        driver.due()


@given(st.integers(0, 2**16), st.integers(1, 8))
def test_node_at_rest_wakes_a_few_times_a_minute_only(seed, links):
    player = Player.of(GROUP, "bob", seed=seed)
    for link in range(1, links + 1):
        player.meet(link, NEIGHBORS[link % 6], f"a:{link}", node=f"x{link}")
    driver = Driver(player)
    ticks, end = 0, player.now.mono_ms + 60_000
    while (deadline := player.deadline()) is not None and deadline <= end:
        driver.due()
        for link in player.neighbors():
            player.hear(link, player.agree())
        ticks += 1
    rounds = 60_000 // KEEPALIVE_MS
    assert ticks <= links * rounds + 20
