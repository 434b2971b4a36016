"""Records between whole machines: what one writes, all have, bodies and all, and the writer is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import combinations

import pytest

from protocol.limits import (
    BODY_FLOODED_BYTES_MAX,
    BODY_RETRY_MS_MIN,
    BODY_TRANSFERRED_BYTES_MAX,
    DIGEST_DIFFERS_MS,
    MARK_S,
    PIECE_BYTES_MAX,
    SETTLED_S,
    SUMMARY_QUIET_MS,
)
from protocol.machines.events import (
    AddRecord,
    DeleteRecord,
    LinkDown,
    LinkUp,
    Output,
    Replicated,
    Result,
    Send,
    Tick,
    UpdateRecord,
    Written,
)
from protocol.machines.link import Link
from protocol.machines.record_keeping import header_in
from protocol.records.record import RecordItem, body_hash_of
from protocol.wire.messages import Message, Piece, Reconcile, Records, Transfer, WantBody
from tests.protocol.machines.playing import Player, news, node_id, only, received, said
from tests.support.builders import NOW, after
from tests.support.keys import named
from tests.support.records import PEOPLE, Writer, circle


class Mesh:
    """Machines of the circle, and links between them; a link's number is the other's place."""

    def __init__(self, count: int) -> None:
        self.players = [Player.of(circle(), name, seed=n) for n, name in enumerate(PEOPLE[:count])]
        self.queues: dict[tuple[int, int], deque[Message]] = {}
        self.replicated: list[tuple[int, bytes, int]] = []
        self.log: list[tuple[int, int, Message]] = []
        self.seconds = 0.0

    def join(self, *pairs: tuple[int, int]) -> None:
        """The first of each pair dials the second."""
        for one, other in pairs:
            exporter = bytes([min(one, other), max(one, other)]) * 16
            for source, target, dialled in ((one, other, True), (other, one, False)):
                self.queues[source, target] = deque()
                name = PEOPLE[target]
                address = f"{name}:1" if dialled else None
                up = LinkUp(target, named(name).public, node_id(name), address, None, exporter)
                self.perform(source, self.players[source].tell(up))
        self.deliver()

    def part(self, one: int, other: int) -> None:
        for source, target in ((one, other), (other, one)):
            del self.queues[source, target]
            self.perform(source, self.players[source].tell(LinkDown(target)))

    def perform(self, source: int, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, Send) and (source, output.link) in self.queues:
                self.queues[source, output.link].append(output.message)
                self.log.append((source, output.link, output.message))
            elif isinstance(output, Replicated):
                self.replicated.append((source, output.version_id, output.neighbors))

    def step(self, source: int, target: int) -> None:
        """Deliver the oldest message of one side."""
        message = self.queues[source, target].popleft()
        self.perform(target, self.players[target].tell(received(source, message)))

    def deliver(self) -> None:
        while waiting := [pair for pair, queue in self.queues.items() if queue]:
            for source, target in waiting:
                if self.queues.get((source, target)):
                    self.step(source, target)

    def write(self, place: int, command: AddRecord | UpdateRecord | DeleteRecord) -> Written:
        outputs = self.players[place].tell(command)
        self.perform(place, outputs)
        (result,) = only(Result, outputs)
        assert isinstance(result.value, Written)
        return result.value

    def wait(self, seconds: float) -> None:
        """Let time pass, second by second."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += 1
            for place, player in enumerate(self.players):
                player.now = after(self.seconds)
                self.perform(place, player.tell(Tick()))
            self.deliver()

    def shown(self, place: int, record_id: bytes) -> bytes | None:
        return self.players[place].store.shown(record_id)

    def link(self, place: int, other: int) -> Link:
        link = self.players[place].machine.links.get(other)
        assert link is not None
        return link


SIZES = [0, 1, BODY_FLOODED_BYTES_MAX, BODY_FLOODED_BYTES_MAX + 1, 3 * PIECE_BYTES_MAX]


def add(body: bytes, *, expires: int | None = None) -> AddRecord:
    return AddRecord("note", (), body, expires)


@pytest.fixture
def mesh():
    """Four machines, each with a link to each other."""
    made = Mesh(4)
    made.join(*combinations(range(4), 2))
    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("life_s", [None, 3600])
def test_what_is_written_reaches_all_and_the_writer_is_told_of_each(mesh, size, life_s):
    body = b"b" * size
    written = mesh.write(3, add(body, expires=None if life_s is None else NOW.utc_s + life_s))
    mesh.deliver()
    for place in range(4):
        assert mesh.shown(place, written.record_id) == written.version_id
        assert not size or mesh.players[place].store.body(body_hash_of(body)) == body
    assert [one for one in mesh.replicated if one[1] == written.version_id] == [
        (3, written.version_id, count) for count in (1, 2, 3)
    ]


def test_change_and_deletion_reach_all(mesh):
    written = mesh.write(3, add(b"one"))
    mesh.deliver()
    changed = mesh.write(3, UpdateRecord(written.record_id, body=b"two"))
    mesh.deliver()
    assert {mesh.shown(place, written.record_id) for place in range(4)} == {changed.version_id}
    mesh.write(0, DeleteRecord(written.record_id))
    mesh.deliver()
    assert {mesh.shown(place, written.record_id) for place in range(4)} == {None}


def test_large_body_goes_down_a_line():
    line = Mesh(4)
    line.join((0, 1), (1, 2), (2, 3))
    body = b"l" * (5 * PIECE_BYTES_MAX + 1)
    written = line.write(0, add(body))
    line.deliver()
    assert all(player.store.body(body_hash_of(body)) == body for player in line.players)
    assert {place: count for place, version, count in line.replicated if version == written.version_id} == {
        0: 1
    }


@pytest.mark.parametrize("size", [10, BODY_TRANSFERRED_BYTES_MAX + 1])
@pytest.mark.parametrize("dialler", [0, 1])
def test_what_was_written_apart_comes_when_they_meet_and_the_writer_is_told(size, dialler):
    pair = Mesh(2)
    body = b"x" * size
    written = [pair.write(place, add(bytes([place]) + body)) for place in (0, 1)]
    pair.wait(40)
    pair.join((dialler, 1 - dialler))
    for place in (0, 1):
        for other in (0, 1):
            assert pair.shown(place, written[other].record_id) == written[other].version_id
            assert pair.players[place].store.has_body(body_hash_of(bytes([other]) + body))
    assert sorted(pair.replicated) == sorted((place, written[place].version_id, 1) for place in (0, 1))


def test_those_who_meet_again_compare_what_is_recent_alone():
    pair = Mesh(2)
    pair.join((0, 1))
    for number in range(30):
        pair.write(number % 2, add(bytes([number])))
        pair.wait(1)
    pair.wait(60)
    assert pair.players[0].machine.synchronize.in_step(pair.link(0, 1))
    pair.part(0, 1)
    late = pair.write(0, add(b"late"))
    pair.wait(60)
    pair.log.clear()
    pair.join((0, 1))
    assert pair.shown(1, late.record_id) == late.version_id
    assert not any(isinstance(message, Reconcile) for _, _, message in pair.log)
    assert sum(len(message.elements) for _, _, message in pair.log if isinstance(message, Transfer)) == 1


def test_idle_machines_agree_and_begin_no_sessions(mesh):
    for place in range(4):
        mesh.write(place, add(b"something"))
        mesh.deliver()
    mesh.wait(40)
    mesh.log.clear()
    mesh.wait(150)
    assert not any(isinstance(message, (Reconcile, Piece)) for _, _, message in mesh.log)
    for place, other in combinations(range(4), 2):
        assert mesh.players[place].machine.synchronize.in_step(mesh.link(place, other))


def test_large_body_that_nobody_has_yet_is_not_promised(mesh):
    """The neighbor has the header, and says so only when it has the body."""
    written = mesh.write(0, add(b"y" * (BODY_FLOODED_BYTES_MAX + 1)))
    message = mesh.queues[0, 1].popleft()
    mesh.perform(1, mesh.players[1].tell(received(0, message)))
    assert mesh.replicated == []
    mesh.deliver()
    assert mesh.replicated[0] == (0, written.version_id, 1)


def lose(mesh: Mesh, source: int, target: int) -> None:
    """What was said on one side of a link is left out, as news is when an outbox is full."""
    mesh.queues[source, target].clear()


def healed_after(mesh: Mesh, seconds_max: int, written: Written, place: int) -> int:
    """After how many seconds a node shows a version, with its body."""
    store = mesh.players[place].store
    for second in range(1, seconds_max + 1):
        mesh.wait(1)
        if store.shown(written.record_id) == written.version_id and not store.wanted_bodies(b"", 1):
            return second
    raise AssertionError(f"not in {seconds_max} s")


@pytest.mark.parametrize("begins_s", range(0, MARK_S, 3))
def test_news_that_was_left_out_is_mended_soon_after_the_next_mark(begins_s):
    """The digests of both are told when the mark has passed it, and not some time later."""
    mesh = Mesh(2)
    mesh.join((0, 1))
    mesh.wait(20 + begins_s)
    written = mesh.write(0, add(b"left out" * 100))
    lose(mesh, 0, 1)
    quiet_s, differs_s = SUMMARY_QUIET_MS // 1000, DIGEST_DIFFERS_MS // 1000
    assert healed_after(mesh, 60, written, 1) <= MARK_S + SETTLED_S + quiet_s + differs_s + 2


def test_body_that_came_late_to_whom_it_was_asked_of_comes_though_the_word_is_lost():
    """Node 2 hears of a version from 1 before that has the body. The writer, 0, is no neighbor of 2."""
    mesh = Mesh(3)
    mesh.join((0, 1), (1, 2))
    written = mesh.write(0, add(b"x" * 3 * PIECE_BYTES_MAX))
    mesh.step(0, 1)
    mesh.step(1, 2)
    while mesh.queues[2, 1]:
        mesh.step(2, 1)
    while mesh.queues[1, 2]:
        mesh.step(1, 2)
    while mesh.queues[0, 1] or mesh.queues[1, 0]:
        for pair in ((0, 1), (1, 0)):
            if mesh.queues[pair]:
                mesh.step(*pair)
    lose(mesh, 1, 2)
    assert mesh.players[2].store.wanted_bodies(b"", 1)
    assert healed_after(mesh, 20, written, 2) <= 2 * BODY_RETRY_MS_MIN // 1000


def test_whoever_lacks_a_body_hears_again_of_the_version_and_who_has_it_whole_does_not():
    mesh = Mesh(2)
    mesh.join((0, 1))
    written = mesh.write(0, add(b"x" * PIECE_BYTES_MAX))
    header = header_in(mesh.players[0].store, written.version_id)
    machine = mesh.players[1].machine
    assert not machine.has_whole(header)
    mesh.step(0, 1)
    assert machine.data.records.holds(header)
    assert not machine.has_whole(header)
    mesh.deliver()
    assert machine.has_whole(header)
    assert mesh.players[0].machine.has_whole(header)


def test_body_of_a_version_that_waited_for_its_credential_is_fetched():
    """The version came before the grant it was written under, from a neighbor that has the body."""
    group = circle()
    dave = Writer.of(group, "dave")
    item = dave.add(body=b"z" * (BODY_FLOODED_BYTES_MAX + 1))
    late = [one for one in group.elements if dave.cred in (one.id, getattr(one, "act_id", None))]
    assert late
    player = Player.of(group, "alice", [one for one in group.elements if one not in late])
    player.meet(1, "bob")
    early = player.hear(1, Records((RecordItem(item.header).raw,), False))
    assert not any(isinstance(message, WantBody) for message in said(early))
    outputs = player.hear(1, news(*late))
    assert player.store.shown(item.header.record_id) == item.header.id
    assert WantBody(item.header.body_hash or b"", 0) in said(outputs, 1)
