"""The error tree says whose fault it is, and the table of refusals is total."""

from __future__ import annotations

import pytest

from protocol.errors import (
    RULES,
    Fault,
    Incompatible,
    ProtocolError,
    RemoteProtocolError,
    RuleError,
    malformed,
)


def test_the_root_of_the_tree_is_never_raised_itself():
    with pytest.raises(TypeError):
        ProtocolError("nobody's fault")


@pytest.mark.parametrize("code", sorted(RULES))
def test_every_refusal_has_a_title_and_keeps_detail_and_hint(code):
    error = RuleError(code, "what happened", hint="what to type")
    assert RULES[code].title
    assert (error.code, error.detail, error.hint, str(error)) == (
        code,
        "what happened",
        "what to type",
        "what happened",
    )


def test_a_refusal_outside_the_table_is_a_mistake_of_ours():
    with pytest.raises(AssertionError):
        RuleError("no-such-slug", "")


def test_windows_codes_are_failures_with_a_name():
    for rule in RULES.values():
        assert (rule.windows is None) == (rule.windows_code is None)
        assert rule.windows_code is None or rule.windows_code >> 31 == 1


def test_faults_fit_the_reason_of_a_bye_and_leave_room_for_its_own():
    assert sorted(fault.value for fault in Fault) == list(range(1, len(Fault) + 1))
    assert len(Fault) < 64


def test_a_malformed_message_is_the_other_sides_fault():
    error = malformed("two roots")
    assert isinstance(error, RemoteProtocolError)
    assert (error.fault, error.detail) == (Fault.MALFORMED, "two roots")


def test_versions_that_do_not_meet_blame_nobody():
    error = Incompatible((1, 2), (3,))
    assert (error.ours, error.theirs) == ((1, 2), (3,))
    assert not isinstance(error, RuleError | RemoteProtocolError)
