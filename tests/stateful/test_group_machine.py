"""Any sequence of what users and the world can do to a small group leaves every invariant standing.

The machines, stores and handshakes are real; hypothesis chooses what happens, and in which order messages
that any node has ever seen come again. What it finds shrinks to a few steps.
"""

from __future__ import annotations

import random

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.authority.root import commitment_of
from protocol.authority.root_acts import RecoverySet, RotateWish
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import KeyWanted, make_root_document
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER
from protocol.limits import HLC_AHEAD_MS_MAX
from protocol.machines.events import Connect, Disconnect, Received, RotateRoot
from protocol.peer_time import hlc_ms
from protocol.sim.checks import check_always, check_quiet
from protocol.sim.node import Node
from protocol.sim.opening import read_element
from protocol.sim.world import World
from protocol.wire.messages import News
from tests.support.keys import named

NAMES = ("n0", "n1", "n2", "n3")
SECOND = 1_000
AGREE_MS_MAX = 120 * SECOND

names = st.sampled_from(NAMES)
roles = st.sampled_from((ADMIN, INVITING_MEMBER, MEMBER))
pauses = st.sampled_from((1, 20, 300, 3 * SECOND, 20 * SECOND, 70 * SECOND))


class Groups(RuleBasedStateMachine):
    """Four nodes, of which n0 founded the group and n1 may issue too."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.recovery: dict[bytes, PrivateKey] = {}  # by what a root version commits to

    @initialize(seed=st.integers(0, 3))
    def gather(self, seed: int) -> None:
        self.world = World(random.Random(seed))
        self.world.admit(["n1"], ADMIN)
        self.world.admit(["n2", "n3"], MEMBER)
        self.recovery = {commitment_of([self.world.recovery.public], 1): self.world.recovery}

    def node(self, name: str) -> Node | None:
        """A node that is up."""
        node = self.world.nodes[name]
        return node if node.up and not node.stopping else None

    def ask(self, issuer: str, request: IssueRequest) -> None:
        node = self.node(issuer)
        if node is not None:
            self.world.ask_for(node, [request])

    # --- users ----------------------------------------------------------------------------------------------

    @rule(issuer=names, subject=names, store=st.booleans())
    def renew(self, issuer: str, subject: str, store: bool) -> None:
        self.ask(issuer, self.world.renewal(subject, store=store))

    @rule(issuer=names, subject=st.sampled_from((*NAMES, "guest", "other")), role=roles)
    def issue(self, issuer: str, subject: str, role: int) -> None:
        key = self.world.key(subject).public
        info = CredentialInfo(role=role)
        self.ask(issuer, IssueRequest(self.world.peer_name(subject), key, info, store=True))

    @rule(name=names, number=st.integers(0, 2))
    def rotate(self, name: str, number: int) -> None:
        """Replace the root as this node sees it, maybe while others do."""
        node = self.node(name)
        root = None if node is None else node.machine.members.view.root
        if node is None or root is None:
            return
        used, after = self.recovery[root.commitment], named(f"recovery {root.version}/{name}/{number}")
        new = named(f"root {root.version}/{name}/{number}")
        wish = RotateWish(
            documents=(make_root_document(KeyWanted(GroupFacts.of(root)), new),),
            revealed=RecoverySet.of([used.public]),
            recovery=RecoverySet.of([after.public]),
        )
        self.recovery[wish.recovery.commitment] = after
        node.submit(RotateRoot(wish, (used,), trust_clock=True), refused=lambda _: None)

    @rule(name=names, other=names)
    def connect(self, name: str, other: str) -> None:
        node = self.node(name)
        if node is not None:
            node.submit(Connect((f"{other}:3587",)))

    @rule(name=names)
    def disconnect(self, name: str) -> None:
        node = self.node(name)
        if node is not None:
            node.submit(Disconnect())

    # --- the world ------------------------------------------------------------------------------------------

    @rule(ms=pauses)
    def wait(self, ms: int) -> None:
        self.world.run(ms)

    @rule(side=st.sets(names, min_size=1, max_size=3))
    def part(self, side: set[str]) -> None:
        self.world.network.part(sorted(side))

    @rule()
    def mend(self) -> None:
        self.world.network.mend()

    @rule(name=names, silently=st.booleans())
    def crash(self, name: str, silently: bool) -> None:
        node = self.node(name)
        if node is not None:
            node.crash(silently=silently)

    @rule(name=names)
    def stop(self, name: str) -> None:
        node = self.node(name)
        if node is not None:
            node.stop()

    @rule(name=names)
    def start(self, name: str) -> None:
        if not self.world.nodes[name].up:
            self.world.nodes[name].start()

    @rule(name=names, skew_s=st.sampled_from((-900, -200, 0, 200, 900)))
    def set_clock(self, name: str, skew_s: int) -> None:
        self.world.nodes[name].skew_ms = skew_s * SECOND

    @precondition(lambda self: any(len(node.ends()) for node in self.world.honest()))
    @rule(data=st.data())
    def break_a_link(self, data: st.DataObject) -> None:
        ends = self.world.network.open_ends()
        if ends:
            self.world.network.reset(ends[data.draw(st.integers(0, len(ends) - 1))])

    @rule(name=names, source=names, data=st.data())
    def deliver_again(self, name: str, source: str, data: st.DataObject) -> None:
        """Some of what another node holds comes once more, in any order, over some link."""
        node, other = self.node(name), self.world.nodes[source]
        held = list(other.machine.members.ids)
        if node is None or not node.ends() or not held or not other.up:
            return
        chosen = data.draw(st.lists(st.sampled_from([i for _, i in held]), min_size=1, max_size=8))
        raws = [raw for i in chosen if (raw := other.store.get(i)) is not None]
        link = data.draw(st.sampled_from(sorted(node.ends())))
        node.submit(Received(link, News(tuple(raws)), tuple(read_element(raw) for raw in raws)))

    # --- what must hold -------------------------------------------------------------------------------------

    @invariant()
    def all_is_sound(self) -> None:
        if hasattr(self, "world"):
            check_always(self.world)

    def teardown(self) -> None:
        """Mend everything: the group must agree on all that was promised."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.network.mend()
        world.run(SECOND)
        for node in world.nodes.values():
            node.skew_ms = 0
            if not node.up:
                node.start()
            node.submit(Connect(("n0:3587",)))
        latest_ms = max(hlc_ms(node.machine.members.view.latest_hlc) for node in world.honest())
        world.run(max(0, latest_ms - HLC_AHEAD_MS_MAX - world.now_s * SECOND))
        took = world.run_until(world.agreed, AGREE_MS_MAX)
        assert took is not None, f"no agreement\n{world.trace.tail(60)}"
        world.run(90 * SECOND)
        check_quiet(world)


TestGroups = Groups.TestCase
TestGroups.settings = settings(stateful_step_count=30)
