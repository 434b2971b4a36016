from __future__ import annotations

import pytest

from peerd.clock import Clock
from peerd.gossip.checking import on_threads
from peerd.gossip.offload import inline
from peerd.groups.environment import Environment
from peerd.transport.dialer import dial
from protocol.limits import LISTEN_ADDRESSES_MAX


def environment(*listens: str) -> Environment:
    return Environment(Clock(), inline, on_threads(inline), dial, bytes, listens)


@pytest.mark.parametrize("everywhere", ["0.0.0.0:3587", "[::]:3587"])
def test_others_are_not_told_of_everywhere(everywhere):
    assert environment(everywhere, "192.0.2.1:3587").reachable == ("192.0.2.1:3587",)


def test_others_are_told_as_many_addresses_as_a_message_holds():
    listens = [f"192.0.2.{number}:3587" for number in range(LISTEN_ADDRESSES_MAX + 2)]
    assert environment(*listens).reachable == tuple(listens[:LISTEN_ADDRESSES_MAX])


def test_two_daemons_do_not_retry_in_step():
    ours = Environment(Clock(), inline, on_threads(inline), dial, lambda count: b"a" * count)
    theirs = Environment(Clock(), inline, on_threads(inline), dial, lambda count: b"b" * count)
    assert [ours.rng.random() for _ in range(3)] != [theirs.rng.random() for _ in range(3)]
