"""Issuing: every rule of windows-grouping.md 3.6, and those of design sections 4 and 5, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import Place
from protocol.authority.admission import Valid, admit
from protocol.authority.bundle import decode_untrusted_bundle, make_bundle
from protocol.authority.elements import admit_der
from protocol.authority.grants import Grant
from protocol.authority.issuers import check_clock
from protocol.authority.issuing import CredentialInfo, IssueRequest, choose_issuer, plan_grant, write_grant
from protocol.authority.view import View
from protocol.credentials.keys import all_hold
from protocol.credentials.names import PeerName
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER
from protocol.errors import RuleError
from protocol.limits import DEFAULT_LIFE_S, HLC_AHEAD_MS_MAX
from protocol.peer_time import Moment, hlc_at, hlc_ms
from tests.protocol.authority.asking import BOB, LATER, admins, life, plan, refusal, wish
from tests.support.builders import DAY, GRC, Granted, Group
from tests.support.keys import key, named, peer_name


@pytest.fixture
def group():
    return Group()


DELIVERY = [{"store": True}, {"store": False, "invitation": True}, {"store": True, "invitation": True}]


# --- who is the subject -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", DELIVERY)
def test_known_subject_without_info_is_renewed_as_it_is(delivery, group):
    old = group.grant(BOB, friendly="Bobby", window=life(9, 9), wanted=30 * DAY).grant
    told = plan(group, wish(**delivery))
    assert (told.key, told.name, told.friendly_name) == (old.key, old.peer_name, "Bobby")
    assert (told.level, told.roles, told.wanted) == (old.level, old.roles, old.wanted)
    assert told.stored == delivery["store"]


@pytest.mark.parametrize("delivery", DELIVERY)
def test_known_subject_with_info_gets_what_the_info_says_and_keeps_the_rest(delivery, group):
    old = group.grant(BOB, friendly="Bobby", window=life(9, 9), wanted=30 * DAY).grant
    told = plan(group, wish(friendly_name="Robert", **delivery))
    assert (told.key, told.name, told.friendly_name) == (old.key, old.peer_name, "Robert")
    assert (told.level, told.roles, told.wanted) == (old.level, old.roles, old.wanted)
    assert told.stored == delivery["store"]


@pytest.mark.parametrize("delivery", DELIVERY)
def test_unknown_subject_without_info_is_not_found(delivery, group):
    assert refusal(group, wish("eve", **delivery)) == "identity-not-found"


@pytest.mark.parametrize("delivery", DELIVERY)
def test_unknown_subject_with_info_needs_its_key(delivery, group):
    assert refusal(group, wish("eve", role=MEMBER, **delivery)) == "invalid-credential-info"


@pytest.mark.parametrize("delivery", DELIVERY)
def test_unknown_subject_with_its_document_is_admitted_as_a_member(delivery, group):
    told = plan(group, wish("eve", document=True, **delivery))
    assert (told.key, told.name, told.friendly_name) == (named("eve").public, peer_name("eve"), "")
    assert (told.level, told.roles, told.wanted) == (255, (MEMBER,), DEFAULT_LIFE_S)
    assert (told.stored, told.renews) == (delivery["store"], None)


def test_document_alone_is_info_enough(group):
    told = plan(group, IssueRequest(peer_name("eve"), named("eve").public, None, store=True))
    assert told.roles == (MEMBER,)


def test_document_of_a_known_subject_changes_nothing_by_itself(group):
    group.grant(BOB, friendly="Bobby")
    assert plan(group, wish(document=True)) == plan(group, wish())


def test_subject_whose_certificate_was_never_delivered_is_not_known(group):
    group.grant(BOB, publish=False)
    assert refusal(group, wish()) == "identity-not-found"
    assert plan(group, wish(document=True)).renews is None


def test_subject_is_known_although_its_credential_has_ended(group):
    group.grant(BOB, window=life(9, -1), friendly="Bobby")
    assert plan(group, wish()).friendly_name == "Bobby"


def test_renewal_starts_from_the_current_credential_and_not_from_a_lesser_one_that_began_later(group):
    admin = group.grant("grc -> alice:admin -> bob:admin", window=life(9, 9)).grant
    group.grant(BOB, window=life(5, 9))
    told = plan(group, wish())
    assert (told.level, told.roles, told.renews) == (2, (ADMIN,), admin.act_id)


@pytest.mark.parametrize("delivery", [{"store": False}, {"store": False, "invitation": False}])
def test_credential_that_would_go_nowhere_is_refused(delivery, group):
    group.grant(BOB)
    assert refusal(group, wish(**delivery)) == "invalid-argument"


# --- key and name -----------------------------------------------------------------------------------------


def test_document_of_another_key_is_refused(group):
    group.grant(BOB)
    assert refusal(group, wish(key=named("eve").public, role=MEMBER)) == "key-mismatch"
    assert refusal(group, wish("carl", key=named("eve").public, role=MEMBER)) == "key-mismatch"


def test_known_subject_never_changes_its_key(group, monkeypatch):
    old = group.grant(BOB).grant
    other = replace(old, key=key(77).public)  # what a collision of authorities would look like
    monkeypatch.setattr(
        View, "current", lambda view, pid, at_s: other if pid == old.pid else group.creator.grant
    )
    assert refusal(group, wish(document=True)) == "key-mismatch"


def test_known_key_under_another_name_needs_the_document(group):
    group.grant(BOB)
    robert = PeerName(peer_name("bob").authority, "Robert")
    assert refusal(group, wish(name=robert)) == "identity-not-found"
    assert refusal(group, wish(name=robert, friendly_name="R")) == "identity-not-found"
    assert plan(group, wish(name=robert, document=True)).name == robert


# --- friendly name ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["f" * 256, "a\0b", "a\u202eb"])
def test_friendly_name_that_cannot_be_shown_is_refused(text, group):
    group.grant(BOB)
    assert refusal(group, wish(friendly_name=text)) == "invalid-friendly-name"


@pytest.mark.parametrize("text", ["", "f" * 255, "Böb 家"])
def test_any_other_friendly_name_is_taken(text, group):
    group.grant(BOB, friendly="Bobby")
    assert plan(group, wish(friendly_name=text)).friendly_name == text


# --- who may issue ----------------------------------------------------------------------------------------


def test_stranger_may_not_issue(group):
    assert refusal(group, wish("carl", document=True), issuer="eve") == "not-authorized"


def test_member_may_not_issue(group):
    group.grant(BOB)
    assert refusal(group, wish("carl", document=True), issuer="bob") == "not-authorized"


def test_issuer_whose_credential_has_ended_may_not_issue(group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(9, -1))
    assert refusal(group, wish("carl", document=True), issuer="bob") == "not-authorized"


def test_issuer_whose_credential_has_not_begun_may_not_issue(group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(-1, 9))
    assert refusal(group, wish("carl", document=True), issuer="bob") == "not-authorized"


def test_issuer_whose_own_certificate_is_not_here_may_not_issue(group):
    group.grant("grc -> alice:admin -> bob:admin", publish=False)
    assert refusal(group, wish("carl", document=True), issuer="bob") == "not-authorized"


def test_issuer_is_judged_at_the_time_of_the_act(group):
    bob = group.grant("grc -> alice:admin -> bob:admin", window=life(9, 1)).grant
    request = wish("carl", document=True)
    chosen = choose_issuer(group.view, named("bob"), None, request, LATER.utc_s)
    with pytest.raises(RuleError) as caught:
        plan_grant(group.view, chosen, request, hlc_at((bob.window.end + 1) * 1000))
    assert caught.value.code == "not-authorized"


@pytest.mark.parametrize("root", [None, named("eve")], ids=["no key", "another key"])
def test_root_issues_only_with_its_key(root, group):
    with pytest.raises(RuleError) as caught:
        choose_issuer(group.view, named("alice"), root, wish(as_root=True), LATER.utc_s)
    assert caught.value.code == "no-key-access"


def test_root_key_is_not_used_unasked(group):
    chosen = choose_issuer(group.view, named("alice"), group.key(GRC), wish(), LATER.utc_s)
    assert (chosen.level, chosen.signer) == (1, named("alice"))


# --- roles and levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "issuer, role, level",
    [
        (GRC, ADMIN, 1), (GRC, INVITING_MEMBER, 254), (GRC, MEMBER, 255),
        ("alice", ADMIN, 2), ("alice", INVITING_MEMBER, 254), ("alice", MEMBER, 255),
        ("bob", ADMIN, 3), ("bob", MEMBER, 255), ("ivy", MEMBER, 255),
    ],
)  # fmt: skip
def test_new_subject_gets_the_level_of_its_role_under_the_issuer(issuer, role, level, group):
    group.grant("grc -> alice:admin -> bob:admin -> ivy:inviting")
    told = plan(group, wish("carl", document=True, role=role), issuer)
    assert (told.level, told.roles) == (level, (role,))


@pytest.mark.parametrize("role", [ADMIN, INVITING_MEMBER])
def test_inviting_member_issues_no_other_role_than_member(role, group):
    group.grant("grc -> alice:admin -> ivy:inviting")
    assert refusal(group, wish("carl", document=True, role=role), "ivy") == "not-authorized"


@pytest.mark.parametrize("subject", ["bob:admin", "bob:inviting"])
def test_inviting_member_renews_nobody_but_members(subject, group):
    group.grant(f"grc -> alice:admin -> {subject}")
    group.grant("grc -> alice:admin -> ivy:inviting -> mo:member")
    assert refusal(group, wish(), "ivy") == "not-authorized"
    assert plan(group, wish("mo"), "ivy").level == 255


def test_administrator_does_not_renew_its_equal(group):
    group.grant("grc -> alice:admin -> bob:admin")
    group.grant("grc -> alice:admin -> carl:admin")
    assert refusal(group, wish("carl"), "bob") == "not-authorized"
    assert refusal(group, wish("carl", role=ADMIN), "bob") == "not-authorized"


@pytest.mark.parametrize("role", [0, 4, 9, 255, -1])
def test_role_that_does_not_exist_is_refused(role, group):
    assert refusal(group, wish("carl", document=True, role=role)) == "invalid-role"


@pytest.mark.parametrize(
    "before, role, level",
    [("member", INVITING_MEMBER, 254), ("member", ADMIN, 2), ("inviting", ADMIN, 2)],
)
def test_promotion(before, role, level, group):
    old = group.grant(f"grc -> alice:admin -> bob:{before}").grant
    told = plan(group, wish(role=role))
    assert (told.level, told.roles, told.friendly_name) == (level, (role,), old.friendly_name)
    assert told.renews is None


@pytest.mark.parametrize(
    "before, role",
    [("inviting", MEMBER), ("admin", MEMBER), ("admin", INVITING_MEMBER)],
)
def test_demotion_needs_a_revocation(before, role, group):
    group.grant(f"grc -> alice:admin -> bob:{before}")
    assert refusal(group, wish(role=role)) == "needs-revocation"


@pytest.mark.parametrize("role", [MEMBER, INVITING_MEMBER])
def test_lesser_role_after_the_better_credential_has_ended_takes_nothing_away(role, group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(9, -1))
    told = plan(group, wish(role=role))
    assert (told.roles, told.renews) == ((role,), None)


def test_lesser_role_beside_a_better_credential_that_began_earlier_needs_a_revocation(group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(9, 9))
    group.grant(BOB, window=life(5, 9))
    assert refusal(group, wish(role=MEMBER)) == "needs-revocation"


def test_role_that_the_subject_has_keeps_its_level(group):
    group.grant("grc -> alice:admin -> bob:admin -> carl:admin")
    assert plan(group, wish("carl"), "alice").level == 3
    assert plan(group, wish("carl", friendly_name="C"), "alice").level == 3


def test_role_that_the_subject_has_asked_for_anew_gives_the_best_level_that_the_issuer_can(group):
    group.grant("grc -> alice:admin -> bob:admin -> carl:admin")
    assert plan(group, wish("carl", role=ADMIN), "alice").level == 2
    assert plan(group, wish("carl", role=ADMIN), "bob").level == 3
    assert plan(group, wish("carl", role=ADMIN), GRC).level == 1


def test_administrator_of_level_1_is_renewed_by_the_root_alone(group):
    group.grant("grc -> zoe:admin", window=life(9, 9))
    assert refusal(group, wish("zoe")) == "not-authorized"
    assert plan(group, wish("zoe"), GRC).level == 1


def test_several_roles_are_renewed_together(group):
    group.grant("grc -> alice:admin -> bob:admin", roles=(ADMIN, MEMBER, 9))
    assert plan(group, wish()).roles == (ADMIN, MEMBER, 9)


# --- the line of issuers ----------------------------------------------------------------------------------


def test_administrator_at_level_24_makes_no_other_administrator(group):
    group.grant("grc -> alice:admin -> last:admin", level=24)
    assert refusal(group, wish("carl", document=True, role=ADMIN), "last") == "chain-too-long"
    assert plan(group, wish("carl", document=True, role=MEMBER), "last").level == 255


def test_24th_administrator_in_a_line_issues_nothing(group):
    group.grant(admins(24))
    for role in (ADMIN, INVITING_MEMBER, MEMBER):
        assert refusal(group, wish("carl", document=True, role=role), "admin24") == "chain-too-long"
    assert plan(group, wish("carl", document=True), "admin23").level == 255


def test_issuer_is_not_its_own_subject(group):
    assert refusal(group, wish("alice")) == "circular-chain"
    assert refusal(group, wish("alice", document=True, role=MEMBER)) == "circular-chain"


@pytest.mark.parametrize("subject", ["alice", "bob"])
def test_none_of_the_issuers_issuers_is_its_subject(subject, group):
    group.grant("grc -> alice:admin -> bob:admin -> carl:admin")
    assert refusal(group, wish(subject), "carl") == "circular-chain"


def test_roots_key_is_no_subject(group):
    request = wish("grc/family", document=True)
    assert refusal(group, request) == "circular-chain"
    assert refusal(group, request, GRC) == "circular-chain"


# --- what the grant continues -----------------------------------------------------------------------------


def test_renewal_names_the_grant_that_it_continues(group):
    old = group.grant(BOB).grant
    assert plan(group, wish()).renews == old.act_id
    assert plan(group, wish(friendly_name="x")).renews == old.act_id
    assert plan(group, wish(role=ADMIN)).renews is None
    assert plan(group, wish("carl", document=True)).renews is None


# --- the clock --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late_ms, trusted",
    [(-1, True), (0, True), (HLC_AHEAD_MS_MAX, True), (HLC_AHEAD_MS_MAX + 1, False)],
)
def test_clock_far_behind_the_group_is_not_trusted(late_ms, trusted, group):
    now = Moment(0, hlc_ms(group.view.latest_hlc) - late_ms)
    if trusted:
        return check_clock(group.view, now)
    with pytest.raises(RuleError) as caught:
        check_clock(group.view, now)
    assert caught.value.code == "clock-not-trusted"
    assert "--trust-clock" in caught.value.hint
    return None


# --- what is written --------------------------------------------------------------------------------------


def write(group: Group, request: IssueRequest, issuer: str = "alice", now: Moment = LATER):
    """Plan and sign as the next act of the issuer's chain."""
    root = group.key(GRC) if issuer == GRC else None
    request = replace(request, as_root=root is not None)
    chosen = choose_issuer(group.view, named(issuer), root, request, now.utc_s)
    hlc = max(hlc_at(now.utc_ms), group.view.latest_hlc + 1)
    author = group.gid if root is not None else named(issuer).public.pid
    head = group.view.head(author, group.chain(issuer))
    seq, prev = (1, None) if head is None else (head.seq + 1, head.id)
    place = Place(group.gid, author, group.chain(issuer), seq, prev, chosen.level, chosen.cred, hlc)
    return write_grant(plan_grant(group.view, chosen, request, hlc), chosen, place)


def keep(group: Group, written) -> Grant:
    """Admit what was written, and check that it proves its subject's membership."""
    act, der = written
    verdict = admit(act, group.view)
    assert isinstance(verdict, Valid), verdict
    assert verdict.admitted.grant is not None
    group._keep(act)
    assert admit_der(der, group.view) is None
    group._keep(der)
    group.granted[act.id] = Granted(act, der, verdict)
    raw = make_bundle(group.view, verdict.admitted.grant, group.raw_of)
    assert raw is not None
    assert all_hold(decode_untrusted_bundle(raw, authority=group.gid).checks())
    return verdict.admitted.grant


@pytest.mark.parametrize("issuer", [GRC, "alice", "bob", "ivy"])
def test_credential_is_what_was_planned(issuer, group):
    group.grant("grc -> alice:admin -> bob:admin -> ivy:inviting")
    request = wish("carl", document=True, friendly_name="Carl")
    told, written = plan(group, request, issuer), write(group, request, issuer)
    grant = keep(group, written)
    assert (grant.key, grant.peer_name, grant.friendly_name) == (told.key, told.name, told.friendly_name)
    assert (grant.level, grant.roles, grant.window) == (told.level, told.roles, told.window)
    assert (grant.wanted, grant.stored, grant.renews) == (told.wanted, told.stored, told.renews)
    assert grant.author_level == {GRC: 0, "alice": 1, "bob": 2, "ivy": 254}[issuer]


def test_renewal_becomes_the_current_credential(group):
    old = group.grant(BOB).grant
    new = keep(group, write(group, wish()))
    assert group.view.current(old.pid, LATER.utc_s) == new


REQUESTS = st.builds(
    lambda subject, document, info, store, invitation: IssueRequest(
        peer_name(subject), named(subject).public if document else None, info, store, invitation
    ),
    subject=st.sampled_from(["alice", "bob", "ivy", "mo", "old", "carl", "grc/family"]),
    document=st.booleans(),
    info=st.none()
    | st.builds(
        CredentialInfo,
        friendly_name=st.none() | st.text(max_size=5),
        role=st.none() | st.integers(0, 5),
        not_before=st.none() | st.integers(-DAY, 3 * DAY).map(lambda s: LATER.utc_s + s),
        not_after=st.none() | st.integers(-DAY, 99 * DAY).map(lambda s: LATER.utc_s + s),
        valid_s=st.none() | st.integers(-1, 99 * DAY),
    ),
    store=st.booleans(),
    invitation=st.booleans(),
)


@given(st.lists(st.tuples(REQUESTS, st.sampled_from([GRC, "alice", "bob", "ivy", "mo", "old"])), max_size=5))
def test_whatever_is_asked_is_refused_by_name_or_admitted_everywhere(asked):
    group = Group()
    group.grant("grc -> alice:admin -> bob:admin -> ivy:inviting -> mo:member")
    group.grant("alice -> old:admin", window=life(9, -1))
    hints = []
    for request, issuer in asked:
        try:
            written = write(group, request, issuer)
        except RuleError as refused:
            hints.append(refused.hint)
            continue
        grant = keep(group, written)
        current = group.view.current(grant.pid, LATER.utc_s)
        if grant.window.holds(LATER.utc_s):
            assert current == grant
        assert grant.window.end > LATER.utc_s
    assert all(hints)
