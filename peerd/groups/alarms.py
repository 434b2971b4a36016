"""What a group's signed acts give cause for alarm about: keys in two hands, and keys that sign without end.

A finding is shown until it no longer matters: the key has been removed, or thirty days have passed. `peerd
audit` points out the acts for ever.
"""

from __future__ import annotations

from shlex import quote

from peerd.control import schema
from peerd.groups.open_group import OpenGroup
from protocol.machines.act_rates import day_begins_s
from protocol.machines.evidence import Finding, Proof
from protocol.machines.facts import name_or_authority

_SHOWN_S = 30 * 86_400  # after it was found
_SHOWN_MAX = 8  # findings of one kind in one group


def alarms(opened: OpenGroup, name: str, now_s: int) -> list[schema.Finding]:
    """Those of one group, at a second UTC."""
    evidence = opened.machine.members.evidence
    proofs = [proof for proof in evidence.proofs() if _matters(proof, opened, now_s)]
    return [*(_of_proof(proof, opened, name) for proof in proofs[-_SHOWN_MAX:]), *_delays(opened, name)]


def _matters(proof: Proof, opened: OpenGroup, now_s: int) -> bool:
    view = opened.machine.members.view
    may_sign = proof.author == view.gid or bool(view.live_grants(proof.author))
    return may_sign and now_s < proof.seen_s + _SHOWN_S


def _of_proof(proof: Proof, opened: OpenGroup, name: str) -> schema.Finding:
    view, group = opened.machine.members.view, quote(name)
    is_root = proof.author == view.gid
    who = "the group's root" if is_root else name_or_authority(view, proof.author)
    seen = f"{schema.time_at(proof.seen_s):%Y-%m-%dT%H:%M:%SZ}"
    acts = " and ".join(act_id.hex()[:12] for act_id in proof.acts)
    if proof.finding is Finding.USED_ELSEWHERE:
        code = "key-used-elsewhere"
        detail = f"the key of {who} has signed somewhere else as if it were this node (act {acts}, {seen})"
        cause = "if this node was restored from an old copy, nothing is wrong"
    else:
        code = "fork-seen"
        detail = f"{who} has signed two acts in one place (acts {acts}, {seen}): its key is in two hands"
        cause = "if its node was restored from an old copy, nothing is wrong"
    remedy = (
        f"peerd root rotate {group}"
        if is_root
        else f"peerd member revoke {group} {quote(who)} --key --dry-run"
    )
    return schema.Finding(
        code=code, detail=detail, hint=f"{cause}; else the key is stolen: {remedy}", group=name
    )


def _delays(opened: OpenGroup, name: str) -> list[schema.Finding]:
    members = opened.machine.members
    day = members.delayed.ends_on
    if day is None:
        return []
    until = f"{schema.time_at(day_begins_s(day)):%Y-%m-%dT%H:%M:%SZ}"
    findings = []
    for author, count in members.delayed.by_author().most_common(_SHOWN_MAX):
        who = name_or_authority(members.view, author)
        findings.append(
            schema.Finding(
                code="act-rate-exceeded",
                detail=f"{who} has signed more than a key may in so short a time; what is beyond it ({count})"
                f" does not count here before {until}",
                hint="if its key was stolen, or it does harm: "
                f"peerd member revoke {quote(name)} {quote(who)} --dry-run",
                group=name,
            )
        )
    return findings
