"""Bodies: fetch the bodies that versions here name and that are not here, and serve those that are.

A large body does not travel with its header. Whoever takes in a header without its body asks the link that
brought it, else any neighbor, for one piece after another, a few ahead. The pieces are joined in memory and
the whole is compared with its hash, so a body comes from one neighbor, and a wrong one is that neighbor's
doing. Few are fetched at a time, from one neighbor and in all; the others wait. A neighbor that does not have
it, or falls silent, is left out and the next is asked. What nobody has is laid by, so that it never stands in
the way of what somebody has. It is asked for again when a neighbor comes, when one announces it, and after a
second, then after two, four … up to a minute.

A header is passed on before its body is here, so a neighbor may ask too early. It is told so at once, and
gets the header again when the body has come. Each question has one answer, and they come in order: so the
answers to what was asked and then given up are known, and are not taken for those to what was asked since.

What is lacking is known from the store: after a restart or when a neighbor comes, it is looked up there. Here
only a bounded part of it is remembered.

Serving keeps nothing: a piece is read when it is asked for. How many pieces wait in a link's outbox is
bounded by how many the asker asks ahead; one that asks for more fills its own outbox, and its link is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    BODIES_DENIED_MAX,
    BODIES_PER_LINK_MAX,
    BODIES_UNDER_WAY_MAX,
    BODIES_WANTED_MAX,
    BODY_ANNOUNCED_MAX,
    BODY_PIECES_AHEAD,
    BODY_RETRY_MS_MAX,
    BODY_RETRY_MS_MIN,
    BODY_STALLED_MS,
    PIECE_BYTES_MAX,
)
from protocol.machines.events import LinkId, Output, Send
from protocol.machines.flood import acknowledge
from protocol.machines.transfer import item_of
from protocol.peer_time import Moment
from protocol.records.record import RecordItem, body_hash_of
from protocol.records.record_set import RecordSet
from protocol.wire.messages import Piece, Records, WantBody


@dataclass(slots=True)
class _Pull:
    """A body that is being fetched."""

    link: LinkId
    pieces: list[bytes]
    received: int  # bytes
    asked: int  # bytes
    deadline_ms: int

    @property
    def unanswered(self) -> int:
        """How many pieces were asked for and have not come."""
        return -(-self.asked // PIECE_BYTES_MAX) - len(self.pieces)


@dataclass(slots=True)
class _Wanted:
    """A body that is not here."""

    size: int
    versions: dict[bytes, None] = field(default_factory=dict)  # that name it, as far as remembered
    announced: dict[LinkId, None] = field(default_factory=dict)  # who brought a version
    asked_for_word: dict[LinkId, None] = field(default_factory=dict)  # who wants to know when it is durable
    refused: dict[LinkId, None] = field(default_factory=dict)  # who does not have it
    owed: dict[LinkId, int] = field(default_factory=dict)  # answers to come to what was given up
    pull: _Pull | None = None
    delay_ms: int = 0  # between the last two times that all were asked
    again_ms: int = 0  # when all are asked again


@dataclass(frozen=True, slots=True)
class Body:
    """A body that has come."""

    hash: bytes
    data: bytes


class Bodies:
    """What one node fetches and serves.

    What the machine calls: `on_up` and `on_down` for links, `on_records` after versions were taken in,
    whoever brought them, `on_piece`, `answer` for WantBody, `on_tick`. A `Body` that `on_piece` gives is to
    be handed to the records at once, before the outputs beside it are performed.
    """

    def __init__(self) -> None:
        """Nothing is known to be lacking; the first neighbor makes it look into the store."""
        self._links: dict[LinkId, None] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self._denied: dict[bytes, dict[LinkId, None]] = {}
        self._after: bytes | None = None  # how far the store has been looked through; None: to its end
        self._left_out = False  # something was not remembered since then
        self._laid_by: dict[bytes, _Wanted] = {}  # that nobody had, as far as remembered
        self._again_ms: int | None = None  # when all are asked for the first of those again
        self._newcomer = False  # a neighbor has come who has not been asked for those
        self._look_ms: int | None = None  # when the store is looked through for those that were forgotten

    @property
    def under_way(self) -> int:
        """How many bodies are being fetched."""
        return sum(wanted.pull is not None for wanted in self._wanted.values())

    @property
    def wanted(self) -> int:
        """How many bodies are known to be lacking."""
        return len(self._wanted)

    def lacks(self, body_hash: bytes) -> bool:
        """Whether a body is known to be lacking."""
        return body_hash in self._wanted or body_hash in self._laid_by

    # --- links ----------------------------------------------------------------------------------------------

    def on_up(self, link: LinkId, now: Moment, store: RecordSet) -> list[Output]:
        """A neighbor came, who may have what nobody else had."""
        self._links[link] = None
        self._newcomer = True
        self._after = b""
        return self._start(now, store)

    def on_down(self, link: LinkId, now: Moment, store: RecordSet) -> list[Output]:
        """A neighbor left: what it was sending is asked of others."""
        self._links.pop(link, None)
        for wanted in (*self._wanted.values(), *self._laid_by.values()):
            wanted.announced.pop(link, None)
            wanted.asked_for_word.pop(link, None)
            wanted.refused.pop(link, None)
            wanted.owed.pop(link, None)
            if wanted.pull is not None and wanted.pull.link == link:
                wanted.pull = None
        for links in self._denied.values():
            links.pop(link, None)
        return self._start(now, store)

    # --- fetching -------------------------------------------------------------------------------------------

    def on_records(
        self,
        link: LinkId | None,
        items: Iterable[RecordItem],
        lacking: Sequence[tuple[bytes, int]],
        ask: bool,
        now: Moment,
        store: RecordSet,
    ) -> list[Output]:
        """Versions have come, and these bodies (hash, size) are not here. `link` is the neighbor who brought
        them; None when they had waited here. `ask`: it wants word when they are.
        """
        named = {item.header.body_hash: item.header.id for item in items}
        for body_hash, size in lacking:
            wanted = self._want(body_hash, size)
            if wanted is None:
                break
            if body_hash in named and len(wanted.versions) < BODY_ANNOUNCED_MAX:
                wanted.versions[named[body_hash]] = None
            if link is None:
                continue
            wanted.announced[link] = None
            wanted.refused.pop(link, None)
            if ask:
                wanted.asked_for_word[link] = None
        return self._start(now, store)

    def _want(self, body_hash: bytes, size: int) -> _Wanted | None:
        """What is remembered of a body that is lacking; None when there is no room for it."""
        wanted = self._wanted.get(body_hash)
        if wanted is None:
            if len(self._wanted) >= BODIES_WANTED_MAX:
                self._left_out = True
                self._after = self._after or b""
                return None
            laid_by = self._laid_by.pop(body_hash, None)
            wanted = self._wanted[body_hash] = laid_by or _Wanted(size)
        return wanted

    def _look_up(self, now: Moment, store: RecordSet) -> None:
        """Want again what was laid by if it has become of use, and learn from the store what else is lacking;
        both as far as there is room.
        """
        if self._newcomer or (self._again_ms is not None and self._again_ms <= now.mono_ms):
            self._take_up(now)
        room = BODIES_WANTED_MAX - len(self._wanted)
        if self._after is None or room == 0:
            return
        found = store.wanted_bodies(self._after, room)
        for one in found:
            if one.body_hash not in self._laid_by:
                self._want(one.body_hash, one.size)
        if len(found) == room:
            self._after = found[-1].body_hash
        else:
            self._after, self._left_out = (b"" if self._left_out else None), False

    def _take_up(self, now: Moment) -> None:
        """Want again what was laid by and somebody may have: who was not asked, or anybody after so long."""
        for body_hash, wanted in list(self._laid_by.items()):
            if len(self._wanted) >= BODIES_WANTED_MAX:
                return
            if wanted.again_ms <= now.mono_ms:
                wanted.refused.clear()
            if any(link not in wanted.refused for link in self._links):
                self._want(body_hash, wanted.size)
        self._newcomer = False
        self._again_ms = min((one.again_ms for one in self._laid_by.values()), default=None)

    def _start(self, now: Moment, store: RecordSet) -> list[Output]:
        """Ask for as many bodies as may be fetched at a time."""
        outputs: list[Output] = []
        if not self._links:
            return outputs
        self._look_up(now, store)
        free = dict.fromkeys(self._links, BODIES_PER_LINK_MAX)
        under_way = 0
        for wanted in self._wanted.values():
            if wanted.pull is not None:
                free[wanted.pull.link] -= 1
                under_way += 1
        for body_hash, wanted in list(self._wanted.items()):
            if under_way >= BODIES_UNDER_WAY_MAX or not any(free.values()):
                break
            if wanted.pull is not None:
                continue
            if all(link in wanted.refused for link in self._links):
                self._lay_by(body_hash, now)
                continue
            able = [link for link in (*wanted.announced, *free) if link not in wanted.refused]
            link = next((link for link in able if free[link] > 0), None)
            if link is None:
                continue
            if _is_needless(body_hash, store):
                del self._wanted[body_hash]
                continue
            free[link] -= 1
            under_way += 1
            wanted.pull = _Pull(link, [], 0, 0, now.mono_ms + BODY_STALLED_MS)
            outputs += _ask_ahead(body_hash, wanted.size, wanted.pull)
        return outputs

    def _lay_by(self, body_hash: bytes, now: Moment) -> None:
        """No neighbor has a body: let others have its place, and ask all again some time later."""
        wanted = self._laid_by[body_hash] = self._wanted.pop(body_hash)
        if wanted.again_ms <= now.mono_ms:
            wanted.delay_ms = min(BODY_RETRY_MS_MAX, max(BODY_RETRY_MS_MIN, wanted.delay_ms * 2))
            wanted.again_ms = now.mono_ms + wanted.delay_ms
        self._again_ms = wanted.again_ms if self._again_ms is None else min(self._again_ms, wanted.again_ms)
        if len(self._laid_by) > BODIES_DENIED_MAX:
            del self._laid_by[next(iter(self._laid_by))]
            self._look_ms = self._look_ms or now.mono_ms + BODY_RETRY_MS_MAX

    def on_piece(
        self, link: LinkId, piece: Piece, now: Moment, store: RecordSet
    ) -> tuple[Body | None, list[Output]]:
        """A piece came; the body, if it was the last of it. Raises: RemoteProtocolError for a body that is
        not what it was asked for as.
        """
        wanted = self._wanted.get(piece.hash) or self._laid_by.get(piece.hash)
        if wanted is None or _settles_debt(wanted, link):
            return None, []  # asked for once, and given up since
        pull = wanted.pull
        if pull is None or pull.link != link:
            return None, []
        if piece.size == 0:
            self._give_up(wanted)
            _settles_debt(wanted, link)
            return None, self._start(now, store)
        if (piece.offset, piece.size) != (pull.received, wanted.size) or not _is_whole(piece):
            raise RemoteProtocolError(Fault.OUT_OF_TURN, "a piece of a body that was not the next")
        pull.pieces.append(piece.data)
        pull.received += len(piece.data)
        pull.deadline_ms = now.mono_ms + BODY_STALLED_MS
        if pull.received < wanted.size:
            return None, _ask_ahead(piece.hash, wanted.size, pull)
        data = b"".join(pull.pieces)
        if body_hash_of(data) != piece.hash:
            raise RemoteProtocolError(Fault.BAD_PROOF, "a body that is not its hash's")
        del self._wanted[piece.hash]
        outputs = self._tell(piece.hash, wanted, link, store)
        return Body(piece.hash, data), outputs + self._start(now, store)

    def _give_up(self, wanted: _Wanted) -> None:
        """Leave the link alone that a body was asked of."""
        pull = wanted.pull
        assert pull is not None
        wanted.refused[pull.link] = None
        wanted.announced.pop(pull.link, None)
        wanted.owed[pull.link] = wanted.owed.get(pull.link, 0) + pull.unanswered
        wanted.pull = None

    def _tell(self, body_hash: bytes, wanted: _Wanted, source: LinkId, store: RecordSet) -> list[Output]:
        """A body is here: say so to whom it matters."""
        known = tuple(wanted.versions)
        versions = known or tuple(one.id for one in store.versions_naming(body_hash, BODY_ANNOUNCED_MAX))
        outputs: list[Output] = []
        for link in {source: None, **wanted.asked_for_word}:
            outputs += acknowledge(versions, link)
        items = [item for one in versions if (item := item_of(one, 0, store)) is not None]
        for link in self._denied.pop(body_hash, {}):
            outputs += [Send(link, Records((item,), False), droppable=True) for item in items[:1]]
        return outputs

    # --- serving --------------------------------------------------------------------------------------------

    def answer(self, link: LinkId, message: WantBody, store: RecordSet) -> list[Output]:
        """Send the piece that a neighbor wants, or the word that there is none."""
        body = store.body(message.hash)
        if body is None or message.offset >= len(body):
            self._deny(link, message.hash)
            return [Send(link, Piece(message.hash, 0, 0, b""))]
        data = body[message.offset : message.offset + PIECE_BYTES_MAX]
        return [Send(link, Piece(message.hash, message.offset, len(body), data))]

    def _deny(self, link: LinkId, body_hash: bytes) -> None:
        """Remember who asked for a body that we want ourselves."""
        if body_hash not in self._wanted and body_hash not in self._laid_by:
            return
        self._denied.setdefault(body_hash, {})[link] = None
        if len(self._denied) > BODIES_DENIED_MAX:
            del self._denied[next(iter(self._denied))]

    # --- time -----------------------------------------------------------------------------------------------

    def on_tick(self, now: Moment, store: RecordSet) -> list[Output]:
        """Ask others for what does not come, and again for what nobody had."""
        for wanted in self._wanted.values():
            if wanted.pull is not None and wanted.pull.deadline_ms <= now.mono_ms:
                self._give_up(wanted)
        if self._look_ms is not None and self._look_ms <= now.mono_ms:
            self._look_ms, self._after = None, b""
        return self._start(now, store)

    def next_deadline(self) -> int | None:
        """When `on_tick` next has something to do."""
        if not self._links:
            return None
        dues = [one.pull.deadline_ms for one in self._wanted.values() if one.pull is not None]
        if len(self._wanted) < BODIES_WANTED_MAX and self._again_ms is not None:
            dues.append(self._again_ms)
        return min(dues if self._look_ms is None else [*dues, self._look_ms], default=None)


def _ask_ahead(body_hash: bytes, size: int, pull: _Pull) -> list[Output]:
    """Ask for the next pieces, so that a few are under way."""
    outputs: list[Output] = []
    limit = min(size, pull.received + BODY_PIECES_AHEAD * PIECE_BYTES_MAX)
    while pull.asked < limit:
        outputs.append(Send(pull.link, WantBody(body_hash, pull.asked)))
        pull.asked = min(size, pull.asked + PIECE_BYTES_MAX)
    return outputs


def _settles_debt(wanted: _Wanted, link: LinkId) -> bool:
    """Whether what comes now from a link answers what was given up."""
    owed = wanted.owed.pop(link, 0)
    if owed > 1:
        wanted.owed[link] = owed - 1
    return owed > 0


def _is_needless(body_hash: bytes, store: RecordSet) -> bool:
    """Whether a body has come by other means, or is no longer named by anything here."""
    return store.has_body(body_hash) or not store.names_body(body_hash)


def _is_whole(piece: Piece) -> bool:
    """Whether a piece is as long as it can be; shorter ones would make a body cost more messages than it
    needs.
    """
    return len(piece.data) == min(PIECE_BYTES_MAX, piece.size - piece.offset)
