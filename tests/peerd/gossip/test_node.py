from __future__ import annotations

import pytest
import trio

from peerd.errors import NotReady, StoreError
from protocol.machines.connect import Established
from protocol.machines.events import Connect
from protocol.wire.messages import Bye, ByeReason, decode_untrusted_message
from tests.peerd.gossip.players import Player, channels, family, moment
from tests.peerd.transport.memory_network import MemoryNetwork
from tests.support.builders import Group
from tests.support.keys import named


@pytest.fixture
def group():
    return family()


@pytest.fixture
def network():
    return MemoryNetwork()


# --- the port -----------------------------------------------------------------------------------------------


async def test_the_port_answers_from_the_groups_view(autojump_clock, group, network):
    port, at_s = Player(group, "alice", network).node.port, moment().utc_s
    assert port.authority == group.authority
    assert port.node_id == named("alice").public.pid[:16]
    assert port.own_key() is named("alice")
    assert port.is_member(named("bob").public.pid, at_s)
    assert not port.is_member(named("eve").public.pid, at_s)
    bob = group.grant("grc -> alice:admin -> bob:member")
    assert not port.is_member(named("bob").public.pid, bob.grant.window.end + 1)
    assert port.bundle_for(named("eve").public.pid, at_s) == b""
    for name in ("alice", "bob"):
        raw = port.own_bundle(at_s) if name == "alice" else port.bundle_for(named(name).public.pid, at_s)
        assert raw != b""
    assert port.accepts(group.bundle(bob), at_s)
    assert not port.accepts(Group("elsewhere").bundle(Group("elsewhere").creator), at_s)


async def test_what_the_port_adopts_is_durable_and_in_use(autojump_clock, nursery, group, network):
    bob = Player(group, "bob", network, elements=())
    nursery.start_soon(bob.node.run)
    granted = group.grant("grc -> alice:admin -> bob:member")
    await bob.node.port.adopt(group.bundle(granted))
    grant = bob.node.machine.members.own_grant(moment().utc_s)
    assert grant is not None
    assert grant.act_id == granted.act.id
    assert bob.kinds() == ["credential-adopted"]
    assert bob.store.last_event() == 1


# --- running ------------------------------------------------------------------------------------------------


async def test_two_nodes_find_each_other_and_say_goodbye(autojump_clock, nursery, group, network):
    alice, bob = Player(group, "alice", network), Player(group, "bob", network)
    await nursery.start(alice.serve)
    await nursery.start(bob.serve)
    await bob.node.runner.submit(Connect((alice.address,)))
    await trio.testing.wait_all_tasks_blocked()
    assert len(alice.node.machine.links) == len(bob.node.machine.links) == 1
    begun = trio.current_time()
    await bob.node.stop()
    await trio.testing.wait_all_tasks_blocked()
    assert not len(alice.node.machine.links)
    assert trio.current_time() - begun < 1


async def test_the_goodbye_has_been_sent_when_stop_returns(autojump_clock, nursery, group, network):
    alice = Player(group, "alice", network)
    nursery.start_soon(alice.node.run)
    async with channels() as (ours, theirs), trio.open_nursery() as serving:
        peer = Established(named("bob").public, b"b" * 16, None, 1)
        serving.start_soon(alice.node._neighbors.serve, ours, peer, None)
        await trio.testing.wait_all_tasks_blocked()
        stopped: list[bool] = []

        async def stop() -> None:
            await alice.node.stop()
            stopped.append(True)

        serving.start_soon(stop)
        await trio.testing.wait_all_tasks_blocked()
        assert not len(alice.node.machine.links)
        assert stopped == []  # the other side has not heard it all
        words = [decode_untrusted_message(await theirs.receive(), bytes_max=2**18) for _ in range(2)]
        theirs.close()
        await trio.testing.wait_all_tasks_blocked()
        assert stopped == [True]
    assert words[-1] == Bye(ByeReason.LEAVING, ())


async def test_a_store_that_fails_ends_the_node_with_its_error_and_closes_its_links(
    autojump_clock, nursery, group, network
):
    alice, bob = Player(group, "alice", network), Player(group, "bob", network)
    ended: list[BaseException] = []

    async def run() -> None:
        with pytest.raises(StoreError) as error:
            await alice.node.run()
        ended.append(error.value)

    nursery.start_soon(run)
    await alice.listener.bind([alice.address])
    nursery.start_soon(alice.listener.serve, alice.reception.receive)
    await nursery.start(bob.serve)
    await bob.node.runner.submit(Connect((alice.address,)))
    await trio.testing.wait_all_tasks_blocked()
    broken = StoreError("the disk failed")

    def commit() -> None:
        raise broken

    alice.store.commit = commit  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await alice.node.runner.submit(Connect(()))
    await trio.testing.wait_all_tasks_blocked()
    assert ended == [broken]
    assert not len(bob.node.machine.links)
    with pytest.raises(NotReady):
        await alice.node.stop()


async def test_notices_are_told_after_they_are_durable(autojump_clock, nursery, group, network):
    bob = Player(group, "bob", network, elements=())
    told: list[int] = []

    def tell(_: object) -> None:
        told.append(bob.store.last_event())

    bob.node._tell = tell
    nursery.start_soon(bob.node.run)
    await bob.node.port.adopt(group.bundle(group.grant("grc -> alice:admin -> bob:member")))
    assert told == [1]
