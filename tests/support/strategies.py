"""Sets of elements as hypothesis draws them: honest and dishonest, whole and with holes.

A set is drawn as a list of small steps, each one act by somebody, and then built by `Group`. So it shrinks to
few and simple acts, and the same steps always give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from protocol.authority.bodies import (
    AnnulBody,
    Body,
    InviteBody,
    Kind,
    PropertiesBody,
    ResignBody,
    RevokeCredentialBody,
    RevokeKeyBody,
    RotateRootBody,
    UnknownBody,
)
from protocol.authority.elements import Element
from protocol.authority.root import commitment_of
from protocol.peer_time import hlc_at
from tests.support.builders import GRC, Group
from tests.support.keys import named

PEOPLE = (GRC, "alice", "bob", "carol", "dave", "erin")
START = "grc -> alice:admin -> bob:admin -> carol:inviting -> dave:member"  # what every sample begins with
UNKNOWN_KINDS = (3, 63, 65, 127, 150, 191, 200, 255)
CARRIED = (Kind.INVITE, Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY, Kind.RESIGN, Kind.ANNUL, Kind.ROTATE_ROOT)
AHEAD_S = 600  # beyond what a node admits at once

# What is wrong or odd about one act.
FORK = "fork"  # beside the last act of its chain, not after it
SEQ = "seq"  # a number too high
LOST = "lost"  # never delivered, so what follows it lacks a parent
ORPHAN = "orphan"  # after an act that does not exist
AHEAD = "ahead"  # dated ten minutes ahead of NOW
SENIOR = "senior"  # at a level that its author does not have
UNDELIVERED = "undelivered"  # a grant whose certificate stays away
FORGED = "forged"  # a grant whose certificate names the wrong sort of issuer
ODDITIES = (FORK, SEQ, LOST, ORPHAN, AHEAD, SENIOR, UNDELIVERED, FORGED)


# Anything that the codec can say.
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Step:
    """One act: who, what kind, for whom, on which of the author's chains, and what is odd about it."""

    author: str
    kind: int
    subject: str = "bob"
    role: str = "member"
    chain: int = 0
    odd: str | None = None


@dataclass
class Sample:
    """What the steps came to: `elements` in the order of making, parents first, the lost ones left out."""

    group: Group
    elements: list[Element] = field(default_factory=list)


def steps(odd: tuple[str, ...] = ODDITIES) -> st.SearchStrategy[list[Step]]:
    """Lists of steps; half of them are grants, most of them without an oddity."""
    kinds = st.one_of(
        st.just(int(Kind.GRANT)), st.sampled_from([*map(int, CARRIED), int(Kind.PROPERTIES), *UNKNOWN_KINDS])
    )
    step = st.builds(
        Step,
        author=st.sampled_from(PEOPLE),
        kind=kinds,
        subject=st.sampled_from(PEOPLE[1:]),
        role=st.sampled_from(("admin", "inviting", "member")),
        chain=st.integers(0, 1),
        odd=st.one_of(st.none(), st.sampled_from(odd)) if odd else st.none(),
    )
    return st.lists(step, max_size=25)


def act_sets(odd: tuple[str, ...] = ODDITIES) -> st.SearchStrategy[Sample]:
    """Sets of elements of one group that begins with START; `odd` are the oddities that may occur."""
    return steps(odd).map(build)


def build(told: list[Step]) -> Sample:
    """Make the acts of some steps."""
    sample = Sample(Group())
    sample.group.grant(START)
    sample.elements += sample.group.elements
    for step in told:
        elements = _make(sample.group, step)
        if step.odd != LOST:
            sample.elements += elements
    return sample


def _make(group: Group, step: Step) -> list[Element]:
    changed = {"chain": step.chain, **_oddity(group, step)}
    if step.kind == Kind.GRANT:
        text = f"{step.author} -> {step.subject}:{step.role}"
        if "level" in changed:
            changed["at_level"] = changed.pop("level")
        if step.odd == FORGED:
            changed["cert"] = {"issuer_is_root": step.author != GRC}
        granted = group.grant(text, publish=step.odd != UNDELIVERED, **changed)
        return [granted.act] if step.odd == UNDELIVERED else list(granted.elements)
    signers = (
        (f"recovery/{group.classifier}",) if step.kind == Kind.ROTATE_ROOT and step.author == GRC else ()
    )
    return [group.act(step.author, step.kind, _body(group, step), signers=signers, **changed)]


def _oddity(group: Group, step: Step) -> dict[str, Any]:
    """The fields of the act that the step's oddity changes."""
    author = group.gid if step.author == GRC else group.key(step.author).public.pid
    head = group.view.head(author, group.chain(step.author, step.chain))
    last = None if head is None else group.view.admitted(head.id)
    if step.odd == FORK and last is not None and last.place.prev is not None:
        return {"seq": last.place.seq, "prev": last.place.prev}
    if step.odd == SEQ:
        return {"seq": 2 if last is None else last.place.seq + 2}
    if step.odd == ORPHAN:
        return {"seq": 2, "prev": b"\x0f" * 32}
    if step.odd == AHEAD:
        floor = 0 if last is None else last.place.hlc + 1
        return {"hlc": max(floor, hlc_at(group.now.utc_ms + AHEAD_S * 1000))}
    if step.odd == SENIOR and step.author != GRC:
        return {"level": 1}
    return {}


def _body(group: Group, step: Step) -> Body:
    """Something for each kind that reads as one of its kind."""
    key = named(step.subject).public.raw
    heads = b"".join(sorted(one.act.id for one in group.granted.values())[:3])
    match step.kind:
        case Kind.INVITE:
            return InviteBody(key=key, role=3, not_after=1_800_000_000, uses=step.chain + 1)
        case Kind.REVOKE_CREDENTIAL:
            return RevokeCredentialBody(key=key, keep=heads, reason="left")
        case Kind.REVOKE_KEY:
            return RevokeKeyBody(key=key, until=1_800_000_000)
        case Kind.RESIGN:
            return ResignBody(keep=heads)
        case Kind.ANNUL:
            return AnnulBody(act=group.creator.act.id)
        case Kind.PROPERTIES:
            return PropertiesBody(friendly=step.subject, default_life=86_400 * (step.chain + 1))
        case Kind.ROTATE_ROOT:
            recovery = named(f"recovery/{group.classifier}").public
            return RotateRootBody(
                from_version=1,
                operating=named(f"operating/{step.subject}").public.raw,
                threshold=1,
                next=commitment_of([named("recovery/next").public], 1),
                revealed=recovery.raw,
                revealed_threshold=1,
            )
        case _:
            return UnknownBody()
