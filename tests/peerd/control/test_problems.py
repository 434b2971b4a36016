"""Every error has its answer, and only refusals speak in their own words."""

from __future__ import annotations

import pytest

from peerd.control.problems import problem_of
from peerd.errors import KINDS, BadRequest, LinkLost, PeerdError, StoreError, status_of
from protocol.errors import RULES, Fault, Incompatible, RemoteProtocolError, RuleError


@pytest.mark.parametrize("code", sorted(RULES))
def test_every_rule_has_its_answer(code):
    problem = problem_of(RuleError(code, "why", hint="peerd status"), "7")
    assert (problem.slug, problem.detail, problem.hint, problem.instance) == (
        code,
        "why",
        "peerd status",
        "7",
    )
    assert problem.title == RULES[code].title
    assert problem.status == status_of(code)
    assert problem.windows_code == RULES[code].windows_code


@pytest.mark.parametrize("code", sorted(KINDS))
def test_every_other_slug_has_its_answer(code):
    problem = problem_of(StoreError("why", code=code), "7")
    assert (problem.slug, problem.title, problem.status) == (code, KINDS[code].title, KINDS[code].status)
    assert problem.windows_code is None


def test_every_class_of_the_tree_has_its_answer():
    children: list[type[PeerdError]] = [*PeerdError.__subclasses__(), *StoreError.__subclasses__()]
    assert {BadRequest, LinkLost} < set(children)
    for child in children:
        assert problem_of(child("why"), "7").slug == child.CODE


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a secret"),
        KeyError("a secret"),
        AssertionError("a secret"),
        OSError(5, "a secret"),
        ExceptionGroup("a secret", [RuleError("invalid-argument", "a secret")]),
        RemoteProtocolError(Fault.MALFORMED, "a secret"),
        Incompatible((1,), (2,)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_mistake_of_ours_keeps_its_text_to_itself(error):
    problem = problem_of(error, "7")
    assert (problem.slug, problem.status, problem.instance) == ("internal", 500, "7")
    assert "secret" not in repr(problem)
