"""Any sequence of what users and the world can do to records leaves every invariant standing.

The machines, stores and handshakes are real; hypothesis chooses what happens: writes at any node, clocks
that are wrong by years, crashes before a commit, months of sleep, links that break, versions that come again
in any order. After every step all that must always hold is checked (`protocol.sim.checks`), and after
everything has been mended what must hold then, on a node that gets all of it in yet another order too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocol.credentials.roles import ADMIN, MEMBER
from protocol.limits import CLOCK_DIFFERENCE_MS_MAX
from protocol.machines.events import AddRecord, Connect, DeleteRecord, Import, Received, UpdateRecord
from protocol.records.attributes import STRING, Attribute
from protocol.records.record import Header, RecordItem
from protocol.records.reserved import is_reserved
from protocol.sim.checks import check_always
from protocol.sim.history import shown_of
from protocol.sim.node import COMMIT_MS, Node
from protocol.sim.opening import read_element, read_item
from protocol.sim.record_checks import read_header
from protocol.sim.scenario import AGREE_MS_MAX, mend
from protocol.sim.world import World, held_by
from protocol.wire.messages import Records

SECOND = 1_000
DAY = 86_400 * SECOND
YEAR = 365 * DAY
NAMES = ("n0", "n1", "n2", "n3", "n4")
VALID_S = 30 * 365 * 86_400  # of credentials: longer than any run sleeps

EXAMPLES = max(10, settings().max_examples // 2)  # of the quick form

names = st.sampled_from(NAMES)
numbers = st.integers(0, 7)
# Drawn by their sizes: hypothesis writes the values of a strategy out where it describes it.
bodies = st.sampled_from((0, 5, 300, 20_000, 70_000)).map(lambda size: bytes([size % 251]) * size)
lives_s = st.sampled_from((None, None, 20, 600, 3 * 86_400, 80 * 86_400))
pauses = st.sampled_from((1, 30, 400, 5 * SECOND, 40 * SECOND))
skews = st.sampled_from((0, 0, 200 * SECOND, -200 * SECOND, DAY, -DAY, 100 * DAY, 10 * YEAR, -10 * YEAR))


@dataclass(frozen=True)
class Wish:
    """What somebody wants of a record."""

    name: str
    kind: str
    number: int
    body: bytes
    life_s: int | None
    refresh: bool


wishes = st.builds(
    Wish,
    names,
    st.sampled_from(("add", "update", "update", "delete")),
    numbers,
    bodies,
    lives_s,
    st.booleans(),
)


class RecordsOfAGroup(RuleBasedStateMachine):
    """Three to five nodes; n0 founded the group and n1 is an administrator too."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World

    @initialize(
        seed=st.integers(0, 3), members=st.integers(1, 3), first=st.lists(wishes, min_size=2, max_size=6)
    )
    def gather(self, seed: int, members: int, first: list[Wish]) -> None:
        self.world = World(random.Random(seed))
        self.world.admit(["n1"], ADMIN, valid_s=VALID_S)
        self.world.admit(NAMES[2 : 2 + members], MEMBER, valid_s=VALID_S)
        self.world.run(SECOND)
        self.submit(first)
        self.world.run(SECOND)

    def node(self, name: str) -> Node | None:
        """A node of this group that is up."""
        node = self.world.nodes.get(name)
        return node if node is not None and node.up and not node.stopping else None

    def chosen(self, node: Node, number: int) -> Header | None:
        """One of the records that a node shows."""
        shown = [one for one in shown_of(node).values() if not is_reserved(one.type)]
        return shown[number % len(shown)] if shown else None

    # --- users ----------------------------------------------------------------------------------------------

    @rule(several=st.lists(wishes, min_size=1, max_size=4))
    def write(self, several: list[Wish]) -> None:
        self.submit(several)

    def submit(self, several: list[Wish]) -> None:
        for wish in several:
            node = self.node(wish.name)
            if node is not None:
                self.submit_one(node, wish)

    def submit_one(self, node: Node, wish: Wish) -> None:
        known = self.chosen(node, wish.number)
        if known is None or wish.kind == "add":
            expires = None if wish.life_s is None else node.moment().utc_s + wish.life_s
            self.world.write(node, AddRecord("note", (), wish.body, expires, wish.refresh and bool(expires)))
        elif wish.kind == "delete":
            self.world.write(node, DeleteRecord(known.record_id))
        else:
            attributes = (Attribute("title", STRING, wish.kind),)
            self.world.write(node, UpdateRecord(known.record_id, attributes, wish.body))

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

    @rule(name=names, other=names)
    def synchronize(self, name: str, other: str) -> None:
        """Let two nodes meet, if nothing parts them."""
        node = self.node(name)
        if node is not None:
            node.submit(Connect((f"{other}:3587",)))
            self.world.run(40 * SECOND)

    @rule(name=names, silently=st.booleans(), after_ms=st.sampled_from((0, 0, 30)))
    def crash(self, name: str, silently: bool, after_ms: int) -> None:
        """What was asked of it a moment ago may be lost, and then nobody was told that it was done."""
        self.world.run(after_ms)
        node = self.node(name)
        if node is not None:
            node.crash(silently=silently)

    @rule(name=names)
    def start(self, name: str) -> None:
        node = self.world.nodes.get(name)
        if node is not None and not node.up:
            node.start()

    @rule(name=names, slow=st.booleans())
    def let_the_disk_be_slow(self, name: str, slow: bool) -> None:
        if name in self.world.nodes:
            self.world.nodes[name].commit_ms = (200, 400) if slow else COMMIT_MS

    @rule(name=names, skew_ms=skews)
    def set_clock(self, name: str, skew_ms: int) -> None:
        """No two clocks are wrong alike: they would confirm each other, and what is over by
        them would be over on their nodes until that day (DECISIONS.md).
        """
        nodes = self.world.nodes
        alike = [node for node in nodes.values() if abs(node.skew_ms - skew_ms) <= CLOCK_DIFFERENCE_MS_MAX]
        if name in nodes and (abs(skew_ms) <= CLOCK_DIFFERENCE_MS_MAX or not alike):
            nodes[name].skew_ms = skew_ms

    @rule(days=st.sampled_from((1, 40, 95)), awake=st.sets(names, max_size=2))
    def sleep(self, days: int, awake: set[str]) -> None:
        """All machines are off for a while; some stay off."""
        for node in self.world.nodes.values():
            if node.up:
                node.crash(silently=True)
        self.world.run(days * DAY)
        for node in self.world.nodes.values():
            if not awake or node.name in awake:
                node.start()

    @rule(number=st.integers(0, 30))
    def break_a_link(self, number: int) -> None:
        ends = self.world.network.open_ends()
        if ends:
            self.world.network.reset(ends[number % len(ends)])

    @rule(name=names, source=names, data=st.data())
    def deliver_again(self, name: str, source: str, data: st.DataObject) -> None:
        """Some of what another node has, kept or aside, comes once more, in any order, over some link."""
        node, other = self.node(name), self.node(source)
        if node is None or other is None or not node.ends():
            return
        held = _items(other)
        if held:
            chosen = data.draw(st.lists(st.sampled_from(held), min_size=1, max_size=8))
            link = data.draw(st.sampled_from(sorted(node.ends())))
            node.submit(Received(link, Records(tuple(one.raw for one in chosen), False), (), tuple(chosen)))

    # --- what must hold -------------------------------------------------------------------------------------

    @invariant()
    def all_is_sound(self) -> None:
        if hasattr(self, "world"):
            check_always(self.world)

    def teardown(self) -> None:
        """Mend everything: the group must agree, on what was promised too, in whatever order it came."""
        if hasattr(self, "world"):
            mend(self.world)
            _check_order(self.world)


def _items(node: Node) -> list[RecordItem]:
    """All versions at a node, kept and aside, with their bodies as a neighbor would get them."""
    ids = [version_id for _, version_id, _ in node.store.load_versions()]
    ids += [version_id for _, version_id in node.store.aside_oldest(10_000)]
    items = []
    for version_id in ids:
        header = read_header(node.store.header(version_id) or b"")
        body = None if header.body_hash is None or header.size > 256 else node.store.body(header.body_hash)
        items.append(read_item(RecordItem(header, body).raw))
    return items


def _check_order(world: World) -> None:
    """A node that gets everything at once, records before credentials and in any order, keeps the same."""
    # An owner may have refreshed a record a moment ago, and may again while the witness is told.
    assert world.run_until(world.agreed, AGREE_MS_MAX) is not None
    nodes = world.honest()
    horizon_s = max(node.machine.data.ids.horizon_s for node in nodes)
    agreed = held_by(nodes[0], horizon_s)
    everything = {item.header.id: item for node in nodes for item in _items(node)}
    items = list(everything.values())
    world.rng.shuffle(items)
    witness = world.make("witness", Node)
    witness.start()
    half = len(items) // 2
    world.command(witness, Import((), tuple(items[:half])))
    world.command(witness, Import(tuple(read_element(raw) for raw in nodes[0].store.load()), ()))
    world.command(witness, Import((), tuple(items[half:])))
    assert held_by(witness, horizon_s) == agreed


TestRecordsOfAGroup = RecordsOfAGroup.TestCase
TestRecordsOfAGroup.settings = settings(stateful_step_count=25, max_examples=EXAMPLES)


class ForLong(RecordsOfAGroup):
    """The same, with more steps, and as many examples as the profile has."""


TestForLong = pytest.mark.long(ForLong.TestCase)
TestForLong.settings = settings(stateful_step_count=60)
