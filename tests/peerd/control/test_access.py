"""The kernel says who calls, and each user may do what the policy says and no more."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given, strategies as st

from peerd.control.access import Access, AccessPolicy, Caller, caller_of

POLICY = AccessPolicy(owner_uid=1000, operator_uids=frozenset({1001}), reader_uids=frozenset({1001, 1002}))


@pytest.mark.parametrize(
    "uid,access",
    [
        (0, Access.ADMIN),
        (1000, Access.ADMIN),
        (1001, Access.OPERATE),
        (1002, Access.READ),
        (1003, Access.NONE),
        (65534, Access.NONE),
        (2**32 - 1, Access.NONE),
    ],
)
def test_a_user_may_do_what_the_policy_says(uid, access):
    assert POLICY.access_of(Caller(pid=1, uid=uid, gid=0)) is access


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1))
def test_only_the_user_id_decides(uid, gid, pid):
    assert POLICY.access_of(Caller(pid, uid, gid)) is POLICY.access_of(Caller(1, uid, 1))


def test_an_unknown_caller_may_do_nothing():
    assert POLICY.access_of(None) is Access.NONE


def test_by_default_only_the_owner_and_root_get_in():
    policy = AccessPolicy()
    assert policy.access_of(Caller(1, os.geteuid(), 1)) is Access.ADMIN
    assert policy.access_of(Caller(1, os.geteuid() + 1, 1)) is Access.NONE


def test_each_level_includes_those_before():
    assert sorted(Access) == [Access.NONE, Access.READ, Access.OPERATE, Access.ADMIN]


def test_the_kernel_names_the_process_that_connected():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert caller_of(ours) == Caller(os.getpid(), os.geteuid(), os.getegid())


def test_a_system_without_peer_credentials_names_nobody(monkeypatch):
    monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert caller_of(ours) is None
