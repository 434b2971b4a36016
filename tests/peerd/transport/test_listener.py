from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from peerd.errors import ConfigError, LinkClosed, LinkLost
from peerd.transport.dialer import dial
from peerd.transport.frames import FrameChannel
from peerd.transport.limits import STRANGER_S_MAX, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX
from peerd.transport.listener import Handler, Listener
from peerd.transport.secure import secure_caller
from peerd.transport.slots import Slot
from protocol.errors import RuleError
from tests.peerd.transport.capture import CapturingNetwork
from tests.peerd.transport.memory_network import MemoryNetwork, plain
from tests.peerd.transport.streams import dribble

HOME = "10.0.0.1"
ADDRESS = f"{HOME}:3587"
HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(
    490
)  # a ClientHello of 508 bytes, most of it
SECRET = b"I am a member"


async def echo(channel: FrameChannel, slot: Slot) -> None:
    """Give back every frame; whoever says SECRET is a member."""
    try:
        while True:
            payload = await channel.receive()
            if payload == SECRET:
                assert slot.promote()
            channel.send(payload)
    except (LinkLost, LinkClosed):
        pass


@asynccontextmanager
async def serving(
    network: MemoryNetwork, handler: Handler = echo, *, tls: bool = False
) -> AsyncIterator[Listener]:
    listener = Listener(network=network.host(HOME), secure=None if tls else plain)
    await listener.bind([ADDRESS])
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        yield listener
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def calling(network: MemoryNetwork, host: str, *, tls: bool = False) -> AsyncIterator[FrameChannel]:
    channel = await dial(ADDRESS, network=network.host(host), secure=secure_caller if tls else plain)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        yield channel
        channel.close()


async def ask(channel: FrameChannel, payload: bytes) -> bytes:
    channel.send(payload)
    return await channel.receive()


@pytest.mark.parametrize("tls", [False, True])
async def test_what_the_handler_sends_reaches_the_caller(tls):
    network = MemoryNetwork()
    async with serving(network, tls=tls), calling(network, "10.0.0.2", tls=tls) as channel:
        assert await ask(channel, b"hello") == b"hello"


async def test_the_handler_sees_who_called_and_has_the_same_exporter():
    network = MemoryNetwork()
    seen: list[FrameChannel] = []

    async def note(channel: FrameChannel, slot: Slot) -> None:
        seen.append(channel)
        channel.send(b"bye")
        await trio.lowlevel.checkpoint()

    async with serving(network, note, tls=True), calling(network, "10.0.0.2", tls=True) as channel:
        assert await channel.receive() == b"bye"
        assert seen[0].address.startswith("10.0.0.2:")
        assert seen[0].exporter == channel.exporter
        with pytest.raises(LinkLost, match="closed the link"):
            await channel.receive()


async def test_a_stranger_that_proves_nothing_is_sent_away_in_time(autojump_clock):
    network = MemoryNetwork()
    async with serving(network) as listener, calling(network, "10.0.0.2") as channel:
        for _ in range(int(STRANGER_S_MAX) - 1):
            assert await ask(channel, b"hello") == b"hello"
            await trio.sleep(1)
        with pytest.raises(LinkLost):
            await channel.receive()
        assert trio.current_time() == STRANGER_S_MAX
        await trio.testing.wait_all_tasks_blocked()
        assert listener.slots.strangers == 0


async def test_a_member_stays(autojump_clock):
    network = MemoryNetwork()
    async with serving(network) as listener, calling(network, "10.0.0.2") as channel:
        assert await ask(channel, SECRET) == SECRET
        await trio.sleep(100 * STRANGER_S_MAX)
        assert await ask(channel, b"still here") == b"still here"
        assert (listener.slots.strangers, listener.slots.members) == (0, 1)


@pytest.mark.parametrize("pause_s", [1, 9])
async def test_a_stranger_that_dribbles_its_handshake_is_dropped_in_time(autojump_clock, pause_s):
    network = MemoryNetwork()
    async with serving(network, tls=True) as listener:
        stream = await network.host("10.0.0.2").connect(HOME, 3587)
        with pytest.raises(trio.BrokenResourceError):
            await dribble(stream, HELLO_BEGUN, pause_s)
        assert trio.current_time() <= STRANGER_S_MAX + pause_s
        await trio.testing.wait_all_tasks_blocked()
        assert listener.slots.strangers == 0


async def test_200_strangers_stop_neither_a_member_nor_a_newcomer_nor_a_call_of_ours(autojump_clock):
    network = MemoryNetwork()
    elsewhere = Listener(network=network.host("10.0.0.9"))
    await elsewhere.bind(["10.0.0.9:3587"])
    async with serving(network, tls=True) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(elsewhere.serve, echo)
        async with calling(network, "10.0.0.2", tls=True) as member:
            assert await ask(member, SECRET) == SECRET
            silent = [
                await network.host(f"10.1.{n // 100}.{n % 100}").connect(HOME, 3587) for n in range(200)
            ]
            await trio.testing.wait_all_tasks_blocked()
            assert listener.slots.strangers == STRANGERS_MAX
            assert await ask(member, b"still here") == b"still here"
            async with calling(network, "10.0.0.3", tls=True) as newcomer:
                assert await ask(newcomer, SECRET) == SECRET
                assert listener.slots.members == 2
            outgoing = await dial("10.0.0.9:3587", network=network.host(HOME))
            nursery.start_soon(outgoing.run)
            assert await ask(outgoing, b"ours") == b"ours"
            assert trio.current_time() == 0
            assert [bytes(await stream.receive_some()) for stream in silent[:72]] == [b""] * 72
            outgoing.close()
        nursery.cancel_scope.cancel()


async def test_one_address_holds_its_share_of_strangers_and_its_newest_are_served():
    network = MemoryNetwork()
    async with serving(network) as listener:
        streams = [await network.host("10.0.0.2").connect(HOME, 3587) for _ in range(20)]
        await trio.testing.wait_all_tasks_blocked()
        assert listener.slots.strangers == STRANGERS_PER_ADDRESS_MAX
        async with calling(network, "10.0.0.2") as channel:
            assert await ask(channel, b"hello") == b"hello"
        assert len(streams) == 20


async def test_a_stranger_pushed_out_sees_an_end_and_frees_everything():
    network = MemoryNetwork()
    async with serving(network) as listener:
        async with calling(network, "10.0.0.2") as first:
            assert await ask(first, b"hello") == b"hello"
            for _ in range(STRANGERS_PER_ADDRESS_MAX):
                await network.host("10.0.0.2").connect(HOME, 3587)
            with pytest.raises(LinkLost):
                await first.receive()
        assert listener.slots.strangers == STRANGERS_PER_ADDRESS_MAX


async def test_noise_from_a_stranger_is_nobody_elses_business():
    network = MemoryNetwork()
    async with serving(network, tls=True) as listener:
        stream = await network.host("10.0.0.2").connect(HOME, 3587)
        await stream.send_all(b"\x80\x01 not TLS at all")
        while await stream.receive_some():
            pass
        async with calling(network, "10.0.0.3", tls=True) as channel:
            assert await ask(channel, b"hello") == b"hello"
        await trio.testing.wait_all_tasks_blocked()
        assert listener.slots.strangers == 0


async def test_all_strangers_are_shown_the_same_on_the_wire():
    network = MemoryNetwork()
    capturing = CapturingNetwork(network.host("10.0.0.2"))

    async def nothing(channel: FrameChannel, slot: Slot) -> None:
        await channel.receive()
        channel.send(bytes(4092))

    async with serving(network, nothing, tls=True):
        for question in (b"a" * 100, b"b" * 100, b"c" * 100):
            channel = await dial(ADDRESS, network=capturing)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.run)
                assert await ask(channel, question) == bytes(4092)
                channel.close()
    shapes = {tuple(capture.records("received")) for capture in capturing.captures}
    assert len(capturing.captures) == 3
    assert len(shapes) == 1


async def test_stopping_ends_every_connection():
    network = MemoryNetwork()
    async with serving(network) as listener:
        channel = await dial(ADDRESS, network=network.host("10.0.0.2"), secure=plain)
        await trio.testing.wait_all_tasks_blocked()
    assert listener.slots.strangers == 0
    with pytest.raises(LinkLost):
        await channel.receive()
    with pytest.raises(LinkLost, match="cannot be reached"):
        await dial(ADDRESS, network=network.host("10.0.0.2"), secure=plain)


async def test_callers_that_come_before_serving_wait_in_the_queue():
    network = MemoryNetwork()
    listener = Listener(network=network.host(HOME), secure=plain)
    await listener.bind([ADDRESS])
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve_later() -> None:
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(listener.serve, echo)

        async with calling(network, "10.0.0.2") as channel:
            assert await ask(channel, b"early") == b"early"
        nursery.cancel_scope.cancel()


async def test_whoever_listens_nowhere_serves_until_cancelled(autojump_clock):
    listener = Listener()
    assert await listener.bind([]) == ()
    with trio.move_on_after(3600) as scope:
        await listener.serve(echo)
    assert scope.cancelled_caught


async def test_binding_tells_the_addresses_taken():
    listener = Listener()
    bound = await listener.bind(["127.0.0.1:0", "127.0.0.1:0"])
    assert [address.rpartition(":")[0] for address in bound] == ["127.0.0.1", "127.0.0.1"]
    assert len(set(bound)) == 2
    assert all(not address.endswith(":0") for address in bound)
    await listener.aclose()


async def test_an_address_in_use_is_refused_with_a_hint_and_nothing_is_kept():
    first = Listener()
    (taken,) = await first.bind(["127.0.0.1:0"])
    second = Listener()
    with pytest.raises(ConfigError, match=f"cannot listen on {taken}") as caught:
        await second.bind(["127.0.0.1:0", taken])
    assert "--listen" in caught.value.hint
    await first.aclose()
    assert await second.bind([taken]) == (taken,)
    await second.aclose()


async def test_an_address_of_another_machine_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match="cannot listen on") as caught:
        await Listener().bind(["192.0.2.1:0"])
    assert "--listen" in caught.value.hint


async def test_an_unknown_name_and_a_malformed_address_are_refused():
    with pytest.raises(ConfigError):
        await Listener().bind(["no..name:0"])
    with pytest.raises(RuleError):
        await Listener().bind(["nonsense"])


async def test_more_sockets_than_allowed_are_refused():
    with pytest.raises(ConfigError, match="17 sockets"):
        await Listener().bind(["127.0.0.1:0"] * 17)


async def test_real_sockets_carry_frames_both_ways():
    listener = Listener()
    (address,) = await listener.bind(["127.0.0.1:0"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, echo)
        channel = await dial(address)
        nursery.start_soon(channel.run)
        for size in (1, 1000, 60_000):
            assert await ask(channel, bytes(size)) == bytes(size)
        channel.close()
        nursery.cancel_scope.cancel()
