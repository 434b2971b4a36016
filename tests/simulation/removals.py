"""What the simulated tests of removal share: what a removed key may still sign, and who carries it about."""

from __future__ import annotations

from collections.abc import Iterable

from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.bodies import Kind, RevokeKeyBody
from protocol.authority.grants import Grant
from protocol.ids import CHAIN_BYTES
from protocol.machines.events import AddRecord, Connect, Written
from protocol.peer_time import hlc_at
from protocol.records.record import Header, RecordItem, new_record_id, sign_header
from protocol.sim.node import Node
from protocol.sim.revoking import Deaf, enlist
from protocol.sim.world import World
from protocol.wire.messages import News, Records, encode_message
from tests.simulation.worlds import MINUTE, until


def grant_of(world: World, name: str) -> Grant:
    """The credential that somebody has, or had until it was revoked."""
    (grant,) = world.creator.machine.members.view.grants_ever(world.key(name).public.pid)
    return grant


def ban_by(world: World, author: str, target: str, at_ms: int) -> Act:
    """A ban that somebody signs on a new chain, whatever it may do and whenever it says that it was."""
    grant = grant_of(world, author)
    place = Place(
        gid=world.gid,
        author=grant.pid,
        chain=world.rng.randbytes(CHAIN_BYTES),
        seq=1,
        prev=None,
        level=grant.level,
        cred=grant.act_id,
        hlc=hlc_at(at_ms),
    )
    body = RevokeKeyBody(key=world.key(target).public.raw, data="drop")
    return sign_act(place, Kind.REVOKE_KEY, body, [world.key(author)])


def version_by(world: World, author: str, at_ms: int) -> Header:
    """A record that somebody signs, whenever it says that it was."""
    grant = grant_of(world, author)
    hlc = hlc_at(at_ms)
    return sign_header(
        world.key(author),
        gid=world.gid,
        record_id=new_record_id(world.gid, grant.pid, True, world.rng.randbytes(8)),
        type="note",
        creator=grant.pid,
        cred=grant.act_id,
        created=hlc,
        hlc=hlc,
    )


def send(node: Node, acts: Iterable[Act] = (), versions: Iterable[Header] = ()) -> None:
    """Send this on all links that there are, without a look."""
    for end in node.ends().values():
        end.send(encode_message(News(tuple(act.raw for act in acts))))
        end.send(encode_message(Records(tuple(RecordItem(one).raw for one in versions), False)))


def add(world: World, node: Node) -> Written:
    """A record that a node's user adds."""
    written = world.command(node, AddRecord("note", (), b"hello"))
    assert isinstance(written, Written)
    return written


def shows(node: Node, record_id: bytes) -> bool:
    """Whether readers see a record."""
    return node.store.shown(record_id) is not None


def is_member(world: World, node: Node, name: str) -> bool:
    """Whether a node takes somebody for a member."""
    return node.machine.members.view.current(world.key(name).public.pid, world.now_s) is not None


def addresses(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Where nodes listen."""
    return tuple(node.address for node in nodes)


def with_mole(world: World, role: int) -> tuple[Deaf, list[Deaf]]:
    """A member that will not hear of its removal, and three others that will not either; they have links
    with each other, and the three with honest nodes.
    """
    mole = enlist(world, "mole", role, "mole")
    friends = [enlist(world, f"friend{number}", 3, "mole") for number in range(3)]
    for friend in friends:
        friend.submit(Connect((world.creator.address, mole.address), only=True))

    def linked() -> bool:
        peers = [[end.peer for end in friend.ends().values()] for friend in friends]
        grants = [node.machine.members.own_grant(world.now_s) for node in (mole, *friends)]
        known = [one is not None and mole.machine.members.view.admitted(one.act_id) for one in grants]
        return all(known) and all("mole" in one and "n0" in one for one in peers)

    until(world, world.agreed, MINUTE)
    until(world, linked, 2 * MINUTE)
    return mole, friends
