"""Root drafts in words: what a person is asked to sign, read from the signed content, from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from protocol.authority.bodies import (
    AnnulBody,
    Body,
    GrantBody,
    Kind,
    PropertiesBody,
    RevokeBody,
    RotateRootBody,
)
from protocol.credentials.keys import public_key_untrusted
from protocol.credentials.roles import role_names
from protocol.ids import authority_of, split_ids

if TYPE_CHECKING:
    from protocol.authority.root_drafts import RootDraft


def described(draft: RootDraft) -> dict[str, Any]:
    """Field names of the API where there is one; times in seconds UTC, ids and authorities in hex.

    `kind` is the kind's name in lower case, `wants` what differs from kind to kind, and `signers` say of each
    key its `key` (authority, 40 hex digits), whether it has `signed` and whether it is a `recovery` key.
    """
    act, missing = draft.act, draft.missing
    operating = {key.pid for key in draft.root.operating}
    return {
        "kind": Kind(act.kind).name.lower(),
        "group": draft.group.name,
        "root_version": draft.root.version,
        "rotation": draft.root.rotation.hex(),
        "prepared": act.hlc_s,
        "signers": [
            {"key": key.authority, "signed": key.pid not in missing, "recovery": key.pid not in operating}
            for key in draft.signers
        ],
        "wants": _wants(act.body),
    }


def _wants(body: Body) -> dict[str, Any]:
    return next((said(body) for kind, said in _SAID if isinstance(body, kind)), {})


def _grant(body: Any) -> dict[str, Any]:
    return {
        "subject": body.name,
        "friendly_name": body.friendly,
        "level": body.level,
        "roles": list(role_names(tuple(body.roles))),
        "not_before": body.start,
        "not_after": body.end,
        "despite": [act_id.hex() for act_id in split_ids(body.despite)],
        "adopts": [act_id.hex() for act_id in split_ids(body.adopts)],
    }


def _revoke(body: Any) -> dict[str, Any]:
    return {
        "key": _authority(body.key),
        "reason": body.reason,
        "data": body.data,
        "until": body.until,
    }


def _annul(body: Any) -> dict[str, Any]:
    return {"act_id": body.act.hex()}


def _properties(body: Any) -> dict[str, Any]:
    return {
        "friendly_name": body.friendly,
        "comment": body.comment,
        "default_life": body.default_life,
        "presence": body.presence,
        "join": body.join,
        "renewal": body.renewal,
        "quotas": body.quotas,
    }


def _rotate(body: Any) -> dict[str, Any]:
    return {
        "root_version": body.from_version + 1,
        "operating": [_authority(raw) for raw in split_ids(body.operating)],
        "threshold": body.threshold,
        "recovery_used": [_authority(raw) for raw in split_ids(body.revealed)],
        "keeps_chains": len(split_ids(body.keep)),
    }


def _authority(raw: bytes) -> str:
    return authority_of(public_key_untrusted(raw).pid)


_SAID: tuple[tuple[type[Body], Callable[[Any], dict[str, Any]]], ...] = (
    (GrantBody, _grant),
    (RevokeBody, _revoke),
    (AnnulBody, _annul),
    (PropertiesBody, _properties),
    (RotateRootBody, _rotate),
)
