"""The simulated network does to streams what TCP does, and no more."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from protocol.limits import OUTBOX_BYTES_MAX, OUTBOX_FLOOD_BYTES_MAX
from protocol.sim.network import CONNECT_MS_MAX, End, Network, Weather
from protocol.sim.schedule import Schedule


@dataclass
class Place:
    """A host that writes down what reaches it."""

    name: str
    up: bool = True
    calls: list[End] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    ended: int = 0

    def on_call(self, end: End) -> Place:
        self.calls.append(end)
        return self

    def on_frame(self, payload: bytes) -> None:
        self.heard.append(payload)

    def on_end(self) -> None:
        self.ended += 1


class Pair:
    """Two places with a connection from a to b."""

    def __init__(self, weather: Weather | None = None) -> None:
        self.schedule = Schedule()
        self.network = Network(self.schedule, random.Random(1), weather or Weather())
        self.a, self.b = Place("a"), Place("b")
        self.network.settle("b:1", self.b)
        self.end = self.connect()

    def connect(self) -> End:
        ends: list[End | None] = []
        self.network.call(self.a, "b:1", ends.append)
        self.run(1_000)
        (end,) = ends
        assert end is not None
        end.reader = self.a
        return end

    def run(self, ms: int) -> None:
        self.schedule.run_until(self.schedule.now_ms + ms)


def frames(count: int) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(count)]


def test_both_ends_know_one_secret() -> None:
    pair = Pair()
    (far,) = pair.b.calls
    assert pair.end.exporter == far.exporter
    assert pair.connect().exporter != far.exporter


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_frames_arrive_once_and_in_order_however_late(late: float) -> None:
    pair = Pair(Weather(travel_ms=(1, 200), late_share=late, late_ms=(100, 900)))
    for payload in frames(50):
        pair.end.send(payload)
        pair.run(3)
    pair.run(60_000)
    assert pair.b.heard == frames(50)


def test_a_narrow_connection_takes_its_time() -> None:
    pair = Pair(Weather(travel_ms=(1, 1), bytes_per_ms=10))
    pair.end.send(bytes(9_996))
    pair.run(1_000)
    assert pair.b.heard == []
    pair.run(2)
    assert len(pair.b.heard) == 1


def test_droppable_frames_are_left_out_of_a_full_outbox_and_others_end_the_connection() -> None:
    pair = Pair(Weather(bytes_per_ms=1))
    while pair.end.outbox_bytes < OUTBOX_FLOOD_BYTES_MAX - 100_000:
        pair.end.send(bytes(99_996))
    pair.end.send(bytes(120_000), droppable=True)
    assert pair.end.dropped == 1
    while pair.end.outbox_bytes <= OUTBOX_BYTES_MAX - 100_000:
        pair.end.send(bytes(99_996))
    assert pair.end.open
    pair.end.send(bytes(99_996))
    pair.run(1_000)
    assert (pair.a.ended, pair.b.ended) == (1, 1)


def test_what_was_sent_before_closing_arrives_before_the_end() -> None:
    pair = Pair()
    pair.end.send(b"last")
    pair.end.close()
    pair.end.send(b"too late")
    pair.run(1_000)
    assert pair.b.heard == [b"last"]
    assert (pair.a.ended, pair.b.ended) == (0, 1)


def test_a_partition_holds_frames_back_and_tells_nobody() -> None:
    pair = Pair()
    pair.network.part(["b"])
    pair.end.send(b"one")
    pair.end.send(b"two")
    pair.run(60_000)
    assert pair.b.heard == []
    assert (pair.a.ended, pair.b.ended) == (0, 0)
    pair.network.mend()
    pair.end.send(b"three")
    pair.run(1_000)
    assert pair.b.heard == [b"one", b"two", b"three"]


def test_nobody_answers_across_a_partition_nor_where_nobody_listens() -> None:
    pair = Pair()
    answers: list[End | None] = []
    pair.network.part(["b"])
    pair.network.call(pair.a, "b:1", answers.append)
    pair.run(CONNECT_MS_MAX - 1)
    assert answers == []
    pair.run(1)
    pair.network.mend()
    pair.network.call(pair.a, "c:1", answers.append)
    pair.b.up = False
    pair.network.call(pair.a, "b:1", answers.append)
    pair.run(1_000)
    assert answers == [None, None, None]


def test_a_reset_loses_what_is_under_way_and_both_learn_it() -> None:
    pair = Pair()
    pair.end.send(b"lost")
    pair.network.reset(pair.end)
    pair.run(1_000)
    assert pair.b.heard == []
    assert (pair.a.ended, pair.b.ended) == (1, 1)


def test_a_process_that_dies_takes_what_had_not_left_and_its_neighbors_learn_it() -> None:
    pair = Pair(Weather(travel_ms=(1, 1), bytes_per_ms=1))
    pair.end.send(b"sent")
    pair.run(9)
    pair.end.send(bytes(5_000))
    pair.network.kill("a", silently=False)
    pair.run(10_000)
    assert pair.b.heard == [b"sent"]
    assert pair.b.ended == 1


def test_a_power_cut_is_learnt_from_silence_or_from_the_process_that_comes_after() -> None:
    pair = Pair()
    (far,) = pair.b.calls
    pair.network.kill("a", silently=True)
    pair.a.up = False
    far.send(b"are you there")
    pair.run(10_000)
    assert (pair.a.heard, pair.b.ended) == ([], 0)
    pair.a.up = True
    far.send(b"and now")
    pair.run(1_000)
    assert (pair.a.heard, pair.b.ended) == ([], 1)
