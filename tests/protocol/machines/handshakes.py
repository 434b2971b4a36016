"""What the tests of opening a connection share: a realm that issues credentials, nodes, ends that talk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from protocol.authority.bodies import Kind, RevokeCredentialBody
from protocol.authority.bundle import Bundle, decode_untrusted_bundle
from protocol.authority.removal_proof import RemovalProof, make_removal_proof
from protocol.credentials.keys import PrivateKey, all_hold
from protocol.errors import Fault, RemoteProtocolError
from protocol.machines.connect import (
    AdoptOwn,
    Answerer,
    Arrival,
    Caller,
    Ending,
    Established,
    Finished,
    LearnOwn,
    Output,
    SendHandshake,
    State,
)
from protocol.machines.proofs import Direction, answerer_statement, caller_statement, exchange_hash, selector
from protocol.peer_time import Moment, Window
from protocol.wire.framing import frame
from protocol.wire.messages import (
    NOTHING_PROOF_BYTES_MAX,
    Finish,
    Hello,
    Message,
    Nothing,
    Prove,
    Welcome,
    decode_untrusted_message,
    encode_message,
)
from tests.support.builders import Group
from tests.support.keys import named

NOW_S = 1_800_000_000
DAY_S = 86_400
VALID = Window(NOW_S - 10 * DAY_S, NOW_S + 10 * DAY_S)
RENEWED = Window(NOW_S - DAY_S, NOW_S + 30 * DAY_S)
ENDED = Window(NOW_S - 20 * DAY_S, NOW_S - DAY_S)
EXPORTER = bytes(range(32))
RANDOM_SELECTOR = b"not a selector !"


_NAMES: dict[bytes, str] = {}


def key_of(name: str) -> PrivateKey:
    """The key that belongs to a name in these tests."""
    key = named(name)
    _NAMES[key.public.raw] = name
    return key


def at(second: int = NOW_S) -> Moment:
    """A moment at a second UTC."""
    return Moment(0, second * 1000)


class Realm:
    """A group that has been there for long, and grants credentials to keys."""

    def __init__(self, classifier: str = "club") -> None:
        self._group = Group(classifier, now=at(NOW_S - 1000 * DAY_S))
        self.gid, self.authority = self._group.gid, self._group.authority
        self._read: dict[bytes, Bundle] = {}

    def credential(self, subject: PrivateKey, window: Window = VALID) -> bytes:
        """The bundle of a new grant to a key: genesis, the administrator's grant, this one."""
        text = f"grc -> alice:admin -> {_NAMES[subject.public.raw]}:member"
        return self._group.bundle(self._group.grant(text, window=window)).raw

    def removal(self, subject: PrivateKey, shown: bytes = b"") -> bytes:
        """The proof that the administrator has removed a key, for one that shows this bundle."""
        view, pid = self._group.view, subject.public.pid
        if not view.removals_of(pid):
            self._group.act(
                "alice", Kind.REVOKE_CREDENTIAL, RevokeCredentialBody(key=subject.public.raw, reason="lost")
            )
        bundle = self.read(shown) if shown else None
        proof = make_removal_proof(view, pid, bundle, self._group.raw_of, bytes_max=NOTHING_PROOF_BYTES_MAX)
        assert proof
        return proof

    def read(self, raw: bytes) -> Bundle:
        """A bundle of this group, decoded."""
        if raw not in self._read:
            self._read[raw] = decode_untrusted_bundle(raw, authority=self.authority)
        return self._read[raw]


@dataclass
class Node:
    """A group as opening a connection sees it: one key, its own bundle, the credentials held for others."""

    realm: Realm
    key: PrivateKey
    own: bytes = b""
    held: list[bytes] = field(default_factory=list)
    hit: set[bytes] = field(default_factory=set)
    node_id: bytes = b""
    removed: dict[bytes, bytes] = field(default_factory=dict)  # proofs by pid
    believes: bool = True  # what it is told of its own removal

    def __post_init__(self) -> None:
        self.node_id = self.node_id or self.key.public.pid[:16]

    @property
    def authority(self) -> bytes:
        return self.realm.authority

    def own_key(self) -> PrivateKey:
        return self.key

    def own_bundle(self, at_s: int) -> bytes:
        return self.own

    def is_member(self, pid: bytes, at_s: int) -> bool:
        return bool(self._valid(pid, at_s))

    def bundle_for(self, pid: bytes, at_s: int) -> bytes:
        return (
            min(self._valid(pid, at_s), key=lambda bundle: bundle.leaf.rank()).raw
            if self._valid(pid, at_s)
            else b""
        )

    def accepts(self, bundle: Bundle, at_s: int) -> bool:
        hit = any(act.id in self.hit for act in bundle.acts)
        return bundle.gid == self.realm.gid and bundle.leaf.window.holds(at_s) and not hit

    def removal_proof(self, pid: bytes, shown: Bundle | None) -> bytes:
        return self.removed.get(pid, b"")

    def is_removed_by(self, proof: RemovalProof, at_s: int) -> bool:
        return self.believes

    def _valid(self, pid: bytes, at_s: int) -> list[Bundle]:
        bundles = [self.realm.read(raw) for raw in self.held]
        return [bundle for bundle in bundles if bundle.leaf.pid == pid and self.accepts(bundle, at_s)]


# Sender, kind of message, state of the caller and of the answerer once it has arrived.
Steps: TypeAlias = Sequence[tuple[str, type[Any], State, State]]


class Talk:
    """Two ends and the wire between them; messages are delivered one at a time, by who sent them."""

    def __init__(self, caller: Caller, answerer: Answerer) -> None:
        self.caller, self.answerer = caller, answerer
        self.outputs: dict[str, list[Output]] = {"caller": [], "answerer": []}
        self.wire: dict[str, list[bytes]] = {"caller": [], "answerer": []}
        self.captured: list[tuple[str, bytes]] = []
        self._keep("caller", caller.start())

    @property
    def states(self) -> tuple[State, State]:
        """The caller's and the answerer's."""
        return self.caller.state, self.answerer.state

    def deliver(self, sender: str, now: Moment | None = None) -> Message:
        """Take the oldest message that `sender` sent to the other end, and return it."""
        payload = self.wire[sender].pop(0)
        receiver = "answerer" if sender == "caller" else "caller"
        end = self.answerer if sender == "caller" else self.caller
        self._keep(receiver, arrive(end, payload, now))
        return decode_untrusted_message(payload, bytes_max=2**18)

    def follow(self, steps: Steps) -> None:
        """Deliver as the steps say: who sent it, what it must be, and both ends' states after it arrived."""
        for sender, kind, caller_state, answerer_state in steps:
            assert type(self.deliver(sender)) is kind
            assert self.states == (caller_state, answerer_state)

    def run(self) -> None:
        """Deliver until nothing is under way or the receiver is done."""
        while self.wire["caller"] or self.wire["answerer"]:
            sender = "caller" if self.wire["caller"] else "answerer"
            end = self.answerer if sender == "caller" else self.caller
            if end.state in (State.CLOSED, State.MEMBER):
                return
            self.deliver(sender)

    def _keep(self, end: str, outputs: list[Output]) -> None:
        self.outputs[end] += outputs
        for output in outputs:
            if isinstance(output, SendHandshake):
                self.wire[end].append(output.payload)
                self.captured.append((end, frame(output.payload)))

    def ending(self, end: str) -> Finished:
        """Why an end closed."""
        (ending,) = [output for output in self.outputs[end] if isinstance(output, Finished)]
        return ending

    def learnt(self, end: str) -> list[bytes]:
        """The acts by which an end was told that it has been removed."""
        return [output.removal.removal.id for output in self.outputs[end] if isinstance(output, LearnOwn)]

    def blamed(self, end: str) -> Fault:
        """The fault with which an end closed."""
        return fault_of(self.ending(end))

    def established(self, end: str) -> Established:
        """What an end knows of its new neighbor."""
        (established,) = [output for output in self.outputs[end] if isinstance(output, Established)]
        return established

    def adopted(self, end: str) -> list[bytes]:
        """The credentials that an end took as its own."""
        return [output.bundle.raw for output in self.outputs[end] if isinstance(output, AdoptOwn)]


def fault_of(output: Output) -> Fault:
    """What a `Finished` says that the other side did wrong."""
    assert isinstance(output, Finished)
    assert isinstance(output.error, RemoteProtocolError)
    return output.error.fault


def silent_fault(outputs: list[Output]) -> Fault:
    """The fault of an end that closed without another word, and adopted nothing."""
    (finished,) = outputs
    assert isinstance(finished, Finished)
    assert finished.ending is Ending.FAULT
    return fault_of(finished)


def arrive(end: Caller | Answerer, payload: bytes, now: Moment | None = None) -> list[Output]:
    """Do what a driver does with a frame: read it, verify its signatures, hand it in."""
    arrival: Arrival = end.read(payload)
    return end.receive(arrival, now or at(), verified=all_hold(arrival.checks))


def talk(
    caller: Node, *answerers: Node, exporter: bytes = EXPORTER, exporter_there: bytes | None = None
) -> Talk:
    """A conversation that has just begun; the exporters differ when somebody sits in between."""
    answerer = Answerer(lambda: answerers, exporter_there or exporter, RANDOM_SELECTOR)
    return Talk(Caller(caller, exporter), answerer)


MET: Steps = [
    ("caller", Hello, State.HELLO, State.PROOF),
    ("answerer", Hello, State.PROOF, State.PROOF),
]
WELCOMED: Steps = [*MET, ("caller", Prove, State.PROOF, State.FINISH)]
LINKED: Steps = [
    *WELCOMED,
    ("answerer", Welcome, State.MEMBER, State.FINISH),
    ("caller", Finish, State.MEMBER, State.MEMBER),
]
REFUSED: Steps = [
    *MET,
    ("caller", Prove, State.PROOF, State.CLOSED),
    ("answerer", Nothing, State.CLOSED, State.CLOSED),
]
CALLER_LEAVES: Steps = [
    *WELCOMED,
    ("answerer", Welcome, State.CLOSED, State.FINISH),
    ("caller", Nothing, State.CLOSED, State.CLOSED),
]


def hello_of(authority: bytes, exporter: bytes = EXPORTER, direction: Direction = Direction.CALLER) -> bytes:
    """The payload of a Hello that names a group."""
    return encode_message(Hello((1,), selector(authority, direction, exporter)))


def prove_of(
    authority: bytes,
    key: PrivateKey,
    bundle: bytes = b"",
    *,
    signer: PrivateKey | None = None,
    exporter: bytes = EXPORTER,
    node_id: bytes = bytes(16),
) -> bytes:
    """The payload of a Prove, made by hand, by `signer` in the name of `key`."""
    statement = caller_statement(authority, key.public.pid, node_id, exporter)
    return encode_message(Prove(key.public.raw, node_id, (signer or key).sign(statement), bundle))


def welcome_of(conversation: Talk, node: Node, to: PrivateKey, bundle: bytes, newer: bytes) -> bytes:
    """The payload of a Welcome, made by hand, that answers what was said in a conversation up to Prove."""
    hello, answer, prove = [captured[4:] for _, captured in conversation.captured[:3]]
    own, exchange = node.key, exchange_hash(hello, answer, prove)
    statement = answerer_statement(
        node.authority, own.public.pid, node.node_id, EXPORTER, to.public.pid, exchange
    )
    return encode_message(Welcome(own.public.raw, node.node_id, own.sign(statement), bundle, newer))
