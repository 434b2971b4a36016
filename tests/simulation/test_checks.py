"""Each check sees what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol.authority.bodies import AnnulBody, Kind
from protocol.credentials.keys import PrivateKey
from protocol.limits import KNOWN_ADDRESSES_MAX, LINKS_MAX
from protocol.machines.events import Connect
from protocol.sim.checks import check_always, check_quiet
from protocol.sim.claims import CheckFailed
from protocol.sim.faulty import _act
from protocol.sim.node import Node
from protocol.sim.world import World
from protocol.wire.messages import Namespace
from tests.simulation.worlds import MINUTE, gathered, renew, settled, until


@pytest.fixture
def world() -> World:
    made = gathered(1, 3, admins=["n1"])
    renew(made, made.creator, "n2")
    settled(made)
    return made


def _write(node: Node, change: Callable[[], None]) -> None:
    node.store.begin()
    change()
    node.store.commit()


def _forget_checks(world: World) -> None:
    world.checked.clear()
    world.checked_records.clear()


def test_a_sound_world_passes(world: World) -> None:
    check_quiet(world)


def test_an_act_that_the_rules_forbid_is_seen(world: World) -> None:
    node = world.nodes["n2"]
    act = _act(node, world.rng, Kind.ANNUL, AnnulBody(act=bytes(32)))
    assert act is not None
    _write(node, lambda: node.store.put(act.id, act.raw))
    _forget_checks(world)
    with pytest.raises(CheckFailed, match="validity: n2 holds an act"):
        check_always(world)


def test_an_element_missing_in_the_store_is_seen(world: World) -> None:
    node = world.nodes["n1"]
    last = node.store.in_arrival_order([identifier for _, identifier in node.machine.members.ids])[-1]
    _write(node, lambda: node.store.discard(last))
    _forget_checks(world)
    with pytest.raises(CheckFailed, match="validity: n1's ids"):
        check_always(world)


def test_a_view_that_is_not_the_stores_is_seen(world: World) -> None:
    view = world.nodes["n1"].machine.members.view
    live = view._decided.live[world.key("n2").public.pid]
    del live[next(iter(live))]
    _forget_checks(world)
    with pytest.raises(CheckFailed, match="n1's view"):
        check_always(world)


def test_a_lost_promise_is_seen(world: World) -> None:
    world.promised[bytes(32)] = "n0"
    with pytest.raises(CheckFailed, match="promises: n0 has lost the grant 00000000"):
        check_always(world)


def test_a_promise_kept_at_its_issuer_only_is_seen(world: World) -> None:
    world.network.part(["n0"])
    renew(world, world.creator, "n2")
    with pytest.raises(CheckFailed, match=r"agreement|promises"):
        check_quiet(world)


def test_a_credential_that_is_not_the_best_is_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    members = world.nodes["n2"].machine.members
    older = min(members.view.delivered(world.key("n2").public.pid), key=lambda grant: grant.window.start)
    monkeypatch.setattr(members, "own_grant", lambda at_s: older)
    with pytest.raises(CheckFailed, match="own credential: n2"):
        check_always(world)


@pytest.mark.parametrize(("what", "name"), [("members.held", "held"), ("members.quarantined", "quarantined")])
def test_holding_too_much_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, name: str
) -> None:
    members = world.nodes["n1"].machine.members
    monkeypatch.setattr(type(members), what.partition(".")[2], property(lambda members: 1_000_000))
    with pytest.raises(CheckFailed, match=f"bounds: .*{name} 1000000"):
        check_always(world)


def test_too_many_addresses_are_seen(world: World) -> None:
    dialling = world.nodes["n1"].machine.dialling
    dialling.learn([f"x{number}:1" for number in range(KNOWN_ADDRESSES_MAX)], ())
    (entry, *_) = dialling._known.values()
    dialling._known["one:more"] = entry
    with pytest.raises(CheckFailed, match=f"addresses {KNOWN_ADDRESSES_MAX + 1}"):
        check_always(world)


def test_too_many_links_are_seen(world: World) -> None:
    links = world.nodes["n1"].machine.links
    (link, *_) = links
    for number in range(LINKS_MAX):
        links._links[1_000 + number] = replace(link, id=1_000 + number, node_id=number.to_bytes(16, "big"))
    with pytest.raises(CheckFailed, match="links"):
        check_always(world)


def test_a_neighbor_that_is_no_member_is_seen(world: World) -> None:
    (link, *_) = world.nodes["n1"].machine.links
    link.key, link.bundle = PrivateKey.from_seed(bytes(32)).public, None
    with pytest.raises(CheckFailed, match="no member"):
        check_always(world)


def test_two_links_to_one_node_and_one_to_oneself_are_seen(world: World) -> None:
    node = world.nodes["n1"]
    one, other = node.machine.links
    mine, one.node_id = one.node_id, other.node_id
    with pytest.raises(CheckFailed, match="two links"):
        check_always(world)
    one.node_id = node.node_id
    with pytest.raises(CheckFailed, match="itself"):
        check_always(world)
    one.node_id = mine


def test_a_session_left_over_is_seen(world: World) -> None:
    synchronize = world.nodes["n1"].machine.synchronize
    partner = next(iter(synchronize._partners.values()))
    synchronize._begin(partner, Namespace.AUTH, world.nodes["n1"].moment())
    with pytest.raises(CheckFailed, match="sessions: n1"):
        check_quiet(world)


def test_an_overfull_outbox_ends_the_connection_before_the_check_could_see_it(world: World) -> None:
    end = next(iter(world.creator.ends().values()))
    for _ in range(100):
        end.send(bytes(60_000))
    assert not end.open
    check_always(world)


def test_a_tick_that_leaves_its_deadline_is_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    node = world.nodes["n1"]
    monkeypatch.setattr(node.machine.dialling, "next_deadline", lambda links: 0)
    with pytest.raises(AssertionError, match="leaves 0 due"):
        world.run(MINUTE)


def test_nodes_without_agreement_are_named(world: World) -> None:
    world.command(world.nodes["n2"], Connect((), only=True))
    until(world, world.agreed, MINUTE)
    members = world.nodes["n2"].machine.members
    second, identifier = list(members.ids)[-1]
    members.ids.discard(second, identifier)
    with pytest.raises(CheckFailed, match=r"agreement: n0 and n2|validity"):
        check_quiet(world)
