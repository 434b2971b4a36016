"""What is said on the control API about taking membership away, and giving back what was taken.

The rules of `schema` hold here too.
"""

from __future__ import annotations

from typing import Literal

from peerd.control.schema import Credential, Reply, Request


class Revocation(Request, frozen=True, kw_only=True):
    """How somebody is removed.

    `for_ever` bans the key; else a later credential that says so brings it back. `data` decides about the
    records that it wrote: those in a `manifest` of what is here stay, those dated before now do (`time`), or
    all are dropped. `as_root` signs with the group's root key; `trust_clock` signs although this machine's
    clock is far behind the group's. `dry_run` only tells what would be taken down.
    """

    for_ever: bool = False
    reason: str = ""
    data: Literal["manifest", "drop", "time"] = "manifest"
    as_root: bool = False
    trust_clock: bool = False
    dry_run: bool = False


class GroupLeave(Request, frozen=True, kw_only=True):
    """Why this node's identity gives up its membership, for the others to read."""

    reason: str = ""


class Annulment(Request, frozen=True, kw_only=True):
    """How an act is taken back; the fields are those of `Revocation`."""

    as_root: bool = False
    dry_run: bool = False


class Removal(Reply, frozen=True, kw_only=True):
    """What an act that takes something away did, or in a dry run would do.

    `act_id` is the signed act, `null` in a dry run; `subject` is whom it is meant for. `credentials` are
    those whose standing it changes, as they are after it, or before it in a dry run. `members_lost` are the
    names of those who are members no more, the subject among them, `members_back` of those who are again.
    `void_acts` and `void_removals` (act ids) are what a dry run says would lose its effect.
    """

    group: str
    kind: Literal["revoke_credential", "revoke_key", "resign", "annul"]
    act_id: str | None
    subject: str | None
    credentials: list[Credential]
    members_lost: list[str]
    members_back: list[str]
    void_acts: int
    void_removals: list[str]
