"""Range-based reconciliation: two nodes learn which ids each of them lacks, for a few bytes a difference.

Both sides hold their ids in the order of ordered_ids.py. What one side wants to know of a range of that order
is a *question*: "this is my fingerprint, have you the same?" or "this is my list, which of it do you want,
and what does it lack?". The message that answers it may put new questions about parts of the range:

* A fingerprint: the same, and the range is settled. Else, with fewer than 32 ids, the list of them. Else up
  to 16 parts of equal size by our own rank, with a fingerprint each.
* A list: which of its entries we want, and the ids that it lacks; the range is settled. (A list of few ids
  where we hold very many is split like a fingerprint, so that no answer takes long.)

The sides speak in turn. At the start one question is open, about everything, with a fingerprint that none
equals; the initiator answers it. Questions are answered newest message first, within a message in its order,
so a position says which one is meant. A message answers as many as its size and the work of one message
allow; the rest stays open. Oldest ranges come first and lists are settled before more fingerprints are looked
at, so a session that is cut short has settled something. The session ends when no question is open, or at the
limit of messages or bytes, which both sides count alike. What is unsettled then is for another session.

Fingerprints and short ids are BLAKE2b, keyed for this session alone, over contiguous entries and their count:
nothing can be prepared beforehand, and there is no sum that chosen ids could balance (protocol-study 2.2).
Short ids have 8 bytes. Should two collide, then either a list would hold one twice, or two different entries
would count as one that both sides have. So whoever compares lists adds the *agreement*, a hash of all entries
counted as common in that message, and the other side hashes what it counts itself. Whoever sees either of the
two repeats the session, once, from the start and with whole ids. That is why a message with an agreement is
always answered, if need be by an empty one.

A set may change while a session runs: each answer is made from the ids of its moment, and a list is
remembered as it was sent. Either side may leave out what lies before a bound, and say so beside the messages;
the other, which then leaves it out too, has already hashed or listed some of it at most.

Guards: bounds ascend strictly inside the range that they divide, and a settled range is never asked about
again, so that a message costs at most two passes over the ids; a fingerprint is never answered by one
fingerprint of the same range; messages, bytes and hashed ids of a session have limits.

Differs: the original system advertised pages of fixed size, bounded by (modification time, record id)
([MS-PPGRH] 2.2.1.8). Sources: protocol-study 2.1-2.4; Meyer, "Range-Based Set Reconciliation" (2023). The
bytes are those of reconcile_format.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

from protocol.errors import Fault, RemoteProtocolError, malformed
from protocol.limits import (
    FINGERPRINT_BYTES,
    RECONCILE_ANSWER_BYTES_MAX,
    RECONCILE_BRANCHES,
    RECONCILE_BYTES_MAX,
    RECONCILE_COMPARED_IDS_MAX,
    RECONCILE_FOUND_MAX,
    RECONCILE_HASHED_IDS_MIN,
    RECONCILE_LIST_MAX,
    RECONCILE_MESSAGES_MAX,
    RECONCILE_NAMED_MAX,
    RECONCILE_PART_IDS_MIN,
    RECONCILE_PASSES_MAX,
    RECONCILE_PAYLOAD_BYTES_MAX,
    RECONCILE_SHORT_IDS_MAX,
    SHORT_ID_BYTES,
)
from protocol.machines.ordered_ids import (
    ENTRY_BYTES,
    HIGHEST,
    LOWEST,
    OrderedIds,
    bound_between,
    id_of,
)
from protocol.machines.reconcile_format import (
    HEAD_BYTES_MAX,
    Answer,
    Compared,
    Head,
    Left,
    Listed,
    Reader,
    Same,
    Split,
    Writer,
)

SESSION_KEY_BYTES = 32
_ROOM_BYTES_MIN = (
    HEAD_BYTES_MAX + RECONCILE_ANSWER_BYTES_MAX
)  # with less, a message could not answer anything

ShortId: TypeAlias = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Step:
    """What one message of the other side led to."""

    payload: bytes | None  # to send; None when nothing is left to say
    theirs_lack: tuple[bytes, ...]  # ids that we must send, found by this message; none appears in two steps
    ours_lack: tuple[bytes, ...]  # ids that they will send, as far as this message told them in full
    unnamed: int  # how many more they will send
    done: bool  # the session is over once `payload` is sent
    complete: bool  # done, and every range was settled


@dataclass(frozen=True, slots=True)
class _FingerprintPending:
    """The other side's fingerprint of a range, which we have to answer."""

    lower: bytes
    upper: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class _ListPending:
    """The other side's list of a range, which we have to answer."""

    lower: bytes
    upper: bytes
    names: tuple[bytes, ...]


_Pending: TypeAlias = _FingerprintPending | _ListPending


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question of ours: a fingerprint, or the entries that we listed."""

    lower: bytes
    upper: bytes
    listed: tuple[bytes, ...] | None = None


_EVERYTHING_PENDING = _FingerprintPending(LOWEST, HIGHEST, b"")
_EVERYTHING_ASKED = _Asked(LOWEST, HIGHEST)


class _Hashes:
    """The keyed hashes of one session."""

    def __init__(self, key: bytes) -> None:
        self._range = blake2b(digest_size=FINGERPRINT_BYTES, key=key, person=b"range")
        self._agreement = blake2b(digest_size=FINGERPRINT_BYTES, key=key, person=b"agreement")
        self._short_id = blake2b(digest_size=SHORT_ID_BYTES, key=key, person=b"short id")

    def fingerprint(self, ids: OrderedIds, start: int, stop: int) -> bytes:
        """16 bytes over the entries from rank `start` up to rank `stop`, and their count."""
        state = self._range.copy()
        ids.feed(start, stop, state.update)
        state.update((stop - start).to_bytes(8, "big"))
        return state.digest()

    def agreement(self, entries: Sequence[bytes]) -> bytes:
        """16 bytes over the entries that two sides count as common."""
        state = self._agreement.copy()
        state.update(b"".join(entries))
        return state.digest()

    def short_id(self, identifier: bytes) -> bytes:
        """8 bytes that stand for an id in this session."""
        state = self._short_id.copy()
        state.update(identifier)
        return state.digest()


class _Found:
    """Ids found by a session, each handed out once even if the session is repeated."""

    def __init__(self) -> None:
        self._all: dict[bytes, None] = {}
        self._new: list[bytes] = []

    def __len__(self) -> int:
        return len(self._all)

    def add(self, identifier: bytes) -> None:
        if identifier not in self._all:
            self._all[identifier] = None
            self._new.append(identifier)

    def add_all(self, identifiers: Iterable[bytes]) -> None:
        new = dict.fromkeys(one for one in identifiers if one not in self._all)
        self._all.update(new)
        self._new += new

    def take(self) -> tuple[bytes, ...]:
        """What was added since the last call."""
        new, self._new = self._new, []
        return tuple(new)


class _Draft:
    """A message that is being made."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.asked: list[_Asked] = []
        self.common: list[bytes] | None = None  # entries that both sides have; None before a list is compared
        self.short_ids = 0
        self.place = (LOWEST, 0)  # a bound and its rank: the next range mostly begins where one has ended


class Reconciliation:
    """One side of one session over one set of ids."""

    def __init__(
        self,
        ids: OrderedIds,
        key: bytes,
        *,
        initiator: bool,
        willing: bool = True,
        short_id: ShortId | None = None,
    ) -> None:
        """Both sides give the same `key`: 32 bytes that no other session, nor other set, has.

        A side that is not `willing` leaves every question to another session. `short_id` stands in for the
        keyed hash of 8 bytes, for tests that want collisions.
        """
        assert len(key) == SESSION_KEY_BYTES
        self._ids = ids
        self._willing = willing
        self._lower = LOWEST
        self._hashes = _Hashes(key)
        self._short_id = short_id or self._hashes.short_id
        # Both are stacks: what is answered next stands last.
        self._pending: list[_Pending] = [_EVERYTHING_PENDING] if initiator else []
        self._asked: list[_Asked] = [] if initiator else [_EVERYTHING_ASKED]
        self._whole_ids = False  # lists hold ids of 32 bytes: short ones have collided
        self._collided = False  # short ids have, and the session is yet to be repeated
        self._left = False  # a question was left to another session
        self._messages = 0
        self._bytes = 0  # of payloads, both ways
        self._hashed = 0  # ids, since the session began or was repeated
        self._to_send = _Found()
        self._to_come = _Found()
        self._unnamed = 0
        self._done = False

    def leave_out_before(self, bound: bytes) -> None:
        """From now on, the entries before a bound are outside of the session; it never moves back."""
        self._lower = max(self._lower, bound)

    def open(self) -> bytes:
        """The initiator's first message."""
        assert self._messages == 0
        assert self._pending
        return self._speak()

    def answer(self, payload: bytes) -> Step:
        """Take the other side's next message.

        Raises: RemoteProtocolError, and the session is dead.
        """
        assert self._messages > 0 or self._asked, "the initiator opens"
        if self._done:
            raise RemoteProtocolError(Fault.OUT_OF_TURN, "a message after the end of a reconciliation")
        self._unnamed = 0
        awaits_word = self._hear(payload)
        reply = None
        if self._exhausted() or (self._settled() and not awaits_word):
            self._done = True
        else:
            reply = self._speak()
        return Step(
            payload=reply,
            theirs_lack=self._to_send.take(),
            ours_lack=self._to_come.take(),
            unnamed=self._unnamed,
            done=self._done,
            complete=self._done and self._settled() and not self._left,
        )

    def _settled(self) -> bool:
        """Whether no question is open."""
        return not self._pending and not self._asked and not self._collided

    def _exhausted(self) -> bool:
        """Whether a limit ends the session here; both sides count alike."""
        return self._messages >= RECONCILE_MESSAGES_MAX or self._bytes > RECONCILE_BYTES_MAX - _ROOM_BYTES_MIN

    def _room(self) -> int:
        """How many bytes the next message may have."""
        return min(RECONCILE_PAYLOAD_BYTES_MAX, RECONCILE_BYTES_MAX - self._bytes)

    def _count(self, payload: bytes) -> None:
        self._messages += 1
        self._bytes += len(payload)

    def _start_again(self) -> None:
        self._whole_ids = True
        self._collided = False
        self._pending.clear()
        self._asked.clear()
        self._hashed = 0

    # --- hearing ----------------------------------------------------------------------------------------

    def _hear(self, payload: bytes) -> bool:
        """Take in a message; True when it carries an agreement, which has to be answered."""
        if len(payload) > self._room():
            raise RemoteProtocolError(Fault.OVER_LIMIT, f"a reconciliation message of {len(payload)} bytes")
        self._count(payload)
        reader = Reader(payload)
        head = reader.head_untrusted()
        if head.repeated:
            if self._whole_ids:
                raise malformed("a reconciliation repeated twice")
            self._start_again()
            self._asked.append(_EVERYTHING_ASKED)
        if self._asked and reader.at_end:
            raise malformed("a reconciliation message that answers nothing")
        pending: list[_Pending] = []
        common: list[bytes] | None = None
        while not reader.at_end:
            asked, answer = self._next_answer(reader)
            match answer:
                case Same(run) | Left(run):
                    self._drop_asked(answer, run - 1)
                case Split(bounds, fingerprints):
                    edges = (asked.lower, *bounds, asked.upper)
                    pending += map(_FingerprintPending, edges, edges[1:], fingerprints)
                case Listed(names):
                    pending.append(_ListPending(asked.lower, asked.upper, names))
                case Compared():
                    common = [] if common is None else common
                    common += self._hear_compared(asked, answer)
        self._pending.extend(reversed(pending))
        self._check_agreement(head, common)
        return head.agreement is not None

    def _next_answer(self, reader: Reader) -> tuple[_Asked, Answer]:
        if not self._asked:
            raise malformed("more answers than questions")
        asked = self._asked.pop()
        listed = None if asked.listed is None else len(asked.listed)
        return asked, reader.answer_untrusted(asked.lower, asked.upper, listed, whole_ids=self._whole_ids)

    def _drop_asked(self, answer: Same | Left, count: int) -> None:
        """Take the rest of a run off our questions."""
        if isinstance(answer, Left):
            self._left = True
        if count > len(self._asked):
            raise malformed("more answers than questions")
        for _ in range(count):
            if self._asked.pop().listed is not None and isinstance(answer, Same):
                raise malformed("a list answered as if it were a fingerprint")

    def _hear_compared(self, asked: _Asked, answer: Compared) -> list[bytes]:
        """Note what a list of ours has shown; returns its entries that both sides have."""
        assert asked.listed is not None
        common = []
        for entry, wanted in zip(asked.listed, answer.wanted, strict=True):
            if wanted:
                self._to_send.add(id_of(entry))
            else:
                common.append(entry)
        for identifier in answer.named:
            self._to_come.add(identifier)
        self._unnamed += answer.unnamed
        return common

    def _check_agreement(self, head: Head, common: list[bytes] | None) -> None:
        if self._whole_ids:
            common = None
        if (head.agreement is None) != (common is None):
            raise malformed("an agreement without lists that were compared, or they without it")
        if common is not None and self._hashes.agreement(common) != head.agreement:
            self._collided = True

    # --- speaking ---------------------------------------------------------------------------------------

    def _speak(self) -> bytes:
        """Make the next message, and know whether it is the last."""
        draft, repeated = self._compose(), self._collided
        if repeated:
            self._start_again()
            self._pending.append(_EVERYTHING_PENDING)
            draft = self._compose()
        agreement = None
        if draft.common is not None and not self._whole_ids:
            agreement = self._hashes.agreement(draft.common)
        payload = draft.writer.message(Head(repeated, agreement))
        assert len(payload) <= self._room()
        self._asked.extend(reversed(draft.asked))
        self._count(payload)
        self._done = self._exhausted() or (self._settled() and agreement is None)
        return payload

    def _compose(self) -> _Draft:
        """Answer as many questions as one message may; stops where short ids collide."""
        draft = _Draft()
        draft.place = (LOWEST, self._rank(LOWEST))
        room = self._room() - RECONCILE_ANSWER_BYTES_MAX
        while self._pending and not self._collided:
            if draft.writer.size > room or draft.short_ids >= RECONCILE_SHORT_IDS_MAX:
                break
            question = self._pending.pop()
            draft.writer.add(self._answer_to(question, draft), question.lower)
        return draft

    def _answer_to(self, question: _Pending, draft: _Draft) -> Answer:
        if not self._willing or len(self._to_send) >= RECONCILE_FOUND_MAX:
            self._left = True
            return Left()
        bound, start = draft.place
        if question.lower != bound:
            start = self._rank(question.lower)
        stop = self._rank(question.upper)
        draft.place = (question.upper, stop)
        if isinstance(question, _ListPending):
            if stop - start > RECONCILE_COMPARED_IDS_MAX:
                return self._split(question, start, stop, draft)
            return self._compare(question.names, start, stop, draft)
        if self._fingerprint(start, stop) == question.fingerprint:
            return Same()
        if stop - start < RECONCILE_LIST_MAX:
            return self._list(question, start, stop, draft)
        return self._split(question, start, stop, draft)

    def _rank(self, bound: bytes) -> int:
        return self._ids.rank(max(bound, self._lower))

    def _split(self, question: _Pending, start: int, stop: int, draft: _Draft) -> Split:
        """Divide a range by our own rank."""
        count = stop - start
        parts = min(RECONCILE_BRANCHES, count // RECONCILE_PART_IDS_MIN)
        ranks = [start + count * part // parts for part in range(parts + 1)]
        bounds = tuple(bound_between(*self._two_entries(rank)) for rank in ranks[1:-1])
        edges = (question.lower, *bounds, question.upper)
        draft.asked += map(_Asked, edges, edges[1:])
        return Split(bounds, tuple(map(self._fingerprint, ranks, ranks[1:])))

    def _two_entries(self, rank: int) -> tuple[bytes, bytes]:
        """The entries before and behind a rank."""
        pair = self._ids.entries(rank - 1, rank + 1)
        return pair[:ENTRY_BYTES], pair[ENTRY_BYTES:]

    def _list(self, question: _Pending, start: int, stop: int, draft: _Draft) -> Listed:
        """List a range; short ids that collide among themselves are no list."""
        entries = self._entries(start, stop)
        names = tuple(self._names(entries, draft))
        self._collided = len(set(names)) < len(names)
        draft.asked.append(_Asked(question.lower, question.upper, tuple(entries)))
        return Listed(names)

    def _compare(self, theirs: tuple[bytes, ...], start: int, stop: int, draft: _Draft) -> Compared:
        """Compare the other side's list of a range with ours."""
        listed = dict.fromkeys(theirs, True)  # name -> whether we want it
        lacking: list[bytes] = []
        common: list[bytes] = []
        entries = self._entries(start, stop)
        if not listed:
            self._count_names(entries, draft)  # though nothing is to be found among them
            lacking = [id_of(entry) for entry in entries]
        else:
            for entry, name in zip(entries, self._names(entries, draft), strict=True):
                if name in listed:
                    listed[name] = False
                    common.append(entry)
                else:
                    lacking.append(id_of(entry))
        self._to_send.add_all(lacking)
        self._note_wanted(listed)
        draft.common = [] if draft.common is None else draft.common
        draft.common += common
        named = len(lacking) <= RECONCILE_NAMED_MAX
        return Compared(
            wanted=tuple(listed.values()),
            named=tuple(lacking) if named else (),
            unnamed=0 if named else len(lacking),
        )

    def _note_wanted(self, listed: dict[bytes, bool]) -> None:
        """Count what the other side will send; whole names are the ids themselves."""
        for name, wanted in listed.items():
            if wanted and self._whole_ids:
                self._to_come.add(name)
            elif wanted:
                self._unnamed += 1

    def _entries(self, start: int, stop: int) -> list[bytes]:
        joined = self._ids.entries(start, stop)
        return [joined[at : at + ENTRY_BYTES] for at in range(0, len(joined), ENTRY_BYTES)]

    def _names(self, entries: list[bytes], draft: _Draft) -> list[bytes]:
        """What a list calls these entries: their short ids, or whole ones after a repetition."""
        if self._whole_ids:
            return [id_of(entry) for entry in entries]
        self._count_names(entries, draft)
        return [self._short_id(id_of(entry)) for entry in entries]

    def _count_names(self, entries: list[bytes], draft: _Draft) -> None:
        """Count short ids against what one message, and one session, may take."""
        if not self._whole_ids:
            draft.short_ids += len(entries)
            self._charge(len(entries))

    def _fingerprint(self, start: int, stop: int) -> bytes:
        self._charge(stop - start)
        return self._hashes.fingerprint(self._ids, start, stop)

    def _charge(self, count: int) -> None:
        """Count hashed ids. Guards: questions that make us hash everything again and again."""
        self._hashed += count
        if self._hashed > max(RECONCILE_HASHED_IDS_MIN, RECONCILE_PASSES_MAX * len(self._ids)):
            raise RemoteProtocolError(
                Fault.OVER_LIMIT, "a reconciliation that asks for more hashing than it needs"
            )
