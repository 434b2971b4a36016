"""`peerd why …` and `peerd audit`: the reasons, and every signed act."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

import click

from peerd.cli.problems import EXIT_REFUSED
from peerd.cli.render import Name, count_of, details, say, table, time_text
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.control import authority_schema, schema
from peerd.printable import printable

_VERDICTS = {
    "current": "holds, and is what it goes by",
    "good": "holds, but another is better",
    "void": "is void",
    "revoked": "has been revoked",
    "undelivered": "counts once its certificate has arrived here",
    "not-begun": "has not begun to hold",
    "ended": "has ended",
}
_RULES = {
    "annulled": "somebody more senior has annulled the act",
    "credential-void": "the credential that its issuer signed under is void",
    "outside-the-cut": "its issuer was removed, and the removal does not keep what it signed then",
    "root-replaced": "it was signed by a root key that has been replaced",
    "rotation-outdone": "another rotation of the root counts",
    "version-void": "it was signed under a version of the root that does not count",
}

_ADOPTABLE = ("credential-void", "outside-the-cut")


@click.group(
    cls=Noun,
    epilog=examples("peerd why member pizza bob", "peerd why not pizza bob", "peerd why record pizza 3f9a"),
)
def why() -> None:
    """Reasons: why somebody is a member or not, why a record counts."""


@why.command(epilog=examples("peerd why member pizza bob", "peerd why member pizza bob --json"))
@click.argument("group")
@click.argument("name", metavar="MEMBER")
@json_option
@pass_session
def member(session: Session, group: str, name: str, as_json: bool) -> None:
    """Say by which credentials somebody is a member, up to the group's root.

    Of each: who issued it and when, until when it holds, what hit it, and which rule decided.
    """
    with session.client() as client:
        found = client.why_member(group, name)
    answer(found, lambda: _member_text(found, found.grants), as_json=as_json)


@why.command("not", epilog=examples("peerd why not pizza bob", "peerd why not pizza bob --json"))
@click.argument("group")
@click.argument("name", metavar="MEMBER")
@json_option
@pass_session
def why_not(session: Session, group: str, name: str, as_json: bool) -> int:
    """Say why somebody is no member, though something was granted to it.

    Exit code 1 when it is one.
    """
    with session.client() as client:
        found = client.why_member(group, name)
    against = [one for one in found.grants if one.verdict not in ("current", "good")]
    answer(found, lambda: _member_text(found, against), as_json=as_json)
    if found.member and not as_json:
        say(f"By which credential: peerd why member {quote(group)} {quote(name)}")
    lost = [one.credential for one in against if one.verdict == "void" and one.rule in _ADOPTABLE]
    if lost and not found.member and not as_json:
        adopt = f"peerd credential adopt {quote(group)} {lost[0].grant_id[:12]}"
        say(f"An administrator can let it count again: {adopt}")
    return EXIT_REFUSED if found.member else 0


@why.command(epilog=examples("peerd why record pizza 3f9a", "peerd why record pizza 3f9a --json"))
@click.argument("group")
@click.argument("record_id")
@json_option
@pass_session
def record(session: Session, group: str, record_id: str, as_json: bool) -> None:
    """Say which versions of a record are here, which count, and by whose credential."""
    with session.client() as client:
        found = client.why_record(group, record_id)
    answer(found, lambda: _record_text(found), as_json=as_json)


@click.command(epilog=examples("peerd audit pizza", "peerd audit pizza --json"))
@click.argument("group")
@json_option
@pass_session
def audit(session: Session, group: str, as_json: bool) -> None:
    """List every signed act, in the order of arrival here, with what became of it.

    Forks, back-dated acts and revocations that have lost their effect are pointed out.
    """
    with session.client() as client:
        acts = list(client.whole_audit(group))
    answer(authority_schema.Audit(acts=acts), lambda: _audit_table(acts), as_json=as_json)
    odd = [one for one in acts if one.findings]
    if odd and not as_json:
        say(f"{count_of(len(odd), 'act wants', 'acts want')} a look: see the column FINDINGS.")


def _member_text(found: authority_schema.WhyMember, grants: list[authority_schema.WhyGrant]) -> str:
    says = "is a member" if found.member else "is no member"
    parts = [f"{printable(found.subject)} {says} of {printable(found.group)}"]
    return "\n\n".join([*parts, *(_grant_text(one) for one in grants)])


def _grant_text(one: authority_schema.WhyGrant) -> str:
    given = one.credential
    lines = details(
        {
            "credential": given.grant_id,
            "roles": f"{', '.join(given.roles)} (level {given.level})",
            "issued": f"{time_text(given.issued)} by {given.issuer}",
            "holds": f"{time_text(given.not_before)} to {time_text(given.not_after)}",
            "verdict": _VERDICTS.get(one.verdict, one.verdict),
            "rule": None if one.rule is None else _RULES.get(one.rule, one.rule),
            "rests on": _path_text(one.path),
        }
    )
    return "\n".join([lines, *(f"  {_act_line(act)}" for act in one.acts)])


def _path_text(path: Iterable[schema.Credential]) -> str:
    """From the root down, each by its issuer."""
    steps = [f"{one.subject} ({', '.join(one.roles)}, {one.grant_id[:12]})" for one in path]
    return " -> ".join(["the group's root", *steps])


def _act_line(one: authority_schema.AuditedAct) -> str:
    reason = f": {one.reason}" if one.reason else ""
    return printable(
        f"{one.kind} {one.act_id[:12]}, {time_text(one.time)}, by {_author(one)} (level {one.level}){reason}"
    )


def _author(one: authority_schema.AuditedAct) -> str:
    return "the root" if one.level == 0 else one.peer_name or one.author[:12]


def _record_text(found: authority_schema.WhyRecord) -> str:
    summary = details({"record id": found.record_id, "group": found.group, "creator": found.creator})
    return "\n\n".join([summary, *(_version_text(one) for one in found.versions)])


def _version_text(one: authority_schema.WhyVersion) -> str:
    lines = details(
        {
            "version id": one.version_id,
            "written": f"{time_text(one.modified)} by {one.modified_by}",
            "counts": "yes" if one.kept else "no",
            "under removals": ", ".join(one.rules) or None,
            "credential": "not here" if one.grant is None else None,
        }
    )
    return lines if one.grant is None else f"{lines}\n{_grant_text(one.grant)}"


def _audit_table(acts: list[authority_schema.AuditedAct]) -> str:
    return table(
        ["ACT ID", "TIME", "KIND", "LEVEL", "AUTHOR", "SUBJECT", "COUNTS", "BECAUSE OF", "FINDINGS"],
        [
            [
                Name(one.act_id),
                time_text(one.time),
                one.kind,
                str(one.level),
                Name(_author(one)),
                Name(one.subject or ""),
                _standing(one),
                ", ".join(act_id[:12] for act_id in (*one.because, *one.hit_by)),
                ", ".join(one.findings),
            ]
            for one in acts
        ],
    )


def _standing(one: authority_schema.AuditedAct) -> str:
    if not one.effective:
        return one.rule or "void"
    return "revoked" if one.hit_by else "yes"
