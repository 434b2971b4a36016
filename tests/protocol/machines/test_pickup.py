"""Pickup: a credential reaches its subject from whoever holds it, and nobody else ever gets it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import NOTHING_FRAME_BYTES
from protocol.machines.connect import Ending, State
from protocol.machines.pickup import better, is_member, newer_for, read_untrusted_evidence, shown_by_us
from protocol.peer_time import Window
from protocol.wire.messages import Finish, Welcome
from tests.protocol.machines.handshakes import (
    CALLER_LEAVES,
    DAY_S,
    ENDED,
    LINKED,
    NOW_S,
    REFUSED,
    RENEWED,
    VALID,
    WELCOMED,
    Node,
    Realm,
    at,
    key_of,
    talk,
)

CLUB, OTHER_CLUB = Realm(), Realm("other club")
C, A, OTHER = key_of("caller"), key_of("answerer"), key_of("somebody else")
VALID_OF = {key: CLUB.credential(key, VALID) for key in (C, A, OTHER)}
ENDED_OF = {key: CLUB.credential(key, ENDED) for key in (C, A, OTHER)}
RENEWED_OF = {key: CLUB.credential(key, RENEWED) for key in (C, A, OTHER)}


def node(key, own=b"", *held):
    """A node of the club."""
    return Node(CLUB, key, own, list(held))


# --- the cases, as they happen ------------------------------------------------------------------------------


def test_two_members_get_a_link_and_nothing_to_adopt():
    two = talk(node(C, VALID_OF[C]), node(A, VALID_OF[A]))
    two.follow(LINKED)
    assert two.adopted("caller") == two.adopted("answerer") == []
    assert (two.established("caller").key, two.established("answerer").key) == (A.public, C.public)
    assert two.established("caller").bundle == CLUB.read(VALID_OF[A])
    assert two.established("answerer").bundle == CLUB.read(VALID_OF[C])


def test_members_learn_each_others_node_id_and_the_version():
    caller, answerer = node(C, VALID_OF[C]), node(A, VALID_OF[A])
    two = talk(caller, answerer)
    two.follow(LINKED)
    assert two.established("caller").node_id == answerer.node_id
    assert two.established("answerer").node_id == caller.node_id
    assert two.established("caller").version == two.established("answerer").version == 1


def test_expired_caller_gets_the_renewal_that_the_answerer_holds():
    two = talk(node(C, ENDED_OF[C]), node(A, VALID_OF[A], RENEWED_OF[C]))
    two.follow(LINKED)
    assert two.adopted("caller") == [RENEWED_OF[C]]
    assert two.established("answerer").bundle is None


def test_caller_that_never_was_a_member_gets_its_first_credential():
    two = talk(node(C), node(A, VALID_OF[A], VALID_OF[C]))
    two.follow(LINKED)
    assert two.adopted("caller") == [VALID_OF[C]]
    assert two.established("caller").key == A.public


def test_member_gets_its_renewal_while_the_old_credential_still_holds():
    two = talk(node(C, VALID_OF[C]), node(A, VALID_OF[A], RENEWED_OF[C]))
    two.follow(LINKED)
    assert two.adopted("caller") == [RENEWED_OF[C]]


def test_expired_answerer_gets_the_renewal_that_the_caller_holds():
    two = talk(node(C, VALID_OF[C], RENEWED_OF[A]), node(A, ENDED_OF[A]))
    two.follow(LINKED)
    assert two.adopted("answerer") == [RENEWED_OF[A]]
    assert two.adopted("caller") == []
    assert two.established("caller").bundle is None


def test_answerer_that_never_was_a_member_gets_its_first_credential_from_a_caller():
    two = talk(node(C, VALID_OF[C], VALID_OF[A]), node(A))
    two.follow(LINKED)
    assert two.adopted("answerer") == [VALID_OF[A]]


def test_both_expired_give_each_other_what_they_need():
    two = talk(node(C, ENDED_OF[C], RENEWED_OF[A]), node(A, ENDED_OF[A], RENEWED_OF[C]))
    two.follow(LINKED)
    assert two.adopted("caller") == [RENEWED_OF[C]]
    assert two.adopted("answerer") == [RENEWED_OF[A]]


def test_expired_caller_for_whom_there_is_nothing_newer_gets_nothing():
    two = talk(node(C, ENDED_OF[C]), node(A, VALID_OF[A], ENDED_OF[C]))
    two.follow(REFUSED)
    assert two.ending("caller").ending is Ending.NOTHING
    assert two.ending("answerer").ending is Ending.REFUSED


def test_member_leaves_an_expired_answerer_for_whom_it_has_nothing():
    two = talk(node(C, VALID_OF[C]), node(A, ENDED_OF[A]))
    two.follow(CALLER_LEAVES)
    assert two.ending("caller").ending is Ending.NEIGHBOR_NOT_VALID


def test_caller_keeps_its_new_credential_when_it_leaves_an_expired_answerer():
    two = talk(node(C, ENDED_OF[C]), node(A, ENDED_OF[A], RENEWED_OF[C]))
    two.follow(CALLER_LEAVES)
    assert two.adopted("caller") == [RENEWED_OF[C]]
    assert two.ending("caller").ending is Ending.NEIGHBOR_NOT_VALID


def test_credential_of_the_stores_own_view_needs_no_bundle():
    two = talk(node(C, b"", VALID_OF[C], VALID_OF[A]), node(A, b"", VALID_OF[C], VALID_OF[A]))
    two.follow(LINKED)


@pytest.mark.parametrize(
    "mine, theirs, for_caller, for_answerer",
    list(product(["none", "ended", "valid"], ["none", "ended", "valid"], [False, True], [False, True])),
)
def test_every_combination_ends_as_the_rules_say(mine, theirs, for_caller, for_answerer):
    own = {
        "none": dict.fromkeys((C, A), b""),
        "ended": ENDED_OF,
        "valid": VALID_OF,
    }
    caller = node(C, own[mine][C], *([RENEWED_OF[A]] if for_answerer else []))
    answerer = node(A, own[theirs][A], *([RENEWED_OF[C]] if for_caller else []))
    two = talk(caller, answerer)
    two.run()
    caller_is_member, answerer_is_member = mine == "valid" or for_caller, theirs == "valid" or for_answerer
    linked = caller_is_member and answerer_is_member
    assert two.adopted("caller") == ([RENEWED_OF[C]] if for_caller else [])
    assert two.adopted("answerer") == ([RENEWED_OF[A]] if for_answerer and linked else [])
    if linked:
        assert two.states == (State.MEMBER, State.MEMBER)
    elif caller_is_member:
        assert two.states == (State.CLOSED, State.CLOSED)
        assert (two.ending("caller").ending, two.ending("answerer").ending) == (
            Ending.NEIGHBOR_NOT_VALID,
            Ending.NOTHING,
        )
    else:
        assert two.states == (State.CLOSED, State.CLOSED)
        assert (two.ending("caller").ending, two.ending("answerer").ending) == (
            Ending.NOTHING,
            Ending.REFUSED,
        )


# --- time, and what the views say ---------------------------------------------------------------------------


def test_credential_of_the_future_is_not_handed_over():
    coming = CLUB.credential(C, Window(NOW_S + DAY_S, NOW_S + 2 * DAY_S))
    two = talk(node(C), node(A, VALID_OF[A], coming))
    two.follow(REFUSED)


@pytest.mark.parametrize("held", [[VALID_OF[C]], [VALID_OF[C], RENEWED_OF[C]]], ids=["older", "the same too"])
def test_credential_not_better_than_the_one_shown_is_not_handed_over(held):
    two = talk(node(C, RENEWED_OF[C]), node(A, VALID_OF[A], *held))
    two.follow(WELCOMED)
    welcome = two.deliver("answerer")
    assert isinstance(welcome, Welcome)
    assert welcome.newer == b""


def test_caller_leaves_its_own_credential_to_the_answerer_to_judge():
    two = talk(node(C, VALID_OF[C]), node(A, VALID_OF[A], CLUB.credential(A, ENDED)))
    two.follow(WELCOMED)
    two.deliver("answerer", at(VALID.end))
    assert two.states == (State.MEMBER, State.FINISH)


def test_handed_credential_that_does_not_hold_by_the_callers_clock_is_not_adopted():
    two = talk(node(C), node(A, VALID_OF[A], RENEWED_OF[C]))
    two.follow(WELCOMED)
    two.deliver("answerer", at(RENEWED.start - 1))
    assert two.adopted("caller") == []


def test_answerer_judges_the_caller_again_when_the_link_opens():
    brief = CLUB.credential(C, Window(VALID.start, NOW_S + 1))
    two = talk(node(C, brief), node(A, VALID_OF[A]))
    two.follow(LINKED[:4])
    two.deliver("caller", at(NOW_S + 2))
    assert two.ending("answerer").ending is Ending.NEIGHBOR_NOT_VALID


def test_answerer_leaves_its_own_credential_to_the_caller_to_judge():
    brief = CLUB.credential(A, Window(VALID.start, NOW_S + 1))
    two = talk(node(C, VALID_OF[C]), node(A, brief))
    two.follow(LINKED[:4])
    two.deliver("caller", at(NOW_S + 2))
    assert two.states == (State.MEMBER, State.MEMBER)


def test_caller_revoked_in_the_answerers_view_gets_nothing():
    answerer = node(A, VALID_OF[A], VALID_OF[C])
    answerer.hit.add(CLUB.read(VALID_OF[C]).leaf.act_id)
    talk(node(C, VALID_OF[C]), answerer).follow(REFUSED)


def test_answerer_revoked_in_the_callers_view_is_left():
    caller = node(C, VALID_OF[C])
    caller.hit.add(CLUB.read(VALID_OF[A]).leaf.act_id)
    two = talk(caller, node(A, VALID_OF[A]))
    two.follow(CALLER_LEAVES)
    assert two.ending("caller").ending is Ending.NEIGHBOR_NOT_VALID


def test_own_credential_revoked_in_our_view_is_not_adopted_and_the_link_may_open():
    caller = node(C)
    caller.hit.add(CLUB.read(VALID_OF[C]).leaf.act_id)
    two = talk(caller, node(A, VALID_OF[A], VALID_OF[C]))
    two.follow(LINKED)
    assert two.adopted("caller") == []


def test_answerer_whose_own_credential_is_revoked_in_its_view_takes_the_link_of_a_member():
    answerer = node(A, VALID_OF[A])
    answerer.hit.add(CLUB.read(VALID_OF[A]).leaf.act_id)
    talk(node(C, VALID_OF[C]), answerer).follow(LINKED)


# --- who was removed is told --------------------------------------------------------------------------------


def refusing(key, subject, shown=b""):
    """A node that has seen a key removed."""
    one = node(key, VALID_OF[key])
    one.hit.add(CLUB.read(VALID_OF[subject]).leaf.act_id)
    one.removed[subject.public.pid] = CLUB.removal(subject, shown)
    return one


@pytest.mark.parametrize("shown", [b"", VALID_OF[C], ENDED_OF[C]], ids=["nothing", "valid", "ended"])
def test_removed_caller_is_told_in_the_answer_that_strangers_get(shown):
    two = talk(node(C, shown), refusing(A, C, shown))
    two.follow(REFUSED)
    assert two.ending("caller").ending is Ending.REMOVED
    assert len(two.learnt("caller")) == 1
    assert two.adopted("caller") == []
    assert len(two.captured[-1][1]) == NOTHING_FRAME_BYTES


def test_removed_answerer_is_told_by_a_caller():
    two = talk(refusing(C, A, VALID_OF[A]), node(A, VALID_OF[A]))
    two.follow(CALLER_LEAVES)
    assert two.ending("caller").ending is Ending.NEIGHBOR_NOT_VALID
    assert two.ending("answerer").ending is Ending.REMOVED
    assert len(two.learnt("answerer")) == 1
    assert len(two.captured[-1][1]) == NOTHING_FRAME_BYTES


def test_removal_that_does_not_count_by_our_view_is_not_believed():
    caller = node(C, VALID_OF[C])
    caller.believes = False
    two = talk(caller, refusing(A, C, VALID_OF[C]))
    two.follow(REFUSED)
    assert two.ending("caller").ending is Ending.NOTHING
    assert two.learnt("caller") == []


def _removed_elsewhere():
    """The proof that the caller was removed from another group."""
    OTHER_CLUB.credential(C)
    return OTHER_CLUB.removal(C)


def _forgery(spoil):
    """What a caller makes of a refusal with a proof that has been tampered with."""
    answerer = refusing(A, C)
    answerer.removed[C.public.pid] = spoil(CLUB.removal(C))
    two = talk(node(C), answerer)
    two.run()
    return two


@pytest.mark.parametrize(
    "spoil, fault",
    [
        (lambda proof: proof[:-1] + bytes([proof[-1] ^ 1]), Fault.BAD_PROOF),
        (lambda proof: proof[:-1], Fault.MALFORMED),
        (lambda proof: CLUB.removal(OTHER), Fault.BAD_EVIDENCE),
        (lambda proof: CLUB.removal(C, VALID_OF[C]), Fault.BAD_EVIDENCE),
        (lambda proof: _removed_elsewhere(), Fault.WRONG_GROUP),
    ],
    ids=["a signature", "cut short", "somebody else's", "acts that were not shown", "another group's"],
)
def test_refusal_with_a_spoilt_proof_is_a_fault_and_tells_nothing(spoil, fault):
    two = _forgery(spoil)
    assert two.blamed("caller") is fault
    assert two.learnt("caller") == []


# --- only one's own -----------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.lists(st.sampled_from([*VALID_OF.values(), *ENDED_OF.values(), *RENEWED_OF.values()]), max_size=6))
def test_only_the_proved_keys_own_credentials_are_ever_handed_over(held):
    two = talk(node(C, VALID_OF[C], *held), node(A, VALID_OF[A], *held))
    two.follow(WELCOMED)
    welcome, finish = two.deliver("answerer"), two.deliver("caller")
    assert isinstance(welcome, Welcome)
    assert isinstance(finish, Finish)
    expected_c, expected_a = (RENEWED_OF[key] if RENEWED_OF[key] in held else b"" for key in (C, A))
    assert (welcome.newer, finish.newer) == (expected_c, expected_a)


def test_evidence_for_another_key_is_refused():
    with pytest.raises(RemoteProtocolError) as caught:
        read_untrusted_evidence(VALID_OF[OTHER], node(A), C.public)
    assert caught.value.fault is Fault.BAD_EVIDENCE


def test_evidence_of_another_group_is_refused():
    foreign = Realm("other club").credential(C)
    with pytest.raises(RemoteProtocolError) as caught:
        read_untrusted_evidence(foreign, node(A), C.public)
    assert caught.value.fault is Fault.WRONG_GROUP


def test_no_bundle_is_no_evidence():
    assert read_untrusted_evidence(b"", node(A), C.public) is None


@settings(max_examples=40)
@given(st.binary(min_size=1, max_size=200))
def test_random_evidence_raises_nothing_but_the_decoders_error(raw):
    with pytest.raises(RemoteProtocolError):
        read_untrusted_evidence(raw, node(A), C.public)


# --- the rules one by one -----------------------------------------------------------------------------------


def test_member_is_whom_the_shown_bundle_or_the_view_says():
    shown, ended = CLUB.read(VALID_OF[C]), CLUB.read(ENDED_OF[C])
    assert is_member(node(A), C.public, shown, NOW_S)
    assert is_member(node(A, b"", VALID_OF[C]), C.public, None, NOW_S)
    assert is_member(node(A, b"", VALID_OF[C]), C.public, ended, NOW_S)
    assert not is_member(node(A), C.public, ended, NOW_S)
    assert not is_member(node(A, b"", VALID_OF[OTHER]), C.public, None, NOW_S)


def test_what_holds_beats_what_does_not_and_never_the_other_way_round():
    ended, valid, renewed = (CLUB.read(found[C]) for found in (ENDED_OF, VALID_OF, RENEWED_OF))
    here = node(A)
    assert better(here, valid, None, NOW_S)
    assert better(here, valid, ended, NOW_S)
    assert better(here, renewed, valid, NOW_S)
    assert not better(here, valid, renewed, NOW_S)
    assert not better(here, valid, valid, NOW_S)
    assert not better(here, ended, None, NOW_S)
    assert not better(here, ended, valid, NOW_S)
    here.hit.add(renewed.leaf.act_id)
    assert better(here, valid, renewed, NOW_S)
    assert not better(here, renewed, valid, NOW_S)


def test_newer_is_empty_when_nothing_better_is_held():
    shown = CLUB.read(VALID_OF[C])
    assert newer_for(node(A), C.public, None, NOW_S) == b""
    assert newer_for(node(A, b"", VALID_OF[C]), C.public, shown, NOW_S) == b""
    assert newer_for(node(A, b"", RENEWED_OF[C]), C.public, shown, NOW_S) == RENEWED_OF[C]
    assert newer_for(node(A, b"", VALID_OF[C]), C.public, None, NOW_S) == VALID_OF[C]


def test_own_bundle_that_nobody_could_read_is_our_mistake():
    assert shown_by_us(node(A), NOW_S) is None
    with pytest.raises(AssertionError):
        shown_by_us(node(A, b"rubbish"), NOW_S)
