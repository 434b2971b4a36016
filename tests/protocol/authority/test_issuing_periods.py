"""Issuing: the period of a new credential, and what it must not seem to take away."""

from __future__ import annotations

import pytest

from protocol.authority.bodies import Kind, PropertiesBody
from protocol.credentials.roles import ADMIN
from protocol.limits import BACKDATING_S, END_OF_TIME_S
from protocol.peer_time import Window
from tests.protocol.authority.asking import BOB, LATER, life, plan, refusal, wish
from tests.support.builders import DAY, GRC, NOW, Group


@pytest.fixture
def group():
    return Group()


# --- periods: the end -------------------------------------------------------------------------------------


def test_default_life_is_90_days_from_now(group):
    told = plan(group, wish("carl", document=True))
    assert told.window == Window(LATER.utc_s - BACKDATING_S, LATER.utc_s + 90 * DAY)
    assert told.wanted == 90 * DAY


def test_default_life_is_a_property_of_the_group(group):
    group.act(GRC, Kind.PROPERTIES, PropertiesBody(default_life=7 * DAY))
    told = plan(group, wish("carl", document=True))
    assert (told.window.end, told.wanted) == (LATER.utc_s + 7 * DAY, 7 * DAY)


def test_life_that_nobody_asked_for_is_clamped_to_the_issuers_end(group):
    bob = group.grant("grc -> alice:admin -> bob:admin", window=life(9, 9)).grant
    told = plan(group, wish("carl", document=True), "bob")
    assert (told.window.end, told.wanted) == (bob.window.end, 90 * DAY)


def test_wanted_life_is_kept_over_renewals_that_were_clamped(group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(30, 9))
    group.grant("bob -> carl:member", window=life(1, 5), wanted=30 * DAY)
    assert plan(group, wish("carl"), "bob").window.end == LATER.utc_s + 9 * DAY
    told = plan(group, wish("carl"), "alice")
    assert (told.window.end, told.wanted) == (LATER.utc_s + 30 * DAY, 30 * DAY)


def test_life_as_long_as_possible_is_renewed_as_long_as_possible(group):
    group.grant(BOB, window=life(9, 9), wanted=0)
    told = plan(group, wish())
    assert (told.window.end, told.wanted) == (END_OF_TIME_S, 0)


def test_renewal_of_a_life_that_was_never_to_end_is_clamped_to_the_issuers_end(group):
    bob = group.grant("grc -> alice:admin -> bob:admin", window=life(30, 9)).grant
    group.grant("bob -> carl:member", window=life(1, 5), wanted=0)
    assert plan(group, wish("carl"), "bob").window.end == bob.window.end


@pytest.mark.parametrize("told", [{"valid_s": 5 * DAY}, {"not_after": LATER.utc_s + 5 * DAY}])
def test_life_asked_for_counts_from_the_act(told, group):
    made = plan(group, wish("carl", document=True, **told))
    assert (made.window.end, made.wanted) == (LATER.utc_s + 5 * DAY, 5 * DAY)
    assert made.window.start == LATER.utc_s - BACKDATING_S


@pytest.mark.parametrize("told", [{"valid_s": 9 * DAY}, {"not_after": LATER.utc_s + 9 * DAY}])
def test_life_up_to_the_issuers_end_may_be_asked_for(told, group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(9, 9))
    assert plan(group, wish("carl", document=True, **told), "bob").window.end == LATER.utc_s + 9 * DAY


@pytest.mark.parametrize("told", [{"valid_s": 9 * DAY + 1}, {"not_after": LATER.utc_s + 9 * DAY + 1}])
def test_life_beyond_the_issuers_end_is_refused(told, group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(9, 9))
    assert refusal(group, wish("carl", document=True, **told), "bob") == "invalid-time-period"


@pytest.mark.parametrize("told", [{"valid_s": END_OF_TIME_S}, {"not_after": END_OF_TIME_S + 1}])
def test_life_beyond_the_end_of_time_is_refused(told, group):
    assert refusal(group, wish("carl", document=True, **told)) == "invalid-time-period"
    assert refusal(group, wish("carl", document=True, **told), GRC) == "invalid-time-period"


@pytest.mark.parametrize(
    "told",
    [
        {"valid_s": 0},
        {"valid_s": -1},
        {"not_after": LATER.utc_s},
        {"not_after": LATER.utc_s - 1},
        {"not_after": 0},
        {"not_before": LATER.utc_s + 9, "not_after": LATER.utc_s + 9},
        {"not_before": LATER.utc_s + 9, "not_after": LATER.utc_s + 8},
        {"not_before": LATER.utc_s + 9, "valid_s": 5},
        {"not_before": LATER.utc_s + 91 * DAY},
        {"not_before": END_OF_TIME_S + 1},
    ],
    ids=repr,
)
def test_life_that_ends_before_it_begins_or_now_is_refused(told, group):
    assert refusal(group, wish("carl", document=True, **told)) == "invalid-time-period"


def test_end_and_duration_together_are_refused(group):
    request = wish("carl", document=True, valid_s=5, not_after=LATER.utc_s + 5)
    assert refusal(group, request) == "invalid-argument"


# --- periods: the start -----------------------------------------------------------------------------------


def test_start_lies_a_little_before_the_act(group):
    assert plan(group, wish("carl", document=True)).window.start == LATER.utc_s - BACKDATING_S


def test_start_is_not_before_the_issuers(group):
    bob = group.grant("grc -> alice:admin -> bob:admin", window=Window(LATER.utc_s - 9, END_OF_TIME_S)).grant
    assert plan(group, wish("carl", document=True), "bob").window.start == bob.window.start


def test_start_of_the_roots_grant_is_not_before_the_root_certificates(group):
    start = group.founding.root.window.start
    assert plan(group, wish("carl", document=True), GRC, now=NOW).window.start == start
    asked = wish("carl", document=True, not_before=start - 1)
    assert refusal(group, asked, GRC, now=NOW) == "invalid-time-period"


def test_start_is_later_than_the_current_credentials(group):
    old = group.grant(BOB, window=Window(LATER.utc_s - 9, LATER.utc_s + 9)).grant
    assert plan(group, wish()).window.start == old.window.start + 1


def test_start_after_a_gap_is_not_drawn_back_to_the_ended_credential(group):
    group.grant(BOB, window=life(9, -1))
    assert plan(group, wish()).window.start == LATER.utc_s - BACKDATING_S


def test_start_may_be_asked_for_in_the_past_and_in_the_future(group):
    old = group.grant(BOB, window=life(9, 9)).grant
    for start in (old.window.start + 1, LATER.utc_s - 5000, LATER.utc_s + DAY):
        assert plan(group, wish(not_before=start)).window.start == start


@pytest.mark.parametrize("back", [0, 1, DAY])
def test_start_asked_for_not_later_than_the_current_credentials_is_refused(back, group):
    old = group.grant(BOB, window=Window(LATER.utc_s - 9, LATER.utc_s + 9)).grant
    assert refusal(group, wish(not_before=old.window.start - back)) == "invalid-time-period"


def test_start_asked_for_before_the_issuers_is_refused(group):
    bob = group.grant("grc -> alice:admin -> bob:admin", window=life(9, 9)).grant
    request = wish("carl", document=True, not_before=bob.window.start - 1)
    assert refusal(group, request, "bob") == "invalid-time-period"
    at_it = wish("carl", document=True, not_before=bob.window.start)
    assert plan(group, at_it, "bob").window.start == bob.window.start


# --- taking nothing away ----------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [{"valid_s": 5 * DAY}, {"not_after": LATER.utc_s + 9 * DAY - 1}])
def test_earlier_end_needs_a_revocation(told, group):
    group.grant(BOB, window=life(9, 9))
    assert refusal(group, wish(**told)) == "needs-revocation"


def test_same_end_takes_nothing_away(group):
    old = group.grant(BOB, window=life(9, 9)).grant
    assert plan(group, wish(not_after=old.window.end)).window.end == old.window.end


def test_earlier_end_after_the_credential_has_ended_takes_nothing_away(group):
    group.grant(BOB, window=life(20, -1))
    assert plan(group, wish(valid_s=DAY)).window.end == LATER.utc_s + DAY


def test_earlier_end_of_a_better_credential_takes_nothing_away(group):
    group.grant(BOB, window=life(9, 9))
    assert plan(group, wish(role=ADMIN, valid_s=DAY)).window.end == LATER.utc_s + DAY


def test_renewal_that_the_issuers_end_would_shorten_is_refused(group):
    group.grant("grc -> alice:admin -> bob:admin", window=life(9, 9))
    group.grant("alice -> carl:member", window=life(9, 20))
    assert refusal(group, wish("carl"), "bob") == "invalid-time-period"
    assert plan(group, wish("carl"), "alice").window.end > LATER.utc_s + 20 * DAY
