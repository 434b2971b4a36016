from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from peerd.errors import LinkClosed, LinkLost, NotReady, StoreError
from peerd.gossip.checking import _CHECKS_OF_ONE_THREAD, on_threads
from peerd.gossip.neighbors import (
    _FRAMES_AHEAD,
    _ITEMS_READ_AT_ONCE,
    Neighbors,
    supervised,
)
from peerd.gossip.offload import inline
from peerd.transport.frames import FrameChannel
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER, FRAME_BYTES_MAX_STRANGER, HANDSHAKE_MS_MAX
from protocol.machines.connect import Established
from protocol.machines.events import (
    Close,
    Dial,
    DialFailed,
    DialOutcome,
    Input,
    LinkDown,
    LinkUp,
    Notice,
    Received,
    Send,
)
from protocol.records.record import RecordItem, decode_untrusted_header
from protocol.wire.messages import (
    Bye,
    ByeReason,
    KeepAlive,
    Message,
    Namespace,
    News,
    Records,
    Transfer,
    decode_untrusted_message,
    encode_message,
)
from tests.peerd.gossip.players import Player, channels, family
from tests.peerd.transport.memory_network import MemoryNetwork
from tests.support.builders import NO_DATA, Group
from tests.support.keys import named
from tests.support.records import Writer, circle

ALIVE = KeepAlive(7, bytes(16), 0, NO_DATA)
SILENT_HOST = "10.1.0.50"


class Desk:
    """Neighbors whose events are kept here instead of reaching a machine."""

    def __init__(self, player: Player) -> None:
        """Events of the kind of `refuses_at` are met with the error `refuses`."""
        self.events: list[Input] = []
        self.refuses: Exception | None = None
        self.refuses_at: Input = LinkDown(0)
        self.held: list[bytes] = []  # elements that the set holds
        self.neighbors = Neighbors(
            player.node.port,
            self.post,
            holds=lambda raw: raw in self.held,
            holds_record=lambda header: header.id in self.held,
            dial=player.dial,
            clock=player.clock,
            offload=inline,
            check=on_threads(inline),
        )

    async def post(self, event: Input) -> None:
        await trio.lowlevel.checkpoint()
        if self.refuses is not None and isinstance(event, type(self.refuses_at)):
            raise self.refuses
        self.events.append(event)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@pytest.fixture
def group():
    return family()


@pytest.fixture
def network():
    return MemoryNetwork()


def read(payload: bytes) -> Message:
    return decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)


async def heard(channel: FrameChannel) -> list[Message]:
    """All that arrives until the other side ends."""
    messages: list[Message] = []
    try:
        while True:
            messages.append(read(await channel.receive()))
    except (LinkLost, LinkClosed):
        return messages


@asynccontextmanager
async def linked(desk: Desk) -> AsyncIterator[FrameChannel]:
    """A member link that is being served; its other end."""
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:
        theirs.raise_limit(FRAME_BYTES_MAX_MEMBER)

        async def serving() -> None:
            peer = Established(named("bob").public, b"b" * 16, None, 1)
            await desk.neighbors.serve(ours, peer, "10.1.1.1:1")

        nursery.start_soon(serving)
        await trio.testing.wait_all_tasks_blocked()
        yield theirs
        nursery.cancel_scope.cancel()


# --- the supervisor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "level", "message"),
    [
        (LinkLost("it broke"), logging.DEBUG, "connection ended"),
        (LinkClosed("we closed"), logging.DEBUG, "connection ended"),
        (NotReady("closing"), logging.DEBUG, "connection ended"),
        (StoreError("disk"), logging.DEBUG, "connection ended"),
        (RemoteProtocolError(Fault.MALFORMED, "bad"), logging.WARNING, "connection faulted"),
        (KeyError("a mistake"), logging.ERROR, "connection failed"),
        (ExceptionGroup("several", [ValueError("x")]), logging.ERROR, "connection failed"),
    ],
)
async def test_what_goes_wrong_with_one_connection_is_logged_and_ends_there(caplog, error, level, message):
    async def work() -> str:
        await trio.lowlevel.checkpoint()
        raise error

    caplog.set_level(logging.DEBUG, "peerd.gossip")
    assert await supervised("10.1.1.1:1", work) is None
    assert [(record.levelno, record.message) for record in caplog.records] == [(level, message)]


async def test_what_goes_right_is_passed_on():
    async def work() -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    assert await supervised("10.1.1.1:1", work) == "done"


async def test_a_cancellation_is_not_swallowed():
    with trio.CancelScope() as scope:
        scope.cancel()
        await supervised("10.1.1.1:1", trio.sleep_forever)
        raise AssertionError("not reached")
    assert scope.cancelled_caught


# --- dialling -----------------------------------------------------------------------------------------------


async def outcome(player: Player, address: str) -> tuple[Input, float]:
    """What the machine is told of a dial, and how long that took."""
    desk, begun = Desk(player), trio.current_time()
    async with trio.open_nursery() as nursery:
        desk.neighbors.start(nursery)
        desk.neighbors.perform([Dial(address)])
    (event,) = desk.events
    return event, trio.current_time() - begun


async def test_a_dial_to_nobody_is_unreachable(autojump_clock, group, network):
    player = Player(group, "bob", network)
    for address in ("10.1.0.99:3587", "no address"):
        event, _ = await outcome(player, address)
        assert event == DialFailed(address, DialOutcome.UNREACHABLE)


async def test_a_dial_to_somebody_silent_ends_in_time(autojump_clock, group, network):
    async def accept(listener: trio.abc.Listener) -> None:
        stream = await listener.accept()
        await stream.send_all(bytes(32))  # as far as the handshake below ours goes
        await trio.sleep_forever()

    (listener,) = await network.host(SILENT_HOST).listen(SILENT_HOST, 3587)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, listener)
        event, seconds = await outcome(Player(group, "bob", network), f"{SILENT_HOST}:3587")
        nursery.cancel_scope.cancel()
    assert event == DialFailed(f"{SILENT_HOST}:3587", DialOutcome.UNREACHABLE)
    assert HANDSHAKE_MS_MAX / 1000 <= seconds <= HANDSHAKE_MS_MAX / 1000 + 3


async def test_a_dial_to_ourselves_is_noticed(autojump_clock, nursery, group, network):
    alice = Player(group, "alice", network)
    await nursery.start(alice.serve)
    event, _ = await outcome(alice, alice.address)
    assert event == DialFailed(alice.address, DialOutcome.MYSELF)


async def test_a_dial_to_another_groups_node_finds_nothing(autojump_clock, nursery, group, network):
    other = Player(Group("elsewhere"), "alice", network)
    await nursery.start(other.serve)
    event, _ = await outcome(Player(group, "bob", network), other.address)
    assert event == DialFailed(other.address, DialOutcome.NOTHING)


async def test_a_dial_by_no_member_finds_nothing(autojump_clock, nursery, group, network):
    alice = Player(group, "alice", network)
    await nursery.start(alice.serve)
    event, _ = await outcome(Player(group, "eve", network, elements=()), alice.address)
    assert event == DialFailed(alice.address, DialOutcome.NOTHING)


async def test_a_dial_to_a_member_becomes_a_link(autojump_clock, nursery, group, network):
    alice = Player(group, "alice", network)
    await nursery.start(alice.serve)
    desk = Desk(Player(group, "bob", network))
    async with trio.open_nursery() as dialling:
        desk.neighbors.start(dialling)
        desk.neighbors.perform([Dial(alice.address)])
        await trio.testing.wait_all_tasks_blocked()
        up = desk.events[0]
        assert isinstance(up, LinkUp)
        assert (up.address, up.key, up.node_id) == (alice.address, alice.key.public, alice.node_id)
        dialling.cancel_scope.cancel()
    assert desk.events[-1] == LinkDown(up.link)


async def test_a_dial_of_a_group_that_has_closed_disturbs_nobody(autojump_clock, group, network):
    desk = Desk(Player(group, "bob", network))
    desk.refuses, desk.refuses_at = NotReady("closing"), DialFailed("", DialOutcome.UNREACHABLE)
    async with trio.open_nursery() as nursery:
        desk.neighbors.start(nursery)
        desk.neighbors.perform([Dial("10.1.0.99:3587")])
    assert desk.events == []


# --- a link -------------------------------------------------------------------------------------------------


async def test_a_link_begins_with_up_and_ends_with_down(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    async with linked(desk) as theirs:
        theirs.send(encode_message(ALIVE))
        await trio.testing.wait_all_tasks_blocked()
        theirs.close()
        await desk.neighbors.wait_gone()
    up = desk.events[0]
    assert isinstance(up, LinkUp)
    assert (up.key, up.node_id, up.exporter) == (named("bob").public, b"b" * 16, theirs.exporter)
    assert desk.events[1:] == [Received(up.link, ALIVE), LinkDown(up.link)]


async def test_links_have_numbers_of_their_own(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    async with linked(desk), linked(desk):
        numbers = [event.link for event in desk.events if isinstance(event, LinkUp)]
    assert len({*numbers}) == 2


async def test_what_the_machine_says_is_sent_and_then_the_goodbye(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    async with linked(desk) as theirs:
        (up,) = desk.events
        assert isinstance(up, LinkUp)
        told = (Notice(1, "x", 0, {}), Send(99, ALIVE), Close(99, ByeReason.FULL), Send(up.link, ALIVE))
        desk.neighbors.perform([*told, Close(up.link, ByeReason.LEAVING, ("10.1.0.3:1",))])
        desk.neighbors.perform([Send(up.link, ALIVE)])
        assert await heard(theirs) == [ALIVE, Bye(ByeReason.LEAVING, ("10.1.0.3:1",))]
        theirs.close()
        await desk.neighbors.wait_gone()
    assert desk.events[1:] == [LinkDown(up.link)]


def lies(group: Group) -> dict[str, tuple[bytes, Fault]]:
    """What no honest neighbor sends, and what it is told."""
    act = group.elements[2].raw
    forged = act[:-1] + bytes([act[-1] ^ 1])
    return {
        "no message": (b"\xc1", Fault.MALFORMED),
        "no element": (encode_message(News((b"\x90",))), Fault.MALFORMED),
        "bad signature": (encode_message(News((forged,))), Fault.BAD_PROOF),
    }


@pytest.mark.parametrize("lie", ["no message", "no element", "bad signature"])
async def test_a_faulty_neighbor_is_told_its_fault_and_let_go(autojump_clock, group, network, lie):
    desk = Desk(Player(group, "alice", network))
    payload, fault = lies(group)[lie]
    async with linked(desk) as theirs:
        theirs.send(payload)
        assert await heard(theirs) == [Bye(fault.value, ())]
        theirs.close()
        await desk.neighbors.wait_gone()
    assert desk.kinds() == ["LinkUp", "LinkDown"]


async def test_a_frame_that_is_too_long_is_a_fault(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    async with linked(desk) as theirs:
        await theirs._connection.send_all((FRAME_BYTES_MAX_MEMBER + 1).to_bytes(4, "big"))
        assert await heard(theirs) == [Bye(Fault.OVER_LIMIT.value, ())]


async def test_a_member_may_send_longer_frames_than_a_stranger(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    async with linked(desk) as theirs:
        theirs.send(bytes(FRAME_BYTES_MAX_STRANGER + 1))
        assert await heard(theirs) == [Bye(Fault.MALFORMED.value, ())]


async def test_elements_arrive_with_their_signatures_checked(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    async with linked(desk) as theirs:
        theirs.send(encode_message(News(tuple(element.raw for element in group.elements))))
        await trio.testing.wait_all_tasks_blocked()
    received = desk.events[1]
    assert isinstance(received, Received)
    assert [element.id for element in received.elements] == [element.id for element in group.elements]


async def test_news_of_what_is_held_are_not_looked_at(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    known, new = [element.raw for element in group.elements[:3]], group.elements[3:]
    forged = known[2][:-1] + bytes([known[2][-1] ^ 1])
    desk.held = [*known, forged]
    async with linked(desk) as theirs:
        for raws in ((*desk.held, *(element.raw for element in new)), (forged,)):
            theirs.send(encode_message(News(raws)))
        await trio.testing.wait_all_tasks_blocked()
    first, second = (event for event in desk.events if isinstance(event, Received))
    assert ([element.id for element in first.elements], second.elements) == ([one.id for one in new], ())


def record_frames(items: Sequence[RecordItem]) -> list[Message]:
    """Versions as they may arrive: flooded, flooded with a question, transferred."""
    raws = tuple(item.raw for item in items)
    return [Records(raws, False), Records(raws, True), Transfer(Namespace.DURABLE, 1, 0, raws, True)]


async def records_of(desk: Desk, *messages: Message) -> list[tuple[RecordItem, ...]]:
    """What reaches the machine of these messages, with the records in each."""
    async with linked(desk) as theirs:
        for message in messages:
            theirs.send(encode_message(message))
        await trio.testing.wait_all_tasks_blocked()
        theirs.close()
    return [event.records for event in desk.events if isinstance(event, Received)]


@pytest.mark.parametrize("count", [1, _ITEMS_READ_AT_ONCE + 1, _CHECKS_OF_ONE_THREAD + 1])
async def test_records_arrive_with_their_signatures_checked(autojump_clock, group, network, count):
    dave = Writer.of(circle(), "dave")
    items = tuple(dave.add(body=b"x") for _ in range(count))
    desk = Desk(Player(group, "alice", network))
    assert await records_of(desk, *record_frames(items)) == [items] * 3


@pytest.mark.parametrize("count", [1, _CHECKS_OF_ONE_THREAD + 1])
@pytest.mark.parametrize("place", [0, -1])
async def test_record_whose_signature_does_not_hold_ends_the_link(
    autojump_clock, group, network, count, place
):
    dave = Writer.of(circle(), "dave")
    items = [dave.add() for _ in range(count)]
    header = items[place].header
    raw = header.raw[:-1] + bytes([header.raw[-1] ^ 1])
    items[place] = RecordItem(decode_untrusted_header(raw))
    for frame in record_frames(items):
        desk = Desk(Player(group, "alice", network))
        async with linked(desk) as theirs:
            theirs.send(encode_message(frame))
            assert await heard(theirs) == [Bye(Fault.BAD_PROOF.value, ())]
        assert not any(isinstance(event, Received) for event in desk.events)


async def test_records_that_are_held_are_left_out_unless_the_neighbor_asks(autojump_clock, group, network):
    dave = Writer.of(circle(), "dave")
    items = tuple(dave.add() for _ in range(3))
    desk = Desk(Player(group, "alice", network))
    desk.held = [items[1].header.id]
    new = (items[0], items[2])
    assert await records_of(desk, *record_frames(items)) == [new, items, new]
    desk.events.clear()
    desk.held = [item.header.id for item in items]
    assert await records_of(desk, *record_frames(items)) == [(), items, ()]


async def test_messages_enter_the_inbox_in_order_while_those_behind_are_checked(
    autojump_clock, group, network
):
    """The first takes longest: its check ends when three behind it have begun."""
    dave = Writer.of(circle(), "dave")
    items = [dave.add() for _ in range(_FRAMES_AHEAD + 2)]
    desk = Desk(Player(group, "alice", network))
    begun = 0
    freed = trio.Event()

    async def check(checks):
        nonlocal begun
        begun += 1
        if begun == 1:
            await freed.wait()
        return True

    desk.neighbors._check = check
    async with linked(desk) as theirs:
        for item in items:
            theirs.send(encode_message(Records((item.raw,), False)))
        theirs.send(encode_message(ALIVE))
        await trio.testing.wait_all_tasks_blocked()
        assert desk.kinds() == ["LinkUp"]
        assert begun == _FRAMES_AHEAD
        freed.set()
        await trio.testing.wait_all_tasks_blocked()
        arrived = [event for event in desk.events if isinstance(event, Received)]
        assert [event.records for event in arrived] == [*((item,) for item in items), ()]


async def test_while_records_are_decoded_others_have_their_turn(autojump_clock, group, network):
    """And frames are decoded one after another, so that the first is not kept waiting by those behind it."""
    dave = Writer.of(circle(), "dave")
    pieces = 5
    frames = [[dave.add() for _ in range(pieces * _ITEMS_READ_AT_ONCE)] for _ in range(2)]
    desk = Desk(Player(group, "alice", network))
    turns: list[int] = []

    async def check(checks):
        turns.append(steps)
        return True

    desk.neighbors._check = check
    async with linked(desk) as theirs:
        steps = 0
        for items in frames:
            theirs.send(encode_message(Records(tuple(item.raw for item in items), False)))
        while len(turns) < len(frames):
            steps += 1
            await trio.lowlevel.checkpoint()
    first, second = turns
    assert first >= pieces
    assert second - first >= pieces


async def test_what_came_before_a_fault_still_reaches_the_machine(autojump_clock, group, network):
    item = Writer.of(circle(), "dave").add()
    desk = Desk(Player(group, "alice", network))
    async with linked(desk) as theirs:
        theirs.send(encode_message(Records((item.raw,), False)))
        theirs.send(b"\xc1")
        theirs.send(encode_message(ALIVE))
        assert await heard(theirs) == [Bye(Fault.MALFORMED.value, ())]
    assert desk.kinds() == ["LinkUp", "Received", "LinkDown"]


async def test_a_mistake_of_ours_on_one_link_leaves_the_others(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    desk.refuses, desk.refuses_at = KeyError("a mistake"), Received(0, ALIVE)
    async with linked(desk) as first, linked(desk) as second:
        first.send(encode_message(ALIVE))
        await trio.testing.wait_all_tasks_blocked()
        desk.refuses = None
        second.send(encode_message(ALIVE))
        await trio.testing.wait_all_tasks_blocked()
        assert desk.kinds() == ["LinkUp", "LinkUp", "LinkDown", "Received"]


async def test_a_group_that_closes_ends_its_links(autojump_clock, group, network):
    desk = Desk(Player(group, "alice", network))
    async with linked(desk) as theirs:
        desk.refuses, desk.refuses_at = NotReady("closing"), LinkDown(0)
        desk.neighbors.close()
        assert await heard(theirs) == []
        theirs.close()
        await desk.neighbors.wait_gone()
    assert desk.kinds() == ["LinkUp"]


async def test_nobody_waits_for_links_that_are_not_there(autojump_clock, group, network):
    with trio.fail_after(1):
        await Desk(Player(group, "alice", network)).neighbors.wait_gone()
