from __future__ import annotations

import pytest
import trio

from peerd.errors import LinkLost
from peerd.transport.dialer import dial
from peerd.transport.limits import CONNECT_S_MAX
from peerd.transport.network import TCP
from tests.peerd.transport.memory_network import MemoryNetwork, plain
from tests.peerd.transport.streams import dribble

LISTENER = "10.0.0.1:3587"


async def listening(network: MemoryNetwork) -> trio.abc.Listener[trio.abc.HalfCloseableStream]:
    return (await network.host("10.0.0.1").listen("10.0.0.1", 3587))[0]


async def test_a_dialled_channel_knows_its_address_and_carries_frames():
    network = MemoryNetwork()
    listener = await listening(network)

    async def answer() -> None:
        connection = await plain(await listener.accept())
        await connection.send_all(b"\0\0\0\5hello")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        channel = await dial(LISTENER, network=network.host("10.0.0.2"), secure=plain)
        assert channel.address == LISTENER
        assert await channel.receive() == b"hello"


async def test_nobody_there_is_a_lost_link_that_names_the_address():
    with pytest.raises(LinkLost, match=r"10\.0\.0\.1:3587 cannot be reached: Connection refused"):
        await dial(LISTENER, network=MemoryNetwork().host("10.0.0.2"))


async def test_a_listener_that_never_answers_is_given_up_in_time_and_let_go(autojump_clock):
    network = MemoryNetwork()
    listener = await listening(network)
    with pytest.raises(LinkLost, match="did not answer within 10 s"):
        await dial(LISTENER, network=network.host("10.0.0.2"))
    assert trio.current_time() == CONNECT_S_MAX
    stream = await listener.accept()
    while await stream.receive_some():  # the handshake's first message, then the end
        pass


async def test_a_listener_that_drips_is_given_up_in_time(autojump_clock):
    network = MemoryNetwork()
    listener = await listening(network)

    async def drip() -> None:
        stream = await listener.accept()
        with pytest.raises(trio.BrokenResourceError):
            await dribble(stream, b"\x16\x03\x03\x40\x00" + bytes(1000), 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        with pytest.raises(LinkLost, match="did not answer within 3 s"):
            await dial(LISTENER, 3, network=network.host("10.0.0.2"))
        assert trio.current_time() == 3


@pytest.mark.parametrize("address", ["nonsense", "host:99999", ":1", "\udcff:1", "a..b:1", "x" * 300 + ":1"])
async def test_an_address_from_somebody_else_that_means_nothing_is_a_lost_link(address):
    with pytest.raises(LinkLost):
        await dial(address)


async def test_a_program_that_is_no_peerd_is_a_lost_link_that_says_so():
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]

    async def speak_first(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example.org ESMTP\r\n")
        await stream.receive_some()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, speak_first, [listener])
        with pytest.raises(LinkLost, match="TLS handshake failed"):
            await dial(TCP.address_of(listener))
        nursery.cancel_scope.cancel()


async def test_a_refused_socket_is_told_in_the_systems_words():
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = TCP.address_of(listener)
    await listener.aclose()
    with pytest.raises(LinkLost, match="Connection refused"):
        await dial(address)
