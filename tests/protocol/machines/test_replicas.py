"""Replicas: how many neighbors have what was written here."""

from __future__ import annotations

from hypothesis import given, strategies as st

from protocol.limits import REPLICAS_MAX, REPLICATED_MAX
from protocol.machines.events import Replicated
from protocol.machines.replicas import Replicas

VERSIONS = [bytes([n]) * 32 for n in range(4)]
NODES = [bytes([n]) * 16 for n in range(4)]


@given(
    st.lists(st.tuples(st.sampled_from(NODES), st.lists(st.sampled_from(VERSIONS), max_size=5)), max_size=20)
)
def test_each_node_counts_once_and_only_growth_is_told(acks):
    replicas = Replicas()
    for version in VERSIONS[:2]:
        replicas.watch(version)
    have: dict[bytes, set[bytes]] = {version: set() for version in VERSIONS[:2]}
    for node, ids in acks:
        expected = []
        for version in ids:
            if version in have and node not in have[version]:
                have[version].add(node)
                expected.append(Replicated(version, len(have[version])))
        assert replicas.on_durable(node, ids) == expected
    assert [replicas.count(version) for version in VERSIONS] == [len(have.get(v, ())) for v in VERSIONS]


def test_what_nobody_waits_for_is_not_counted():
    assert Replicas().on_durable(NODES[0], VERSIONS) == []


def test_watching_twice_forgets_nothing():
    replicas = Replicas()
    replicas.watch(VERSIONS[0])
    replicas.on_durable(NODES[0], VERSIONS[:1])
    replicas.watch(VERSIONS[0])
    assert replicas.count(VERSIONS[0]) == 1


def test_oldest_write_is_forgotten_beyond_the_limit():
    replicas = Replicas()
    ids = [number.to_bytes(32, "big") for number in range(REPLICATED_MAX + 1)]
    for version in ids:
        replicas.watch(version)
    assert replicas.on_durable(NODES[0], ids) == [Replicated(version, 1) for version in ids[1:]]


def test_nodes_counted_for_one_version_are_bounded():
    replicas = Replicas()
    replicas.watch(VERSIONS[0])
    for number in range(REPLICAS_MAX + 5):
        replicas.on_durable(number.to_bytes(16, "big"), VERSIONS[:1])
    assert replicas.count(VERSIONS[0]) == REPLICAS_MAX
