"""Which properties of a group may be changed, and to what."""

from __future__ import annotations

import pytest

from protocol.authority.bodies import PropertiesBody
from protocol.authority.properties import changed_properties
from protocol.errors import RuleError

BEFORE = PropertiesBody(friendly="a", comment="b", default_life=9, presence=False, extra={"x": 1})


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"friendly": "f" * 256}, "invalid-properties"),
        ({"friendly": "a\0"}, "invalid-friendly-name"),
        ({"friendly": 5}, "invalid-properties"),
        ({"comment": "c" * 256}, "invalid-properties"),
        ({"comment": "a\u202e"}, "invalid-properties"),
        ({"comment": None}, "invalid-properties"),
        ({"default_life": -1}, "invalid-properties"),
        ({"default_life": "90d"}, "invalid-properties"),
        ({"colour": "blue"}, "invalid-properties"),
        ({"extra": {"k": "x" * 40_000}}, "invalid-properties"),
    ],
    ids=lambda told: str(told)[:30],
)
def test_properties_that_are_not_acceptable_are_refused(changes, code):
    with pytest.raises(RuleError) as caught:
        changed_properties(BEFORE, changes)
    assert caught.value.code == code
    assert caught.value.hint


def test_no_change_keeps_all_properties():
    assert changed_properties(BEFORE, {}) == BEFORE


def test_what_is_not_named_stays():
    after = changed_properties(BEFORE, {"comment": "c"})
    assert (after.comment, after.friendly, after.extra) == ("c", "a", {"x": 1})
