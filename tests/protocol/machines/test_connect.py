"""Opening a connection: who may say what when, what each proof binds, and how every other way ends."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings, strategies as st

from protocol.codec import decode_untrusted, encode
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, Incompatible, RemoteProtocolError
from protocol.limits import (
    BUNDLE_BYTES_MAX,
    FRAME_BYTES_MAX_MEMBER,
    FRAME_BYTES_MAX_STRANGER,
    WELCOME_FRAME_BYTES_MAX,
)
from protocol.machines import pickup
from protocol.machines.connect import (
    AdoptOwn,
    Answerer,
    Caller,
    Ending,
    Established,
    Finished,
    SendHandshake,
    State,
)
from protocol.machines.proofs import Direction
from protocol.wire.framing import FrameReader, frame
from protocol.wire.messages import (
    NOTHING,
    Finish,
    Hello,
    Nothing,
    Prove,
    Welcome,
    decode_untrusted_message,
    encode_message,
)
from tests.protocol.machines.handshakes import (
    CALLER_LEAVES,
    EXPORTER,
    LINKED,
    MET,
    RANDOM_SELECTOR,
    REFUSED,
    RENEWED,
    VALID,
    WELCOMED,
    Node,
    Realm,
    Steps,
    Talk,
    arrive,
    at,
    fault_of,
    hello_of,
    key_of,
    prove_of,
    silent_fault,
    talk,
    welcome_of,
)
from tests.protocol.wire.test_messages import EXAMPLES

CLUB, OTHER_CLUB = Realm(), Realm("other club")
C, A, OTHER = key_of("caller"), key_of("answerer"), key_of("somebody else")
BUNDLES = {key: CLUB.credential(key, VALID) for key in (C, A, OTHER)}
RENEWAL = CLUB.credential(C, RENEWED)
RENEWAL_THERE = CLUB.credential(A, RENEWED)
OTHER_EXPORTER = bytes(32)


def caller_node(own: bytes = BUNDLES[C], *held: bytes) -> Node:
    """The calling node, a member unless told otherwise."""
    return Node(CLUB, C, own, list(held))


def answerer_node(own: bytes = BUNDLES[A], *held: bytes) -> Node:
    """The answering node, a member unless told otherwise."""
    return Node(CLUB, A, own, list(held))


def members() -> Talk:
    """Two members that have just met."""
    return talk(caller_node(), answerer_node())


def end_in(side: str, state: State) -> tuple[Caller | Answerer, bytes]:
    """One end in a state, and the payload that the other end would send it there."""
    two = talk(caller_node(), answerer_node(BUNDLES[A], RENEWAL))
    end = two.caller if side == "caller" else two.answerer
    other = "answerer" if side == "caller" else "caller"
    while not (end.state is state and two.wire[other]):
        two.deliver("caller" if two.wire["caller"] else "answerer")
    return end, two.wire[other][0]


# What each state of each side waits for: the whole table.
TURNS = {
    ("caller", State.HELLO): (Hello,),
    ("caller", State.PROOF): (Nothing, Welcome),
    ("answerer", State.HELLO): (Hello,),
    ("answerer", State.PROOF): (Prove,),
    ("answerer", State.FINISH): (Finish, Nothing),
}
STATES = list(TURNS)
OUT_OF_TURN = [
    (side, state, message)
    for (side, state), expected in TURNS.items()
    for message in EXAMPLES
    if type(message) not in expected
]


# --- the table ----------------------------------------------------------------------------------------------


def test_the_tables_are_what_these_tests_go_through():
    found = {
        (side, state, kind)
        for side, end in (("caller", Caller), ("answerer", Answerer))
        for state, kind in end._turns
    }
    assert found == {(side, state, kind) for (side, state), kinds in TURNS.items() for kind in kinds}


@pytest.mark.parametrize(
    "side, state, message",
    OUT_OF_TURN,
    ids=lambda part: getattr(part, "value", None) or (part if isinstance(part, str) else type(part).__name__),
)
def test_message_out_of_turn_closes_without_a_word(side, state, message):
    end, _ = end_in(side, state)
    assert silent_fault(arrive(end, encode_message(message))) is Fault.OUT_OF_TURN
    assert end.state is State.CLOSED


@pytest.mark.parametrize("side, state", STATES)
def test_truncated_message_closes_without_a_word(side, state):
    _, arriving = end_in(side, state)
    expected = [encode_message(message) for message in EXAMPLES if type(message) in TURNS[side, state]]
    for payload in (arriving, *expected):
        for length in (0, 1, 2, len(payload) // 2, len(payload) - 1):
            end, _ = end_in(side, state)
            assert silent_fault(arrive(end, payload[:length])) is Fault.MALFORMED


@pytest.mark.parametrize("side, state", STATES)
def test_oversized_frame_is_refused_by_its_length_in_every_state(side, state):
    end, _ = end_in(side, state)
    with pytest.raises(RemoteProtocolError) as caught:
        FrameReader(end.frame_bytes_max).feed((end.frame_bytes_max + 1).to_bytes(4, "big"))
    assert caught.value.fault is Fault.OVER_LIMIT
    assert silent_fault(arrive(end, bytes(end.frame_bytes_max + 1))) is Fault.MALFORMED


@pytest.mark.parametrize("side, state", STATES)
def test_expected_message_with_a_field_too_large_closes_without_a_word(side, state):
    end, payload = end_in(side, state)
    code, fields = decode_untrusted(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
    for name, value in fields.items():
        if isinstance(value, bytes):
            fields[name] = bytes(BUNDLE_BYTES_MAX + 1)
            break
    assert silent_fault(arrive(end, encode([code, fields]))) is Fault.MALFORMED


@pytest.mark.parametrize("side, state", STATES)
@settings(max_examples=25)
@given(st.binary(max_size=120))
def test_random_bytes_close_and_raise_nothing(side, state, payload):
    end, _ = end_in(side, state)
    assert [type(output) for output in arrive(end, payload)] == [Finished]


@pytest.mark.parametrize("side, state", STATES)
def test_reading_changes_nothing(side, state):
    end, payload = end_in(side, state)
    assert end.read(payload) == end.read(payload)
    end.read(b"rubbish")
    assert end.state is state
    assert arrive(end, payload)[-1] != Finished(Ending.FAULT)


def test_who_is_done_is_not_fed_again():
    two = members()
    two.follow(LINKED)
    for end in (two.caller, two.answerer):
        with pytest.raises(AssertionError):
            arrive(end, encode_message(Finish(b"")))


def test_caller_speaks_once_and_first():
    caller = Caller(caller_node(), EXPORTER)
    assert caller.state is State.NEW
    with pytest.raises(AssertionError):
        arrive(caller, hello_of(CLUB.authority))
    caller.start()
    with pytest.raises(AssertionError):
        caller.start()


def test_larger_frames_are_allowed_only_where_two_bundles_may_come_and_to_members():
    two = members()
    limits = [(two.caller.frame_bytes_max, two.answerer.frame_bytes_max)]
    for sender, *_ in LINKED:
        two.deliver(sender)
        limits.append((two.caller.frame_bytes_max, two.answerer.frame_bytes_max))
    stranger, welcome, member = FRAME_BYTES_MAX_STRANGER, WELCOME_FRAME_BYTES_MAX, FRAME_BYTES_MAX_MEMBER
    callers = [stranger, stranger, welcome, welcome, member, member]
    answerers = [stranger, stranger, stranger, stranger, stranger, member]
    assert limits == list(zip(callers, answerers, strict=True))


# --- versions -----------------------------------------------------------------------------------------------


def speakers(ours: tuple[int, ...], theirs: tuple[int, ...]) -> Talk:
    """A conversation of two members that speak these versions."""
    caller = Caller(caller_node(), EXPORTER, ours)
    return Talk(caller, Answerer(lambda: [answerer_node()], EXPORTER, RANDOM_SELECTOR, theirs))


def test_largest_common_version_is_chosen():
    two = speakers((1, 2, 5), (2, 3, 5, 7))
    two.follow(LINKED)
    assert (two.established("caller").version, two.established("answerer").version) == (5, 5)


def test_versions_that_do_not_meet_end_both_sides_without_blame():
    two = speakers((1, 2), (3, 4))
    two.follow(
        [("caller", Hello, State.HELLO, State.CLOSED), ("answerer", Hello, State.CLOSED, State.CLOSED)]
    )
    caller, answerer = two.ending("caller"), two.ending("answerer")
    assert caller.ending is answerer.ending is Ending.INCOMPATIBLE
    assert isinstance(caller.error, Incompatible)
    assert isinstance(answerer.error, Incompatible)
    assert (
        (caller.error.ours, caller.error.theirs)
        == (answerer.error.theirs, answerer.error.ours)
        == ((1, 2), (3, 4))
    )


@pytest.mark.parametrize("sender", ["caller", "answerer"])
def test_version_list_edited_on_the_way_breaks_the_answerers_proof(sender):
    two = speakers((1, 2), (1, 2))
    if sender == "answerer":
        two.deliver("caller")
    code, fields = decode_untrusted(two.wire[sender][0], bytes_max=1000)
    two.wire[sender][0] = encode([code, {**fields, "versions": [1]}])
    two.run()
    assert two.blamed("caller") is Fault.BAD_PROOF
    assert two.adopted("caller") == []


# --- selectors ----------------------------------------------------------------------------------------------


def test_caller_shows_nothing_to_who_does_not_serve_the_group():
    two = talk(caller_node(), Node(OTHER_CLUB, A))
    two.follow([MET[0], ("answerer", Hello, State.CLOSED, State.PROOF)])
    assert two.ending("caller") == Finished(Ending.NOT_SERVED)
    assert two.wire["caller"] == []


def test_answerer_that_serves_nothing_answers_with_its_random_selector():
    two = talk(caller_node())
    hello = two.deliver("caller")
    answer = two.deliver("answerer")
    assert isinstance(hello, Hello)
    assert answer == Hello((1,), RANDOM_SELECTOR)
    assert two.answerer.group is None


def test_echoed_selector_is_refused_as_a_fault():
    two = members()
    assert silent_fault(arrive(two.caller, two.wire["caller"][0])) is Fault.BAD_PROOF


def test_answerer_finds_the_group_among_those_it_serves():
    groups = [Node(OTHER_CLUB, A), answerer_node(), Node(Realm("third"), A)]
    two = talk(caller_node(), *groups)
    two.follow(LINKED)
    assert two.answerer.group is groups[1]


@pytest.mark.parametrize(
    "hello",
    [
        hello_of(CLUB.authority, direction=Direction.ANSWERER),
        hello_of(CLUB.authority, exporter=OTHER_EXPORTER),
        hello_of(OTHER_CLUB.authority),
    ],
    ids=["wrong direction", "another connection", "another group"],
)
def test_selector_that_does_not_fit_names_no_group(hello):
    answerer = Answerer(lambda: [answerer_node()], EXPORTER, RANDOM_SELECTOR)
    arrive(answerer, hello)
    assert answerer.group is None
    outputs = arrive(answerer, prove_of(CLUB.authority, C, BUNDLES[C]))
    assert outputs == [SendHandshake(encode_message(NOTHING)), Finished(Ending.REFUSED)]


# --- proofs -------------------------------------------------------------------------------------------------


def test_proof_relayed_between_two_sessions_gets_nothing():
    # Somebody who knows the name sits between a member and the answerer, with a TLS session to each.
    two = talk(caller_node(), answerer_node(), exporter=EXPORTER, exporter_there=OTHER_EXPORTER)
    arrive(two.answerer, hello_of(CLUB.authority, exporter=OTHER_EXPORTER))
    (sent,) = arrive(two.caller, hello_of(CLUB.authority, direction=Direction.ANSWERER))
    assert isinstance(sent, SendHandshake)
    nothing, finished = arrive(two.answerer, sent.payload)
    assert nothing == SendHandshake(encode_message(NOTHING))
    assert fault_of(finished) is Fault.BAD_PROOF


def test_proof_replayed_on_another_connection_gets_nothing():
    two = members()
    two.follow(WELCOMED)
    recorded = [captured[4:] for sender, captured in two.captured if sender == "caller"]
    later = Answerer(lambda: [answerer_node()], OTHER_EXPORTER, RANDOM_SELECTOR)
    arrive(later, hello_of(CLUB.authority, exporter=OTHER_EXPORTER))
    assert arrive(later, recorded[1])[0] == SendHandshake(encode_message(NOTHING))


def test_whole_recorded_exchange_replayed_gets_nothing():
    two = members()
    two.follow(LINKED)
    recorded = [captured[4:] for sender, captured in two.captured if sender == "caller"]
    later = Answerer(lambda: [answerer_node()], OTHER_EXPORTER, RANDOM_SELECTOR)
    arrive(later, recorded[0])
    assert later.group is None
    assert arrive(later, recorded[1])[0] == SendHandshake(encode_message(NOTHING))


def test_welcome_relayed_from_another_session_is_refused():
    there = talk(caller_node(), answerer_node(), exporter=OTHER_EXPORTER)
    there.follow(WELCOMED)
    here = members()
    here.follow(WELCOMED)
    assert silent_fault(arrive(here.caller, there.wire["answerer"][0])) is Fault.BAD_PROOF


def test_welcome_with_a_proof_for_another_caller_is_refused():
    two = members()
    two.follow(WELCOMED)
    for_another = welcome_of(two, answerer_node(), OTHER, BUNDLES[A], b"")
    assert silent_fault(arrive(two.caller, for_another)) is Fault.BAD_PROOF


def test_welcome_that_answers_another_exchange_is_refused():
    two, other = members(), talk(caller_node(RENEWAL), answerer_node())
    two.follow(WELCOMED)
    other.follow(WELCOMED)
    assert silent_fault(arrive(two.caller, other.wire["answerer"][0])) is Fault.BAD_PROOF


def test_proof_of_one_side_is_none_of_the_other():
    two = members()
    two.follow(WELCOMED)
    prove = decode_untrusted_message(two.captured[2][1][4:], bytes_max=FRAME_BYTES_MAX_STRANGER)
    assert isinstance(prove, Prove)
    back = Welcome(prove.key, bytes(16), prove.signature, prove.bundle, b"")
    assert silent_fault(arrive(two.caller, encode_message(back))) is Fault.BAD_PROOF


@settings(max_examples=40)
@given(st.data())
def test_any_changed_bit_of_a_prove_ends_the_connection(data):
    two = members()
    two.follow(MET)
    payload = changed(two.wire["caller"][0], data)
    outputs = arrive(two.answerer, payload)
    assert two.answerer.state is State.CLOSED
    assert outputs[:-1] in ([], [SendHandshake(encode_message(NOTHING))])
    assert isinstance(outputs[-1], Finished)


@settings(max_examples=40)
@given(st.data())
def test_any_changed_bit_of_a_welcome_ends_the_connection_and_nothing_is_adopted(data):
    two = talk(caller_node(), answerer_node(BUNDLES[A], RENEWAL))
    two.follow(WELCOMED)
    outputs = arrive(two.caller, changed(two.wire["answerer"][0], data))
    assert [type(output) for output in outputs] == [Finished]


@settings(max_examples=40)
@given(st.data())
def test_any_changed_bit_of_a_finish_ends_the_connection_and_nothing_is_adopted(data):
    two = talk(caller_node(BUNDLES[C], RENEWAL_THERE), answerer_node())
    two.follow(LINKED[:4])
    outputs = arrive(two.answerer, changed(two.wire["caller"][0], data))
    assert [type(output) for output in outputs] == [Finished]


def changed(payload: bytes, data: st.DataObject) -> bytes:
    """The payload with one bit flipped."""
    spoilt = bytearray(payload)
    spoilt[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(spoilt)


@pytest.mark.parametrize(
    "side, state", [("caller", State.PROOF), ("answerer", State.PROOF), ("answerer", State.FINISH)]
)
def test_unverified_signatures_end_the_connection(side, state):
    two = talk(caller_node(BUNDLES[C], RENEWAL_THERE), answerer_node(BUNDLES[A], RENEWAL))
    end = two.caller if side == "caller" else two.answerer
    sender = "answerer" if side == "caller" else "caller"
    while not (end.state is state and two.wire[sender]):
        two.deliver("caller" if two.wire["caller"] else "answerer")
    arrival = end.read(two.wire[sender][0])
    assert arrival.checks
    outputs = end.receive(arrival, at(), verified=False)
    assert fault_of(outputs[-1]) is Fault.BAD_PROOF
    assert not any(isinstance(output, (AdoptOwn, Established)) for output in outputs)


@pytest.mark.parametrize("verified", [True, False])
def test_fault_found_in_reading_is_the_one_that_is_told(verified):
    end, _ = end_in("caller", State.PROOF)
    outputs = end.receive(end.read(encode_message(Finish(b""))), at(), verified=verified)
    assert silent_fault(outputs) is Fault.OUT_OF_TURN


def test_proof_is_the_first_check_and_shared_evidence_is_checked_once():
    two = talk(caller_node(), answerer_node(BUNDLES[A], RENEWAL))
    two.follow(WELCOMED)
    arrival = two.caller.read(two.wire["answerer"][0])
    assert arrival.checks[0].key == A.public.raw
    assert arrival.bundle is not None
    assert arrival.newer is not None
    one, other = arrival.bundle.checks(), arrival.newer.checks()
    assert len(arrival.checks) == 1 + len(set(one) | set(other)) < 1 + len(one) + len(other)
    assert all_hold(arrival.checks)


def test_field_of_a_newer_version_is_covered_by_the_exchange():
    # A newer caller adds a field to its Hello; the answerer hashes what it got, not what it understood.
    two = members()
    code, fields = decode_untrusted(two.wire["caller"][0], bytes_max=1000)
    two.wire["caller"][0] = encode([code, {**fields, "zz": 1}])
    two.caller._hellos = (two.wire["caller"][0], b"")
    two.follow(LINKED)


# --- evidence for somebody else -----------------------------------------------------------------------------


def test_bundle_of_another_member_does_not_make_a_member():
    two = talk(caller_node(BUNDLES[OTHER]), answerer_node())
    two.follow(REFUSED)
    assert two.blamed("answerer") is Fault.BAD_EVIDENCE


def test_answerer_that_shows_somebody_elses_bundle_is_refused():
    two = members()
    two.follow(WELCOMED)
    assert (
        silent_fault(arrive(two.caller, welcome_of(two, answerer_node(), C, BUNDLES[OTHER], b"")))
        is Fault.BAD_EVIDENCE
    )


def test_credential_of_another_subject_is_never_adopted_from_a_welcome():
    two = members()
    two.follow(WELCOMED)
    assert (
        silent_fault(arrive(two.caller, welcome_of(two, answerer_node(), C, BUNDLES[A], BUNDLES[OTHER])))
        is Fault.BAD_EVIDENCE
    )


def test_credential_of_another_subject_is_never_adopted_from_a_finish():
    two = members()
    two.follow(LINKED[:4])
    assert silent_fault(arrive(two.answerer, encode_message(Finish(BUNDLES[OTHER])))) is Fault.BAD_EVIDENCE


@pytest.mark.parametrize("part", ["bundle", "newer"])
def test_bundle_of_another_group_in_a_welcome_is_refused(part):
    two = members()
    two.follow(WELCOMED)
    foreign = {"bundle": BUNDLES[A], "newer": b""} | {
        part: OTHER_CLUB.credential(A if part == "bundle" else C)
    }
    assert (
        silent_fault(arrive(two.caller, welcome_of(two, answerer_node(), C, **foreign))) is Fault.WRONG_GROUP
    )


def test_bundle_of_another_group_in_a_finish_is_refused():
    two = members()
    two.follow(LINKED[:4])
    assert (
        silent_fault(arrive(two.answerer, encode_message(Finish(OTHER_CLUB.credential(A)))))
        is Fault.WRONG_GROUP
    )


def test_two_bundles_of_groups_whose_ids_begin_alike_are_refused(monkeypatch):
    def twin(raw, *, authority):
        bundle = CLUB.read(raw)
        if bundle.leaf.key == C.public:
            gid = bundle.gid[:20] + bytes(12)
            roots = (dataclasses.replace(bundle.root, gid=gid), *bundle.roots[1:])
            bundle = dataclasses.replace(bundle, roots=roots)
        return bundle

    two = talk(caller_node(b""), answerer_node(BUNDLES[A], RENEWAL))
    two.follow(WELCOMED)
    monkeypatch.setattr(pickup, "decode_untrusted_bundle", twin)
    assert silent_fault(arrive(two.caller, two.wire["answerer"][0])) is Fault.WRONG_GROUP


def test_key_of_small_order_is_refused_in_a_welcome():
    two = members()
    two.follow(WELCOMED)
    welcome = Welcome(bytes(32), bytes(16), bytes(64), b"", b"")
    assert silent_fault(arrive(two.caller, encode_message(welcome))) is Fault.MALFORMED


# --- ourselves ----------------------------------------------------------------------------------------------

SELF_MET: Steps = [
    *MET,
    ("caller", Prove, State.PROOF, State.CLOSED),
    ("answerer", Welcome, State.CLOSED, State.CLOSED),
]


@pytest.mark.parametrize("own", [BUNDLES[C], b""], ids=["member", "never a member"])
def test_connection_to_ourselves_closes_with_its_own_reason_on_both_ends(own):
    two = talk(caller_node(own), caller_node(own))
    two.follow(SELF_MET)
    assert two.ending("caller") == two.ending("answerer") == Finished(Ending.SELF)
    assert two.adopted("caller") == []


def test_member_with_our_node_id_closes_with_that_reason():
    answerer = answerer_node()
    caller = dataclasses.replace(caller_node(), node_id=answerer.node_id)
    two = talk(caller, answerer)
    two.follow(SELF_MET)
    assert two.ending("caller").ending is two.ending("answerer").ending is Ending.SELF


def test_stranger_with_our_node_id_gets_nothing():
    answerer = answerer_node()
    talk(dataclasses.replace(caller_node(b""), node_id=answerer.node_id), answerer).follow(REFUSED)


def test_our_identity_on_another_machine_is_a_neighbor_like_others():
    elsewhere = dataclasses.replace(caller_node(), node_id=bytes(16))
    two = talk(caller_node(), elsewhere)
    two.follow(LINKED)
    assert two.established("caller").key == C.public


def test_our_identity_on_another_machine_without_a_credential_gets_nothing():
    elsewhere = dataclasses.replace(caller_node(b""), node_id=bytes(16))
    talk(elsewhere, caller_node()).follow(REFUSED)


def test_frames_of_a_handshake_survive_any_cutting():
    two = members()
    two.follow(LINKED)
    for sender in ("caller", "answerer"):
        payloads = [captured[4:] for who, captured in two.captured if who == sender]
        reader = FrameReader(WELCOME_FRAME_BYTES_MAX)
        stream = b"".join(frame(payload) for payload in payloads)
        assert [one for i in range(0, len(stream), 7) for one in reader.feed(stream[i : i + 7])] == payloads


def test_caller_that_leaves_sends_nothing_more():
    two = talk(caller_node(), answerer_node(b""))
    two.follow(CALLER_LEAVES)
    assert two.wire == {"caller": [], "answerer": []}
