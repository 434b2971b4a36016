"""Evidence: what shows that a key is in two hands is told once, kept for ever, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.explain import oddities
from protocol.limits import EVIDENCE_PER_AUTHOR_MAX, VOID_ACTS_S_MAX
from protocol.machines import evidence
from protocol.machines.evidence import Finding, rival_of
from protocol.peer_time import Moment
from tests.protocol.machines.playing import Player, news, told
from tests.protocol.machines.test_delayed_acts import wish
from tests.support.builders import NOW, Group, Node, fed, node_of
from tests.support.keys import named, peer_name


@pytest.fixture
def group() -> Group:
    group = Group()
    for text in ("alice -> bob:admin", "alice -> dave:member"):
        group.grant(text)
    return group


def act(group: Group, seq: int | None = None, prev: Act | None = None, chain: int = 7) -> Act:
    """An act of bob's; with a number, wherever that puts it."""
    if seq is None:
        return group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=chain)
    before = None if prev is None else prev.id
    return group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=chain, seq=seq, prev=before)


def forks(node: Node) -> list[tuple[bytes, ...]]:
    return [one.acts for one in node.members.evidence.proofs() if one.finding is Finding.FORK]


def test_two_acts_with_one_number_are_proof_and_told_once(group):
    first = act(group)
    second = act(group)
    node = fed(group, "dave", [group.elements])
    assert forks(node) == []
    rival = act(group, 1)
    intake = node.take([rival])
    (proof,) = intake.proofs
    assert (proof.finding, proof.acts, proof.seen_s) == (Finding.FORK, (first.id, rival.id), NOW.utc_s)
    assert (proof.author, proof.chain) == (rival.place.author, rival.place.chain)
    for late in (act(group, 2, rival), act(group, 2, first), act(group, 3, second)):
        assert node.take([late]).proofs == []
    again = node.reopened()
    assert again.members.evidence.proofs() == node.members.evidence.proofs()
    assert again.take([act(group, 1)]).proofs == []


@given(st.lists(st.integers(0, 9), max_size=12), st.data())
def test_fork_is_found_in_whatever_order_its_branches_come(parents, data):
    group = Group()
    group.grant("alice -> bob:admin")
    acts: list[Act] = []
    for parent in parents:
        prev = None if not acts or parent >= len(acts) else acts[parent]
        acts.append(act(group, 1 if prev is None else prev.place.seq + 1, prev))
    node = node_of(group, "dave")
    for element in data.draw(st.permutations(group.elements)):
        node.take([element])
    node.take(group.elements)
    seqs = [one.place.seq for one in acts]
    assert bool(forks(node)) == (len(set(seqs)) < len(seqs))
    assert {one for pair in forks(node) for one in pair} <= oddities(node.members.view).forked
    acts_by_id = {one.id: one for one in acts}
    for one, other in forks(node):
        places = [acts_by_id[act_id].place for act_id in (one, other)]
        assert one != other
        assert places[0].seq == places[1].seq
        assert places[0].chain == places[1].chain


def test_who_goes_on_from_the_last_forks_nothing_and_chains_are_apart(group):
    acts = [act(group), act(group), act(group, 1, chain=8), act(group, 2, chain=9)]
    node = fed(group, "dave", [group.elements])
    assert forks(node) == []
    assert rival_of(acts[0], node_of(group, "dave").members.view) is None


def test_proof_is_kept_though_it_counts_for_nothing_and_is_old(group):
    first, other = act(group), act(group, chain=8)
    node = fed(group, "dave", [group.elements])
    removal = group.act("alice", Kind.REVOKE_CREDENTIAL, {"key": named("bob").public.raw})
    node.take([removal])
    rival = act(group, 1)
    node.take([rival])
    node.expire(Moment(NOW.mono_ms, NOW.utc_ms + (VOID_ACTS_S_MAX + 60) * 1000))
    assert [node.store.get(one.id) is not None for one in (first, rival, other)] == [True, True, False]
    assert node.reopened().members.evidence.proofs() == node.members.evidence.proofs()


def test_of_one_author_and_in_all_there_is_a_bound(group, monkeypatch):
    monkeypatch.setattr(evidence, "EVIDENCE_MAX", EVIDENCE_PER_AUTHOR_MAX + 1)
    group.grant("alice -> erin:admin")
    for chain in range(6):
        act(group, 1, chain=chain)
        act(group, 1, chain=chain)
    node = fed(group, "dave", [group.elements])
    assert len(forks(node)) == EVIDENCE_PER_AUTHOR_MAX
    for chain in range(3):
        for _ in range(2):
            node.take([group.act("erin", Kind.ANNUL, {"act": bytes(32)}, chain=chain, seq=1, prev=None)])
    assert len(forks(node)) == EVIDENCE_PER_AUTHOR_MAX + 1


def test_own_key_used_elsewhere_and_the_fork_are_events_and_told_once(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    player.tell(wish("u1"))
    view = player.machine.members.view
    admitted = [one for one in map(view.admitted, view.act_ids()) if one is not None]
    chain = next(one.place.chain for one in admitted if one.grant and one.grant.pid == named("u1").public.pid)
    stolen = [
        group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=chain, seq=1, prev=None) for _ in range(3)
    ]
    outputs = player.hear(1, news(*stolen))
    assert [kind for kind in told(outputs) if kind in ("key-used-elsewhere", "fork-seen")] == [
        "fork-seen",
        "key-used-elsewhere",
    ]
    kind, facts = player.events()[-1]
    assert kind == "key-used-elsewhere"
    assert facts["author"] == named("bob").public.pid.hex()
    assert facts["subject"] == str(peer_name("bob"))
    assert (facts["act"], facts["acts"], facts["chain"]) == (
        stolen[0].id.hex(),
        [stolen[0].id.hex()],
        chain.hex(),
    )
    again = player.again()
    assert {one.finding for one in again.machine.members.evidence.proofs()} == set(Finding)
    assert again.machine.members.evidence.acts() == player.machine.members.evidence.acts()
