"""What is said on the control API about taking membership away, giving it back, and why things are so.

The rules of `schema` hold here too.
"""

from __future__ import annotations

from typing import Literal

from peerd.control.schema import Act, Credential, Passphrase, Reply, Request, Time


class Revocation(Request, frozen=True, kw_only=True):
    """How somebody is removed.

    `for_ever` bans the key; else a later credential that says so brings it back. `data` decides about the
    records that it wrote: those in a `manifest` of what is here stay, those dated before now do (`time`), or
    all are dropped. `as_root` signs with the group's root key, which `passphrase` opens for this call;
    `trust_clock` signs although this machine's clock is far behind the group's. `dry_run` only tells what
    would be taken down. `since` is an act of theirs, by its id or an unambiguous beginning: it and whatever
    of theirs arrived here after it count nowhere; absent, all that is here stays.
    """

    for_ever: bool = False
    reason: str = ""
    data: Literal["manifest", "drop", "time"] = "manifest"
    as_root: bool = False
    passphrase: Passphrase | None = None
    trust_clock: bool = False
    dry_run: bool = False
    since: str | None = None


class GroupLeave(Request, frozen=True, kw_only=True):
    """Why this node's identity gives up its membership, for the others to read."""

    reason: str = ""


class Annulment(Request, frozen=True, kw_only=True):
    """How an act is taken back; the fields are those of `Revocation`."""

    as_root: bool = False
    passphrase: Passphrase | None = None
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


# --- explaining ---------------------------------------------------------------------------------------------


class AuditedAct(Act, frozen=True, kw_only=True):
    """An act with what became of it.

    `effective`: it counts. Where it does not, `rule` names what decided (`annulled`, `credential-void`,
    `outside-the-cut`, `root-replaced`, `rotation-outdone`, `version-void`) and `because` the acts that did.
    `hit_by` are the removals that hit a grant. `findings`: `forked` (another act stands in its place: the key
    is used elsewhere, or a store was rolled back), `back-dated` (only a hint), `fallen` (a revocation without
    effect, to be signed anew by who still wants it), `used-elsewhere` (signed with this node's key, but not
    by this node).
    """

    effective: bool
    rule: str | None
    because: list[str]
    hit_by: list[str]
    reason: str
    findings: list[Literal["forked", "back-dated", "fallen", "used-elsewhere"]]


class Audit(Reply, frozen=True, kw_only=True):
    """One page of all acts, in the order of their arrival here; `next` is `null` on the last page."""

    acts: list[AuditedAct]
    next: str | None = None


class WhyGrant(Reply, frozen=True, kw_only=True):
    """How one credential stands, and why.

    `verdict` is `current`, `good` (another is better), `void`, `revoked`, `undelivered` (its certificate is
    not here), `not-begun` or `ended`. `rule` is that of `AuditedAct`; `acts` are those that made it void or
    hit it. `path` are the credentials that it rests on, the one signed by the root first, itself last.
    """

    credential: Credential
    verdict: Literal["current", "good", "void", "revoked", "undelivered", "not-begun", "ended"]
    rule: str | None
    acts: list[AuditedAct]
    path: list[Credential]


class WhyMember(Reply, frozen=True, kw_only=True):
    """Why somebody is a member or not: all that it was ever granted, the current credential first."""

    group: str
    subject: str
    member: bool
    grants: list[WhyGrant]


class WhyVersion(Reply, frozen=True, kw_only=True):
    """Why a version of a record counts or not.

    `kept`: it counts; else it waits aside, for 30 days, in case it comes to. `rules` are what the removals
    that hit its author's credential say of records: `manifest`, `drop` or `time`, each with its act. `grant`
    is the credential that it was written under, `null` while that is not here.
    """

    version_id: str
    modified_by: str
    modified: Time
    kept: bool
    rules: list[str]
    grant: WhyGrant | None


class WhyRecord(Reply, frozen=True, kw_only=True):
    """Why a record is as it is: its versions that are here, the newest first."""

    group: str
    record_id: str
    creator: str
    versions: list[WhyVersion]
