"""Records between whole machines: what one writes, all have, bodies and all, and the writer is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import combinations

import pytest

from protocol.limits import BODY_FLOODED_BYTES_MAX, BODY_TRANSFERRED_BYTES_MAX, PIECE_BYTES_MAX
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
from protocol.records.record import body_hash_of
from protocol.wire.messages import Message, Piece, Reconcile, Transfer
from tests.protocol.machines.playing import Player, node_id, only, received
from tests.support.builders import NOW, after
from tests.support.keys import named
from tests.support.records import PEOPLE, circle


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

    def deliver(self) -> None:
        while waiting := [pair for pair, queue in self.queues.items() if queue]:
            for source, target in waiting:
                if self.queues.get((source, target)):
                    message = self.queues[source, target].popleft()
                    self.perform(target, self.players[target].tell(received(source, message)))

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
