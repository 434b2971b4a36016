"""Opening a connection: from a TLS session to a member link, or to nothing; pickup happens on the way.

The problem. Two nodes that met at an address have a TLS session that proves nobody. The caller must not show
its key to who does not know the group's name; the answerer must not tell who it is, which groups it serves
or whom it knows to anybody who has not proved to be a member. And a subject whose credential has not reached
it, or has ended, must get it from any member, although by what it can show it is a stranger.

One connection is one group and one identity on each side. Who may say what when:

    caller                                        answerer
    HELLO   ── Hello {versions, selector} ──▶     HELLO
            ◀── Hello {versions, selector} ──     PROOF    its group's selector, or as many random bytes
    PROOF   ── Prove {key, proof, bundle} ──▶
            ◀── Nothing ──                        CLOSED   not a member, or no such group
            ◀── Welcome {key, proof, bundle, newer} ── FINISH
    CLOSED  ── Nothing ──▶                                 not a member
            ── Finish {newer} ──▶
    MEMBER                                        MEMBER

Each table below is the whole of it: any other message in a state is a fault. The driver turns a frame into
an `Arrival` with `read` (which changes nothing, so a worker thread may do it), has the signatures of its
`checks` verified, and passes both to `receive`, one frame at a time. Every end is an output, `Finished`;
nothing is raised for what the other side does. Deadlines are the driver's: no state waits for anything but
the other side.

Selectors are random to who lacks the group's name, different in each direction and on each connection, so a
caller that does not find its group's selector closes before it has shown anything, and an echoed one shows
up as such.

A member, on either side, is a proved key that has a credential which holds now, in the bundle shown or in
our view. The answerer decides that on Prove, adds the newer credential it holds for the caller, and shows
its own bundle even when that has ended. The caller takes what is its own, then judges the answerer the same
way, with its own view as the second source, and hands over the newer credential it holds for the answerer.
So each side may be the one whose credential has ended, or both. Right before the link opens the answerer
judges once more, at the time it has then.

Each side judges the other, and nobody itself. Who was removed and is back has often heard of the one and not
of the other: that the removal was annulled, or that whoever removed it had been removed before. It learns
that on a link, from acts that prove it, and nowhere else. So who goes by no credential at the moment takes
the link that a member offers it, and is in its own eyes no member for that: what it gets there is what the
other side's view gives it.

What a stranger learns. All that precedes proved membership ends in one of two ways: silently, when bytes are
not a message that the state allows, or in `Nothing`, after any Prove, whatever it holds and whether the
group is served. So no size, order or state tells an unknown group from an unknown key, a bad signature or an
ended credential. Who knows the name can tell from the selector that the group is served here; that is all.

What the removed learn. In `Nothing` there is room for the proof that the key which has just been proved was
removed, by whom and when: for that key and nobody else. It is judged on its own evidence, so that nobody who
answers can make a node believe that it has been removed, and it ends nothing for good: the node goes on
asking, less often.

Conflicts. Our own node id on the other side is ourselves: the answerer then answers as to a member, so that
its calling half learns it too, if the key is our own. Two links between two nodes are the group's business.

Left out: joining by code, password or request has its own messages after the same Hello; resumption does not
exist.

Source: design section 7, steps 1 to 3; protocol-study.md 5.2 and 5.3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, TypeAlias

from protocol import VERSION
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import PublicKey, SignatureCheck, public_key_untrusted
from protocol.errors import Fault, Incompatible, ProtocolError, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER, FRAME_BYTES_MAX_STRANGER, WELCOME_FRAME_BYTES_MAX
from protocol.machines.pickup import (
    Group,
    better,
    is_member,
    newer_for,
    read_untrusted_evidence,
    read_untrusted_removal,
    refusal_of,
    shown_by_us,
)
from protocol.machines.proofs import (
    EXPORTER_BYTES,
    Direction,
    answerer_statement,
    caller_statement,
    exchange_hash,
    same_selector,
    selector,
)
from protocol.peer_time import Moment
from protocol.wire.messages import (
    NOTHING,
    SELECTOR_BYTES,
    Finish,
    Hello,
    Message,
    Nothing,
    Prove,
    Welcome,
    decode_untrusted_message,
    encode_message,
)

VERSIONS = (VERSION,)


class State(Enum):
    """What a side waits for."""

    NEW = "new"  # a caller that has not spoken yet
    HELLO = "hello"
    PROOF = "proof"  # the caller's Prove, or the answer to it
    FINISH = "finish"
    MEMBER = "member"  # done: the connection is a member link now
    CLOSED = "closed"  # done: the connection must close


class Ending(Enum):
    """Why no link came of it. The value is the slug for logs and events; strangers never see it."""

    NOT_SERVED = "not-served"  # caller: the other side does not serve the group
    NOTHING = "nothing"  # the answer was `Nothing`
    REMOVED = "removed"  # and it proves that our key has been removed
    REFUSED = "refused"  # answerer: the answer is `Nothing`
    INCOMPATIBLE = "incompatible"  # no version in common
    SELF = "self"  # the other side is this node
    NEIGHBOR_NOT_VALID = "neighbor-not-valid"  # the proved key of the other side is no member, by all we know
    FAULT = "fault"  # the other side broke the protocol


@dataclass(frozen=True, slots=True)
class SendHandshake:
    """Put this payload into a frame and write it."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class AdoptOwn:
    """A credential of our own key, verified, that holds and is better than the one we had."""

    bundle: Bundle


@dataclass(frozen=True, slots=True)
class LearnOwn:
    """Our own key has been removed: a proof, verified, that counts by our view."""

    removal: RemovalProof


@dataclass(frozen=True, slots=True)
class Established:
    """The connection is a member link; `bundle` is the other side's evidence, None if our view is all."""

    key: PublicKey
    node_id: bytes
    bundle: Bundle | None
    version: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Close the connection, after what has been sent. `error` tells more to the log, where there is more."""

    ending: Ending
    error: ProtocolError | None = None


Output: TypeAlias = SendHandshake | AdoptOwn | LearnOwn | Established | Finished


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame as `read` found it: `checks` are to be verified before it is received; a fault leaves none."""

    payload: bytes
    message: Message | None = None
    fault: RemoteProtocolError | None = None
    key: PublicKey | None = None
    bundle: Bundle | None = None
    newer: Bundle | None = None
    removal: RemovalProof | None = None
    checks: tuple[SignatureCheck, ...] = ()


_Turns: TypeAlias = Mapping[tuple[State, type[Message]], Callable[[Any, Arrival, Moment], list[Output]]]


class _Side(ABC):
    """What both sides share: one frame in, the handler of the state's table, outputs out."""

    _turns: ClassVar[_Turns]

    def __init__(self, exporter: bytes, state: State, versions: tuple[int, ...]) -> None:
        assert len(exporter) == EXPORTER_BYTES
        self._exporter = exporter
        self._state = state
        self._versions = versions
        self._version = 0
        self._hellos = (b"", b"")

    @property
    def state(self) -> State:
        """What this side waits for."""
        return self._state

    @property
    def frame_bytes_max(self) -> int:
        """The largest payload that the other side may send next."""
        return FRAME_BYTES_MAX_MEMBER if self._state is State.MEMBER else FRAME_BYTES_MAX_STRANGER

    def read(self, payload: bytes) -> Arrival:
        """Decode what arrived, with the evidence in it. Changes nothing; a fault is in the result."""
        message: Message | None = None
        try:
            message = decode_untrusted_message(payload, bytes_max=self.frame_bytes_max)
            if (self._state, type(message)) not in self._turns:
                out_of_turn = f"{type(message).__name__} in state {self._state.value}"
                raise RemoteProtocolError(Fault.OUT_OF_TURN, out_of_turn)
            return self._examine(payload, message)
        except RemoteProtocolError as fault:
            return Arrival(payload, message, fault)

    def receive(self, arrival: Arrival, now: Moment, *, verified: bool) -> list[Output]:
        """Act on what `read` returned in this state; `verified` says whether all its checks hold.

        The last output is `Established` or `Finished` exactly if this side is done.
        """
        assert self._state not in (State.NEW, State.MEMBER, State.CLOSED), self._state
        fault = arrival.fault
        if fault is None and not verified:
            fault = RemoteProtocolError(Fault.BAD_PROOF, "a signature does not hold")
        if fault is not None:
            return self._fail(arrival, fault)
        assert arrival.message is not None
        return self._turns[self._state, type(arrival.message)](self, arrival, now)

    @abstractmethod
    def _examine(self, payload: bytes, message: Message) -> Arrival:
        """Decode the evidence in a message that the state allows. Raises: RemoteProtocolError."""

    def _fail(self, arrival: Arrival, fault: RemoteProtocolError) -> list[Output]:
        return self._finish(Ending.FAULT, fault)

    def _finish(self, ending: Ending, error: ProtocolError | None = None) -> list[Output]:
        self._state = State.CLOSED
        return [Finished(ending, error)]

    def _agree(self, theirs: tuple[int, ...]) -> bool:
        """Settle on the largest common version, if there is one."""
        self._version = max((version for version in theirs if version in self._versions), default=0)
        return self._version > 0

    def _incompatible(self, theirs: tuple[int, ...]) -> list[Output]:
        return self._finish(Ending.INCOMPATIBLE, Incompatible(self._versions, theirs))


class Caller(_Side):
    """The side that dialled, for one group."""

    def __init__(self, group: Group, exporter: bytes, versions: tuple[int, ...] = VERSIONS) -> None:
        """`exporter` is the TLS session's (32 bytes); `versions` ascend."""
        super().__init__(exporter, State.NEW, versions)
        self._group = group
        self._prove = b""
        self._shown = b""

    @property
    def frame_bytes_max(self) -> int:
        """The largest payload that may come next: who knows the group's name may answer with two bundles."""
        return WELCOME_FRAME_BYTES_MAX if self._state is State.PROOF else super().frame_bytes_max

    def start(self) -> list[Output]:
        """Speak first."""
        assert self._state is State.NEW
        self._state = State.HELLO
        ours = selector(self._group.authority, Direction.CALLER, self._exporter)
        hello = encode_message(Hello(self._versions, ours))
        self._hellos = (hello, b"")
        return [SendHandshake(hello)]

    def _examine(self, payload: bytes, message: Message) -> Arrival:
        if isinstance(message, Nothing):
            return _examine_refusal(payload, message, self._group, self._shown)
        if not isinstance(message, Welcome):
            return Arrival(payload, message)
        group, own = self._group, self._group.own_key().public
        key = public_key_untrusted(message.key)
        bundle = read_untrusted_evidence(message.bundle, group, key)
        newer = read_untrusted_evidence(message.newer, group, own)
        # Guards: two groups whose ids begin with the same 20 bytes; who never was a member knows only those.
        if bundle is not None and newer is not None and bundle.gid != newer.gid:
            raise RemoteProtocolError(Fault.WRONG_GROUP, "the two bundles are of two groups")
        exchange = exchange_hash(*self._hellos, self._prove)
        statement = answerer_statement(
            group.authority, key.pid, message.node_id, self._exporter, own.pid, exchange
        )
        checks = _checks(SignatureCheck(key.raw, message.signature, statement), bundle, newer)
        return Arrival(payload, message, None, key, bundle, newer, None, checks)

    def _on_hello(self, arrival: Arrival, now: Moment) -> list[Output]:
        hello = arrival.message
        assert isinstance(hello, Hello)
        if not self._agree(hello.versions):
            return self._incompatible(hello.versions)
        authority = self._group.authority
        if same_selector(hello.selector, selector(authority, Direction.CALLER, self._exporter)):
            # Guards: somebody without the name repeats ours, so that we show our key to it.
            return self._finish(Ending.FAULT, RemoteProtocolError(Fault.BAD_PROOF, "our selector came back"))
        if not same_selector(hello.selector, selector(authority, Direction.ANSWERER, self._exporter)):
            return self._finish(Ending.NOT_SERVED)
        self._hellos = (self._hellos[0], arrival.payload)
        proof = self._proof(now.utc_s)
        self._prove, self._shown = encode_message(proof), proof.bundle
        self._state = State.PROOF
        return [SendHandshake(self._prove)]

    def _proof(self, at_s: int) -> Prove:
        group, own = self._group, self._group.own_key()
        statement = caller_statement(group.authority, own.public.pid, group.node_id, self._exporter)
        return Prove(own.public.raw, group.node_id, own.sign(statement), group.own_bundle(at_s))

    def _on_nothing(self, arrival: Arrival, now: Moment) -> list[Output]:
        learnt, ending = _learn(self._group, arrival, now.utc_s)
        return [*learnt, *self._finish(ending)]

    def _on_welcome(self, arrival: Arrival, now: Moment) -> list[Output]:
        welcome, key, group = arrival.message, arrival.key, self._group
        assert isinstance(welcome, Welcome)
        assert key is not None
        if welcome.node_id == group.node_id:
            return self._finish(Ending.SELF)
        outputs = _take_own(group, arrival.newer, now.utc_s)
        if not is_member(group, key, arrival.bundle, now.utc_s):
            refusal = encode_message(refusal_of(group, key, arrival.bundle))
            return [*outputs, SendHandshake(refusal), *self._finish(Ending.NEIGHBOR_NOT_VALID)]
        finish = encode_message(Finish(newer_for(group, key, arrival.bundle, now.utc_s)))
        self._state = State.MEMBER
        evidence = _holding(group, arrival.bundle, now.utc_s)
        return [*outputs, SendHandshake(finish), Established(key, welcome.node_id, evidence, self._version)]

    _turns: ClassVar[_Turns] = {
        (State.HELLO, Hello): _on_hello,
        (State.PROOF, Nothing): _on_nothing,
        (State.PROOF, Welcome): _on_welcome,
    }


class Answerer(_Side):
    """The side that listened, for whichever of its groups the caller names."""

    def __init__(
        self,
        groups: Callable[[], Sequence[Group]],
        exporter: bytes,
        random_selector: bytes,
        versions: tuple[int, ...] = VERSIONS,
    ) -> None:
        """`groups` are those served; `random_selector`, 16 fresh random bytes, stands in for any other."""
        assert len(random_selector) == SELECTOR_BYTES
        super().__init__(exporter, State.HELLO, versions)
        self._groups = groups
        self._random_selector = random_selector
        self._group: Group | None = None
        self._proved: Arrival | None = None
        self._shown = b""

    @property
    def group(self) -> Group | None:
        """The group that the caller named, once it has; None when it is not served here."""
        return self._group

    def _examine(self, payload: bytes, message: Message) -> Arrival:
        group = self._group
        if group is None:
            return Arrival(payload, message)
        if isinstance(message, Prove):
            key = public_key_untrusted(message.key)
            bundle = read_untrusted_evidence(message.bundle, group, key)
            statement = caller_statement(group.authority, key.pid, message.node_id, self._exporter)
            checks = _checks(SignatureCheck(key.raw, message.signature, statement), bundle)
            return Arrival(payload, message, None, key, bundle, None, None, checks)
        if isinstance(message, Nothing):
            return _examine_refusal(payload, message, group, self._shown)
        assert isinstance(message, Finish)
        newer = read_untrusted_evidence(message.newer, group, group.own_key().public)
        return Arrival(payload, message, newer=newer, checks=_checks(None, newer))

    def _fail(self, arrival: Arrival, fault: RemoteProtocolError) -> list[Output]:
        if self._state is State.PROOF and isinstance(arrival.message, Prove):
            return self._refuse(fault)
        return super()._fail(arrival, fault)

    def _refuse(self, fault: RemoteProtocolError | None = None, answer: Nothing = NOTHING) -> list[Output]:
        """The one answer to every Prove that is not a member's."""
        return [SendHandshake(encode_message(answer)), *self._finish(Ending.REFUSED, fault)]

    def _on_hello(self, arrival: Arrival, now: Moment) -> list[Output]:
        hello = arrival.message
        assert isinstance(hello, Hello)
        self._group = self._named_by(hello.selector)
        ours = self._random_selector
        if self._group is not None:
            ours = selector(self._group.authority, Direction.ANSWERER, self._exporter)
        answer = encode_message(Hello(self._versions, ours))
        self._hellos = (arrival.payload, answer)
        if not self._agree(hello.versions):
            # The answer goes out all the same: it tells the caller what is spoken here.
            return [SendHandshake(answer), *self._incompatible(hello.versions)]
        self._state = State.PROOF
        return [SendHandshake(answer)]

    def _named_by(self, theirs: bytes) -> Group | None:
        """The group that a caller's selector means; all are compared, however early one fits."""
        named = None
        for group in self._groups():
            if same_selector(theirs, selector(group.authority, Direction.CALLER, self._exporter)):
                named = group
        return named

    def _on_prove(self, arrival: Arrival, now: Moment) -> list[Output]:
        prove, key, group = arrival.message, arrival.key, self._group
        assert isinstance(prove, Prove)
        if group is None:
            return self._refuse()
        assert key is not None
        ourselves = prove.node_id == group.node_id
        calling_half = ourselves and key == group.own_key().public
        if not calling_half and not is_member(group, key, arrival.bundle, now.utc_s):
            return self._refuse(answer=refusal_of(group, key, arrival.bundle))
        answer = self._welcome(group, arrival, key, now.utc_s)
        self._shown, welcome = answer.bundle, encode_message(answer)
        if ourselves:
            return [SendHandshake(welcome), *self._finish(Ending.SELF)]
        self._proved = arrival
        self._state = State.FINISH
        return [SendHandshake(welcome)]

    def _welcome(self, group: Group, arrival: Arrival, key: PublicKey, at_s: int) -> Welcome:
        own = group.own_key()
        exchange = exchange_hash(*self._hellos, arrival.payload)
        statement = answerer_statement(
            group.authority, own.public.pid, group.node_id, self._exporter, key.pid, exchange
        )
        return Welcome(
            key=own.public.raw,
            node_id=group.node_id,
            signature=own.sign(statement),
            bundle=group.own_bundle(at_s),
            newer=newer_for(group, key, arrival.bundle, at_s),
        )

    def _on_nothing(self, arrival: Arrival, now: Moment) -> list[Output]:
        assert self._group is not None
        learnt, ending = _learn(self._group, arrival, now.utc_s)
        return [*learnt, *self._finish(ending)]

    def _on_finish(self, arrival: Arrival, now: Moment) -> list[Output]:
        group, proved = self._group, self._proved
        assert group is not None
        assert proved is not None
        prove, key = proved.message, proved.key
        assert isinstance(prove, Prove)
        assert key is not None
        outputs = _take_own(group, arrival.newer, now.utc_s)
        if not is_member(group, key, proved.bundle, now.utc_s):
            return [*outputs, *self._finish(Ending.NEIGHBOR_NOT_VALID)]
        self._state = State.MEMBER
        evidence = _holding(group, proved.bundle, now.utc_s)
        return [*outputs, Established(key, prove.node_id, evidence, self._version)]

    _turns: ClassVar[_Turns] = {
        (State.HELLO, Hello): _on_hello,
        (State.PROOF, Prove): _on_prove,
        (State.FINISH, Finish): _on_finish,
        (State.FINISH, Nothing): _on_nothing,
    }


def _take_own(group: Group, newer: Bundle | None, at_s: int) -> list[Output]:
    """Adopt what was handed to us if it is better than what we have."""
    if newer is not None and better(group, newer, shown_by_us(group, at_s), at_s):
        return [AdoptOwn(newer)]
    return []


def _examine_refusal(payload: bytes, message: Nothing, group: Group, shown: bytes) -> Arrival:
    """Decode the proof in a refusal, if there is one. Raises: RemoteProtocolError."""
    removal = read_untrusted_removal(message.proof, group, shown)
    checks = () if removal is None else tuple(removal.checks())
    return Arrival(payload, message, removal=removal, checks=checks)


def _learn(group: Group, arrival: Arrival, at_s: int) -> tuple[list[Output], Ending]:
    """What a refusal tells us of ourselves."""
    if arrival.removal is None or not group.is_removed_by(arrival.removal, at_s):
        return [], Ending.NOTHING
    return [LearnOwn(arrival.removal)], Ending.REMOVED


def _holding(group: Group, shown: Bundle | None, at_s: int) -> Bundle | None:
    """What the other side showed, if its membership may rest on it."""
    return shown if shown is not None and group.accepts(shown, at_s) else None


def _checks(proof: SignatureCheck | None, *bundles: Bundle | None) -> tuple[SignatureCheck, ...]:
    """The proof first, the cheapest to refuse by; then the evidence, what two bundles share only once."""
    evidence = [check for bundle in bundles if bundle is not None for check in bundle.checks()]
    return tuple(dict.fromkeys(evidence if proof is None else [proof, *evidence]))
