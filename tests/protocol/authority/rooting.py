"""Root keys, documents and drafts for tests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from protocol.authority.acts import Act
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.authority.root_acts import (
    AnnulWish,
    GrantWish,
    PropertiesWish,
    RecoverySet,
    RevokeWish,
    RootWish,
    RotateWish,
    prepare,
)
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import KeyWanted, RootDocument, make_root_document
from protocol.authority.root_drafts import RootDraft, sign_draft
from protocol.credentials.roles import MEMBER
from protocol.errors import RuleError
from protocol.peer_time import Moment
from tests.support.builders import GRC, NOW, Group, after
from tests.support.keys import named, peer_name

LATER = after(86_400, NOW)
_numbers = count()


def document(group: Group, name: str) -> RootDocument:
    return make_root_document(KeyWanted(GroupFacts.of(group.founding.root)), named(name))


def recovery(*names: str, threshold: int = 1) -> RecoverySet:
    return RecoverySet.of([named(name).public for name in names], threshold)


def rotate_wish(group: Group, *operating: str, **changed: Any) -> RotateWish:
    """Rotate the family's root to these names, by the recovery key of genesis."""
    fields: dict[str, Any] = {
        "documents": tuple(document(group, name) for name in operating),
        "revealed": recovery(f"recovery/{group.classifier}"),
        "recovery": recovery("next recovery"),
    }
    return RotateWish(**(fields | changed))


def grant_wish(name: str = "zoe", role: int = MEMBER, **changed: Any) -> GrantWish:
    fields: dict[str, Any] = {
        "key": named(name).public,
        "info": CredentialInfo(role=role),
        "store": True,
        "as_root": True,
    }
    return GrantWish(IssueRequest(peer_name(name), **(fields | changed)))


def wishes(group: Group) -> dict[str, RootWish]:
    """One of each kind."""
    return {
        "grant": grant_wish(),
        "revoke": RevokeWish(named("alice").public.pid, reason="gone"),
        "revoke key": RevokeWish(named("alice").public.pid, for_ever=True, data="drop"),
        "annul": AnnulWish(invited(group).id),
        "properties": PropertiesWish({"comment": "ours"}),
        "rotate": rotate_wish(group, "ruth", "rolf"),
    }


def invited(group: Group) -> Act:
    return group.act("alice", 129, {"role": MEMBER, "not_after": 1})


def drafted(
    group: Group, wish: RootWish, signers: Sequence[str] = (), now: Moment = LATER, **changed: Any
) -> RootDraft:
    """Prepare a wish, on a chain that nobody has unless one is given."""
    chain = changed.pop("chain", next(_numbers).to_bytes(16, "big"))
    pids = [group.key(name).public.pid for name in signers]
    return prepare(group.view, wish, pids, chain, now, **changed)


def signed(group: Group, draft: RootDraft, names: Sequence[str] = ()) -> RootDraft:
    """Sign with these names, or with whoever of the family has to."""
    known = {group.key(name).public.pid: group.key(name) for name in (*names, *HOLDERS)}
    for key in draft.signers:
        draft = sign_draft(draft, known[key.pid])
    return draft


HOLDERS = (GRC, "recovery/family", "next recovery", "ruth", "rolf", "rosa")


def refusal(group: Group, wish: RootWish, *signers: str, now: Moment = LATER) -> str:
    """The slug under which a wish is refused, which tells a person what happened and what to do."""
    with pytest.raises(RuleError) as caught:
        drafted(group, wish, signers, now)
    assert caught.value.detail
    assert caught.value.hint
    return caught.value.code
