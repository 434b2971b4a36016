"""Under what somebody signs: a member's grant, or the root by keys that suffice."""

from __future__ import annotations

import pytest

from protocol.authority.issuers import Issuer, Standing, check_certified, check_ready, root_issuer
from protocol.authority.view import View
from protocol.errors import RuleError
from tests.support.builders import GRC, Group
from tests.support.keys import named


@pytest.fixture
def group() -> Group:
    return Group()


def refusal(told) -> str:
    with pytest.raises(RuleError) as caught:
        told()
    assert caught.value.hint
    return caught.value.code


def test_member_stands_in_the_line_of_its_grant(group):
    bob = group.grant("grc -> alice:admin -> bob:admin").grant
    standing = Issuer.member(named("bob"), bob).standing
    line = (group.key(GRC).public.pid, named("alice").public.pid, named("bob").public.pid)
    assert standing.line(group.view) == line
    assert (standing.level, standing.cred, standing.window) == (bob.level, bob.act_id, bob.window)
    assert Standing(2, bytes(32), bob, bob.window, bob.pid).line(group.view) == ()


def test_root_stands_alone_by_the_key_that_certifies(group):
    root = group.view.root
    pids = sorted((named("ruth").public.pid, named("rolf").public.pid))
    assert Standing.of_root(root, pids).line(group.view) == (root.grc.pid,)
    group.rotate("ruth", "rolf", threshold=2)
    assert Standing.of_root(group.view.root, pids).line(group.view) == (pids[0],)


def test_root_signs_by_one_key_when_one_suffices(group):
    issuer = root_issuer(group.view.root, group.key(GRC))
    assert (issuer.level, issuer.cred, issuer.grant) == (0, group.genesis.id, None)
    assert refusal(lambda: root_issuer(None, group.key(GRC))) == "no-key-access"
    assert refusal(lambda: root_issuer(group.view.root, None)) == "no-key-access"
    group.rotate("ruth", "rolf", threshold=2)
    assert refusal(lambda: root_issuer(group.view.root, group.key(GRC))) == "no-key-access"
    assert refusal(lambda: root_issuer(group.view.root, named("ruth"))) == "signature-missing"
    group.rotate("ruth", "rosa", threshold=1)
    assert root_issuer(group.view.root, named("rosa")).cred == group.view.rotations[-1]


def test_key_without_a_root_certificate_certifies_nobody(group):
    check_certified(group.view.root, group.key(GRC).public)
    assert refusal(lambda: check_certified(group.view.root, named("ruth").public)) == "no-key-access"
    assert refusal(lambda: check_certified(None, named("ruth").public)) == "no-key-access"
    group.rotate("ruth", "rolf")
    check_certified(group.view.root, named("rolf").public)
    assert refusal(lambda: check_certified(group.view.root, group.key(GRC).public)) == "no-key-access"


def test_nobody_signs_before_the_group_has_arrived(group):
    assert check_ready(group.view) == group.view.root
    assert refusal(lambda: check_ready(View(group.gid))) == "group-not-ready"
