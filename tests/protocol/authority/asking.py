"""How the tests of issuing ask, and how they read a refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.authority.issuing import CredentialInfo, IssueRequest, Plan, choose_issuer, plan_grant
from protocol.errors import RULES, RuleError
from protocol.peer_time import Moment, Window, hlc_at
from tests.support.builders import DAY, GRC, Group, after
from tests.support.keys import named, peer_name

LATER = after(30 * DAY)
BOB = "grc -> alice:admin -> bob:member"


def wish(subject: str = "bob", document: bool = False, **told: Any) -> IssueRequest:
    """A request with the store flag; `document` gives the subject's key, other words are for the info."""
    request: dict[str, Any] = {
        name: told.pop(name) for name in ("store", "invitation", "as_root", "key", "name") if name in told
    }
    info = CredentialInfo(**told) if told or document else None
    return IssueRequest(
        subject=request.pop("name", peer_name(subject)),
        key=request.pop("key", named(subject).public if document else None),
        info=info,
        **({"store": True} | request),
    )


def plan(group: Group, request: IssueRequest, issuer: str = "alice", now: Moment = LATER) -> Plan:
    root = group.key(GRC) if issuer == GRC else None
    chosen = choose_issuer(
        group.view, named(issuer), root, replace(request, as_root=issuer == GRC), now.utc_s
    )
    return plan_grant(group.view, chosen, request, hlc_at(now.utc_ms))


def refusal(group: Group, request: IssueRequest, issuer: str = "alice", now: Moment = LATER) -> str:
    """The slug of a refusal, which also tells a person what happened and what to do."""
    with pytest.raises(RuleError) as caught:
        plan(group, request, issuer, now)
    assert caught.value.code in RULES
    assert caught.value.detail
    assert caught.value.hint
    return caught.value.code


def admins(count: int) -> str:
    return " -> ".join([GRC, "alice:admin", *(f"admin{level}:admin" for level in range(2, count + 1))])


def life(*days: float) -> Window:
    """A window around LATER: so many days before and after."""
    return Window(LATER.utc_s - int(days[0] * DAY), LATER.utc_s + int(days[1] * DAY))
