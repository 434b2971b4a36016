"""Bodies: every body that is wanted and that somebody has comes, whole, from whoever has it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    BODIES_DENIED_MAX,
    BODIES_PER_LINK_MAX,
    BODIES_UNDER_WAY_MAX,
    BODIES_WANTED_MAX,
    BODY_ANNOUNCED_MAX,
    BODY_BYTES_MAX,
    BODY_PIECES_AHEAD,
    BODY_RETRY_MS_MAX,
    BODY_RETRY_MS_MIN,
    BODY_STALLED_MS,
    PIECE_BYTES_MAX,
)
from protocol.machines import bodies as bodies_module
from protocol.machines.bodies import Bodies, Body
from protocol.machines.events import LinkId, Output, Send
from protocol.records.memory import MemoryStore
from protocol.records.record import RecordItem, body_hash_of, decode_untrusted_item
from protocol.records.record_set import State
from protocol.wire.messages import Got, Message, Piece, Records, WantBody
from tests.protocol.machines.playing import only, said
from tests.support.builders import NOW, after
from tests.support.records import Writer, circle

SIZES = [1, PIECE_BYTES_MAX - 1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 5 * PIECE_BYTES_MAX + 3]


def records(*sizes: int) -> list[RecordItem]:
    """Versions with bodies that differ from one another."""
    dave = Writer.of(circle(), "dave")
    return [dave.add(body=bytes([number + 1]) * size) for number, size in enumerate(sizes)]


def lacks(items: Iterable[RecordItem]) -> list[tuple[bytes, int]]:
    return [(hash_of(item), item.header.size) for item in items]


def hash_of(item: RecordItem) -> bytes:
    assert item.header.body_hash is not None
    return item.header.body_hash


class Keeper:
    """A node: its store, its bodies, the time."""

    def __init__(self, known: Iterable[RecordItem] = (), *, whole: bool = False) -> None:
        self.store = MemoryStore()
        self.bodies = Bodies()
        self.now = NOW
        for item in known:
            self.know(item)
            if whole:
                self.keep(hash_of(item), item.body or b"")

    def know(self, item: RecordItem) -> None:
        self.store.begin()
        if self.store.version(item.header.id) is None:
            self.store.put_version(item.header, State.KEPT, 0)
            self.store.show(item.header)
        self.store.commit()

    def keep(self, body_hash: bytes, data: bytes) -> None:
        self.store.begin()
        self.store.put_body(body_hash, data)
        self.store.commit()

    def up(self, *links: LinkId) -> list[Output]:
        return [one for link in links for one in self.bodies.on_up(link, self.now, self.store)]

    def down(self, link: LinkId) -> list[Output]:
        return self.bodies.on_down(link, self.now, self.store)

    def announced(self, link: LinkId, *items: RecordItem, ask: bool = False) -> list[Output]:
        for item in items:
            self.know(item)
        lacking = [one for one in lacks(items) if not self.store.has_body(one[0])]
        return self.bodies.on_records(link, items, lacking, ask, self.now, self.store)

    def hear(self, link: LinkId, message: Message) -> list[Output]:
        match message:
            case WantBody():
                return self.bodies.answer(link, message, self.store)
            case Piece():
                body, outputs = self.bodies.on_piece(link, message, self.now, self.store)
                if body is not None:
                    self.keep(body.hash, body.data)
                return outputs
            case Records(items=raws):
                items = [decode_untrusted_item(raw) for raw in raws]
                return self.announced(link, *(item for item in items if item.body is None))
            case _:
                return []

    def tick(self, seconds: float) -> list[Output]:
        self.now = after(seconds)
        return self.bodies.on_tick(self.now, self.store)

    def lacking(self, items: Iterable[RecordItem]) -> list[RecordItem]:
        return [item for item in items if not self.store.has_body(hash_of(item))]


def asked(outputs: Iterable[Output]) -> list[tuple[LinkId, bytes, int]]:
    sends = [(one.link, one.message) for one in only(Send, outputs)]
    return [(link, message.hash, message.offset) for link, message in sends if isinstance(message, WantBody)]


class Row:
    """Keepers, each of which has a link to each other; the link's number is the other's place."""

    def __init__(self, *keepers: Keeper) -> None:
        self.keepers = keepers
        self.queues: dict[tuple[int, int], deque[Message]] = {}
        self.log: list[tuple[int, int, Message]] = []

    def say(self, source: int, outputs: Iterable[Output]) -> None:
        for send in only(Send, outputs):
            self.queues.setdefault((source, send.link), deque()).append(send.message)
            self.log.append((source, send.link, send.message))

    def meet(self, one: int, other: int) -> None:
        for source, target in ((one, other), (other, one)):
            self.say(source, self.keepers[source].up(target))

    def part(self, one: int, other: int) -> None:
        for source, target in ((one, other), (other, one)):
            self.queues.pop((source, target), None)
            self.say(source, self.keepers[source].down(target))

    def waiting(self) -> list[tuple[int, int]]:
        return [pair for pair, queue in self.queues.items() if queue]

    def step(self, source: int, target: int) -> None:
        message = self.queues[source, target].popleft()
        self.say(target, self.keepers[target].hear(source, message))

    def deliver(self) -> None:
        while waiting := self.waiting():
            self.step(*waiting[0])


# --- the result -------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(SIZES), min_size=1, max_size=12), st.data())
def test_every_body_that_a_neighbor_has_comes_wherever_links_break(sizes, data):
    items = records(*sizes)
    shares = [data.draw(st.sets(st.sampled_from(range(len(items))))) for _ in range(2)]
    here = set().union(*shares)
    asker = Keeper(items)
    givers = [Keeper([items[n] for n in share], whole=True) for share in shares]
    row = Row(asker, *givers)
    row.meet(0, 1)
    row.meet(0, 2)
    for _ in range(data.draw(st.integers(0, 30))):
        if not row.waiting():
            break
        if data.draw(st.integers(0, 9)) == 0:
            other = data.draw(st.integers(1, 2))
            row.part(0, other)
            row.meet(0, other)
        else:
            row.step(*data.draw(st.sampled_from(row.waiting())))
    row.deliver()
    assert asker.lacking(items) == [items[n] for n in range(len(items)) if n not in here]
    for number in here:
        assert asker.store.body(hash_of(items[number])) == items[number].body


@pytest.mark.parametrize("size", [*SIZES, BODY_BYTES_MAX])
def test_body_comes_in_pieces_of_64_kib_and_is_asked_for_a_few_ahead(size):
    (item,) = records(size)
    size = item.header.size
    asker, giver = Keeper(), Keeper([item], whole=True)
    row = Row(asker, giver)
    row.meet(0, 1)
    outputs = asker.announced(1, item)
    offsets = list(range(0, size, PIECE_BYTES_MAX))
    assert asked(outputs) == [(1, hash_of(item), offset) for offset in offsets[:BODY_PIECES_AHEAD]]
    row.say(0, outputs)
    row.deliver()
    assert asker.store.body(hash_of(item)) == item.body
    pieces = [message for _, _, message in row.log if isinstance(message, Piece)]
    assert [piece.offset for piece in pieces] == offsets
    assert all(len(piece.data) == PIECE_BYTES_MAX for piece in pieces[:-1])
    assert asker.bodies.wanted == asker.bodies.under_way == 0
    assert asker.bodies.next_deadline() is None


def test_what_is_lacking_after_a_restart_is_asked_of_the_first_neighbor():
    items = records(*[100] * 7)
    asker = Keeper(items)
    assert asker.bodies.wanted == 0
    wanted = asked(asker.up(1))
    assert [link for link, _, _ in wanted] == [1] * BODIES_PER_LINK_MAX
    assert asker.bodies.wanted == 7


# --- how many ---------------------------------------------------------------------------------------------


def test_few_are_fetched_at_a_time_from_one_neighbor_and_in_all():
    asker = Keeper(records(*[100] * 40))
    assert len(asked(asker.up(1))) == BODIES_PER_LINK_MAX
    for link in range(2, 7):
        asker.up(link)
    assert asker.bodies.under_way == BODIES_UNDER_WAY_MAX
    fetched = [one.pull.link for one in asker.bodies._wanted.values() if one.pull is not None]
    assert max(map(fetched.count, fetched)) <= BODIES_PER_LINK_MAX


def test_neighbor_that_is_slow_holds_back_its_own_bodies_alone():
    items = records(*[100] * 20)
    asker, giver = Keeper(items), Keeper(items, whole=True)
    row = Row(asker, giver, Keeper())
    row.meet(0, 2)
    row.queues.clear()  # the neighbor takes what is asked of it, and says nothing
    row.meet(0, 1)
    row.deliver()
    assert len(asker.lacking(items)) == BODIES_PER_LINK_MAX
    row.say(0, asker.tick(BODY_STALLED_MS / 1000))
    row.deliver()
    assert asker.lacking(items) == []


def test_what_is_remembered_as_lacking_is_bounded_and_the_rest_is_looked_up_later(monkeypatch):
    monkeypatch.setattr(bodies_module, "BODIES_WANTED_MAX", 5)
    assert BODIES_WANTED_MAX > 5
    items = records(*[100] * 23)
    asker, giver = Keeper(items[:20]), Keeper(items, whole=True)
    row = Row(asker, giver)
    row.meet(0, 1)
    assert asker.bodies.wanted == 5
    row.say(0, asker.announced(1, *items[20:]))
    assert asker.bodies.wanted == 5
    row.deliver()
    assert asker.lacking(items) == []


# --- who does not have it ---------------------------------------------------------------------------------


def test_who_announced_is_asked_and_then_the_others():
    (item,) = records(100)
    asker = Keeper()
    asker.up(1, 2)
    asker.know(item)
    assert asked(asker.announced(2, item)) == [(2, hash_of(item), 0)]
    nothing = Piece(hash_of(item), 0, 0, b"")
    assert asked(asker.hear(2, nothing)) == [(1, hash_of(item), 0)]
    assert asked(asker.hear(1, nothing)) == []


def test_when_nobody_has_it_all_are_asked_again_later_and_later_up_to_a_minute():
    (item,) = records(100)
    asker = Keeper()
    asker.up(1)
    asker.announced(1, item)
    asker.hear(1, Piece(hash_of(item), 0, 0, b""))
    delays = [1, 2, 4, 8, 16, 32, 60, 60]
    assert (delays[0] * 1000, delays[-1] * 1000) == (BODY_RETRY_MS_MIN, BODY_RETRY_MS_MAX)
    asked_s = 0
    for delay in delays:
        assert asker.bodies.next_deadline() == NOW.mono_ms + (asked_s + delay) * 1000
        assert asked(asker.tick(asked_s + delay - 0.001)) == []
        asked_s += delay
        assert asked(asker.tick(asked_s)) == [(1, hash_of(item), 0)]
        assert asked(asker.hear(1, Piece(hash_of(item), 0, 0, b""))) == []


def test_what_is_asked_for_again_is_each_asked_for_in_its_own_time():
    """A member that announces what nobody has makes nothing else come more often, or later."""
    early, late = records(100, 200)
    asker = Keeper()
    asker.up(1)
    asker.announced(1, early)
    asker.hear(1, Piece(hash_of(early), 0, 0, b""))
    asker.now = after(0.5)
    asker.announced(1, late)
    asker.hear(1, Piece(hash_of(late), 0, 0, b""))
    assert asked(asker.tick(1)) == [(1, hash_of(early), 0)]
    assert asker.bodies.lacks(hash_of(early))
    assert asker.bodies.lacks(hash_of(late))
    assert not asker.bodies.lacks(bytes(32))
    asker.hear(1, Piece(hash_of(early), 0, 0, b""))
    assert asked(asker.tick(1.5)) == [(1, hash_of(late), 0)]


def test_too_many_that_nobody_has_are_looked_up_again_after_a_minute(monkeypatch):
    monkeypatch.setattr(bodies_module, "BODIES_DENIED_MAX", 2)
    items = records(100, 200, 300)
    asker = Keeper()
    asker.up(1)
    asker.announced(1, *items)
    for item in items:
        asker.hear(1, Piece(hash_of(item), 0, 0, b""))
    forgotten = hash_of(items[0])
    assert [asker.bodies.lacks(hash_of(item)) for item in items] == [False, True, True]
    assert sorted(one for _, one, _ in asked(asker.tick(1))) == sorted(hash_of(one) for one in items[1:])
    for item in items[1:]:
        asker.hear(1, Piece(hash_of(item), 0, 0, b""))
    assert forgotten in [one for _, one, _ in asked(asker.tick(60))]


def test_what_waited_here_is_asked_for_without_anybody_who_brought_it():
    (item,) = records(100)
    asker = Keeper()
    asker.up(1)
    asker.know(item)
    outputs = asker.bodies.on_records(None, [item], lacks([item]), False, NOW, asker.store)
    assert asked(outputs) == [(1, hash_of(item), 0)]


def test_bodies_that_nobody_has_stand_in_nobodys_way(monkeypatch):
    """A hostile member announces more of them than are remembered."""
    monkeypatch.setattr(bodies_module, "BODIES_WANTED_MAX", 6)
    items = records(*[100] * 20)
    asker, giver, liar = Keeper(), Keeper([items[-1]], whole=True), Keeper(items)
    row = Row(asker, giver, liar)
    row.meet(0, 1)
    row.meet(0, 2)
    row.say(0, asker.announced(2, *items[:-1]))
    row.deliver()
    row.say(0, asker.announced(1, items[-1]))
    row.deliver()
    assert asker.store.body(hash_of(items[-1])) == items[-1].body
    assert asker.bodies.wanted == 0
    asked_before = len(asked(Send(target, message) for _, target, message in row.log))
    row.say(0, asker.tick(BODY_RETRY_MS_MIN / 1000))
    row.deliver()
    assert len(asked(Send(target, message) for _, target, message in row.log)) > asked_before


def test_new_neighbor_and_a_new_announcement_are_reasons_to_ask_at_once():
    (item,) = records(100)
    asker = Keeper()
    asker.up(1)
    asker.announced(1, item)
    asker.hear(1, Piece(hash_of(item), 0, 0, b""))
    assert asked(asker.up(2)) == [(2, hash_of(item), 0)]
    asker.hear(2, Piece(hash_of(item), 0, 0, b""))
    assert asked(asker.announced(1, item)) == [(1, hash_of(item), 0)]


def test_neighbor_that_falls_silent_is_given_up_after_ten_seconds_and_one_that_goes_on_is_not():
    (item,) = records(4 * PIECE_BYTES_MAX)
    asker, giver = Keeper(), Keeper([item], whole=True)
    asker.up(1, 2)
    asker.announced(1, item)
    assert asker.bodies.next_deadline() == NOW.mono_ms + BODY_STALLED_MS
    asker.now = after(9)
    (piece,) = said(giver.hear(0, WantBody(hash_of(item), 0)))
    asker.hear(1, piece)
    assert asked(asker.tick(18.999)) == []
    assert asked(asker.tick(19))[0] == (2, hash_of(item), 0)


def test_link_that_breaks_hands_its_bodies_to_another():
    (item,) = records(100)
    asker = Keeper()
    asker.up(1, 2)
    asker.announced(1, item)
    assert asked(asker.down(1)) == [(2, hash_of(item), 0)]
    assert asker.down(2) == []
    assert asker.bodies.next_deadline() is None


def test_body_that_came_by_other_means_or_is_no_longer_named_is_not_asked_for():
    items = records(100, 200)
    asker = Keeper()
    for item in items:
        asker.announced(1, item)
    asker.keep(hash_of(items[0]), items[0].body or b"")
    asker.store.begin()
    asker.store.hide(items[1].header.record_id)
    asker.store.discard_version(items[1].header.id)
    asker.store.commit()
    assert asked(asker.up(1)) == []
    assert asker.bodies.wanted == 0


# --- pieces -----------------------------------------------------------------------------------------------


def started(size: int = 2 * PIECE_BYTES_MAX + 7) -> tuple[Keeper, RecordItem]:
    (item,) = records(size)
    asker = Keeper()
    asker.up(1, 2)
    asker.announced(1, item)
    return asker, item


@pytest.mark.parametrize("link", [2, 3])
def test_piece_from_whom_it_was_not_asked_of_is_ignored(link):
    asker, item = started()
    assert asker.hear(link, Piece(hash_of(item), 0, item.header.size, bytes(PIECE_BYTES_MAX))) == []
    assert asker.hear(1, Piece(bytes(32), 0, 1, b"x")) == []
    assert asker.bodies.under_way == 1


@pytest.mark.parametrize(
    "piece",
    [
        lambda h, size: Piece(h, PIECE_BYTES_MAX, size, bytes(PIECE_BYTES_MAX)),
        lambda h, size: Piece(h, 0, size + 1, bytes(PIECE_BYTES_MAX)),
        lambda h, size: Piece(h, 0, size, bytes(PIECE_BYTES_MAX - 1)),
    ],
)
def test_piece_that_is_not_the_next_is_a_fault(piece):
    asker, item = started()
    with pytest.raises(RemoteProtocolError) as caught:
        asker.hear(1, piece(hash_of(item), item.header.size))
    assert caught.value.fault is Fault.OUT_OF_TURN
    assert asked(asker.down(1))[0] == (2, hash_of(item), 0)


def test_answers_to_what_was_given_up_are_not_taken_for_answers_to_what_is_asked_since():
    """The neighbor had nothing for the first question, and got the body before it came to the second."""
    asker, item = started(2 * PIECE_BYTES_MAX)
    name, body = hash_of(item), item.body or b""
    asker.hear(1, Piece(name, 0, 0, b""))
    asker.hear(2, Piece(name, 0, 0, b""))
    again = asker.announced(1, item)
    assert asked(again) == [(1, name, 0), (1, name, PIECE_BYTES_MAX)]
    offsets = (0, PIECE_BYTES_MAX)
    pieces = [Piece(name, at, len(body), body[at : at + PIECE_BYTES_MAX]) for at in offsets]
    assert asker.hear(1, pieces[1]) == []
    asker.hear(1, pieces[0])
    asker.hear(1, pieces[1])
    assert asker.store.body(name) == body


def test_second_word_that_there_is_none_is_not_taken_for_an_answer_to_what_is_asked_since():
    asker, item = started(2 * PIECE_BYTES_MAX)
    for link in (1, 2):
        asker.hear(link, Piece(hash_of(item), 0, 0, b""))
    asker.hear(2, Piece(hash_of(item), 0, 0, b""))  # while it is laid by
    asker.announced(1, item)
    assert asker.hear(1, Piece(hash_of(item), 0, 0, b"")) == []
    assert asker.bodies.under_way == 1
    assert asked(asker.hear(1, Piece(hash_of(item), 0, 0, b""))) == []
    assert asker.bodies.under_way == 0


def test_body_that_is_not_its_hash_is_a_fault_and_comes_from_another():
    asker, item = started(100)
    with pytest.raises(RemoteProtocolError) as caught:
        asker.hear(1, Piece(hash_of(item), 0, item.header.size, bytes(item.header.size)))
    assert caught.value.fault is Fault.BAD_PROOF
    assert asked(asker.down(1)) == [(2, hash_of(item), 0)]
    body, _ = asker.bodies.on_piece(
        2, Piece(hash_of(item), 0, item.header.size, item.body or b""), NOW, asker.store
    )
    assert body == Body(hash_of(item), item.body or b"")
    assert body_hash_of(body.data) == body.hash


# --- word -------------------------------------------------------------------------------------------------


def test_who_asked_and_who_served_are_told_when_the_body_is_here():
    (item,) = records(100)
    asker = Keeper()
    asker.up(1, 2, 3)
    asker.announced(1, item)
    asker.announced(2, item, ask=True)
    outputs = asker.hear(1, Piece(hash_of(item), 0, item.header.size, item.body or b""))
    assert outputs == [Send(1, Got(item.header.id)), Send(2, Got(item.header.id))]


def test_versions_remembered_for_one_body_are_bounded():
    dave = Writer.of(circle(), "dave")
    first = dave.add(body=b"shared" * 100)
    versions = [first, *(dave.add(body=b"shared" * 100) for _ in range(BODY_ANNOUNCED_MAX + 3))]
    asker = Keeper()
    asker.up(1)
    for item in versions:
        asker.announced(1, item)
    (got,) = said(asker.hear(1, Piece(hash_of(first), 0, first.header.size, first.body or b"")))
    assert isinstance(got, Got)
    assert got.ids == b"".join(item.header.id for item in versions[:BODY_ANNOUNCED_MAX])


# --- serving ----------------------------------------------------------------------------------------------


def test_piece_of_what_is_here_is_served_and_of_what_is_not_the_word_that_there_is_none():
    (item,) = records(PIECE_BYTES_MAX + 5)
    giver = Keeper([item], whole=True)
    size = item.header.size
    body = item.body or b""
    for offset in (0, 1, PIECE_BYTES_MAX, size - 1):
        (piece,) = said(giver.hear(1, WantBody(hash_of(item), offset)))
        assert piece == Piece(hash_of(item), offset, size, body[offset : offset + PIECE_BYTES_MAX])
    for wrong in (WantBody(hash_of(item), size), WantBody(bytes(32), 0)):
        assert said(giver.hear(1, wrong)) == [Piece(wrong.hash, 0, 0, b"")]


def test_body_goes_down_a_line_though_each_is_announced_before_it_is_there():
    """The second in line passes the header on, is asked at once, and has not got it yet."""
    (item,) = records(3 * PIECE_BYTES_MAX)
    line = Row(Keeper([item], whole=True), Keeper(), Keeper())
    line.meet(0, 1)
    line.meet(1, 2)
    announcing = line.keepers[1].announced(0, item)
    line.say(2, line.keepers[2].announced(1, item))
    line.step(2, 1)
    line.step(1, 2)
    line.say(1, announcing)
    line.deliver()
    assert line.keepers[2].store.body(hash_of(item)) == item.body
    assert [message for source, target, message in line.log if isinstance(message, Records)] == [
        Records((RecordItem(item.header).raw,), False)
    ]


def test_who_asked_in_vain_is_told_though_the_body_was_known_to_be_lacking_from_the_store_alone():
    (item,) = records(100)
    keeper = Keeper([item])
    keeper.up(1)
    keeper.hear(2, WantBody(hash_of(item), 0))
    outputs = keeper.hear(1, Piece(hash_of(item), 0, item.header.size, item.body or b""))
    assert Send(2, Records((RecordItem(item.header).raw,), False), droppable=True) in outputs


def test_who_asked_in_vain_is_remembered_for_a_bounded_number_of_bodies(monkeypatch):
    monkeypatch.setattr(bodies_module, "BODIES_DENIED_MAX", 2)
    assert BODIES_DENIED_MAX > 2
    items = records(100, 200, 300)
    keeper = Keeper(items)
    keeper.up(1)
    for item in items:
        keeper.hear(2, WantBody(hash_of(item), 0))
    keeper.hear(2, WantBody(bytes(32), 0))
    assert list(keeper.bodies._denied) == [hash_of(item) for item in items[1:]]
    keeper.down(2)
    outputs = keeper.hear(1, Piece(hash_of(items[2]), 0, items[2].header.size, items[2].body or b""))
    assert not any(isinstance(message, Records) for message in said(outputs))
