"""Events: values that cannot change, closed unions, and no secret in what a log would show."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_args

import pytest

from protocol.machines import events
from protocol.machines.events import (
    DialFailed,
    DialOutcome,
    Input,
    Issue,
    LinkUp,
    Output,
    RotateRoot,
    SetProperties,
)
from tests.protocol.authority.rooting import rotate_wish
from tests.protocol.machines.playing import link_up
from tests.support.builders import Group
from tests.support.keys import named

UNIONS = (*get_args(Input), *get_args(Output))
CLASSES = [
    one
    for one in vars(events).values()
    if inspect.isclass(one) and dataclasses.is_dataclass(one) and one.__module__ == events.__name__
]


def test_inputs_and_outputs_are_told_apart():
    assert not set(get_args(Input)) & set(get_args(Output))


def test_every_event_is_in_a_union_or_in_the_result_of_a_command():
    results = {"Issued", "Written", "Imported", "Removed", "Rotated", "RootActsImported"}
    assert {one.__name__ for one in CLASSES if one not in UNIONS} == results


@pytest.mark.parametrize("event", CLASSES, ids=lambda event: event.__name__)
def test_event_is_a_frozen_value(event):
    assert event.__dataclass_params__.frozen
    assert "__dict__" not in dir(event)
    assert event.__doc__


def test_link_was_dialled_when_there_is_an_address():
    assert link_up(1, "bob", "a:1").dialled
    assert not link_up(1, "bob").dialled


def test_secrets_are_not_shown():
    exporter = bytes(range(200, 232))
    shown = [
        LinkUp(1, named("bob").public, bytes(16), None, None, exporter),
        Issue((), named("grc")),
        SetProperties({}, named("grc")),
        RotateRoot(rotate_wish(Group(), "ruth"), (named("grc"),)),
        events.Issued(bytes(32), b"evidence"),
    ]
    text = " ".join(map(repr, shown))
    for secret in (exporter, named("grc").seed, b"evidence"):
        assert repr(secret) not in text
        assert secret.hex() not in text
    assert "exporter" not in text
    assert "root" not in text


def test_outcomes_of_a_dial_have_stable_names():
    assert [str(one) for one in DialOutcome] == [
        "unreachable",
        "nothing",
        "myself",
        "incompatible",
        "removed",
    ]
    assert DialFailed("a:1", DialOutcome("nothing")) == DialFailed("a:1", DialOutcome.NOTHING)
