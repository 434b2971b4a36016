"""Explaining: why somebody is a member or not, and what in a set of acts an auditor should look at.

Everything is read from the view; nothing is decided here. A grant counts for its subject unless, in this
order: it is void, a removal hits it, its certificate is not held, its window has not begun or is over, or
another is better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.authority.bodies import Kind
from protocol.authority.grants import Grant
from protocol.authority.reasons import Reason
from protocol.authority.view import View
from protocol.limits import HLC_AHEAD_MS_MAX
from protocol.peer_time import hlc_ms

_REVOCATIONS = frozenset({int(Kind.REVOKE_CREDENTIAL), int(Kind.REVOKE_KEY)})


@dataclass(frozen=True, slots=True)
class Standing:
    """How one grant stands at some second.

    `verdict` is `current`, `good` (another is better), `void`, `revoked`, `undelivered`, `not-begun` or
    `ended`. `reason` says why it is void, `hits` are the removals that hit it, `path` the grants from the one
    that the root signed down to this one.
    """

    grant: Grant
    verdict: str
    reason: Reason | None
    hits: tuple[bytes, ...]
    path: tuple[Grant, ...]


def explain_grant(view: View, grant: Grant, at_s: int) -> Standing:
    """How an admitted grant stands at a second UTC."""
    reason, hits = view.why_void(grant.act_id), view.hits_of(grant.act_id)
    return Standing(grant, _verdict(view, grant, at_s), reason, hits, tuple(view.path(grant)))


def _verdict(view: View, grant: Grant, at_s: int) -> str:
    current = view.current(grant.pid, at_s)
    checks = (
        (current is not None and current.act_id == grant.act_id, "current"),
        (not view.is_effective(grant.act_id), "void"),
        (not view.is_live(grant.act_id), "revoked"),
        (view.der_of(grant.act_id) is None, "undelivered"),
        (at_s < grant.window.start, "not-begun"),
        (at_s > grant.window.end, "ended"),
    )
    return next((verdict for holds, verdict in checks if holds), "good")


def explain_person(view: View, pid: bytes, at_s: int) -> list[Standing]:
    """How all grants to a key stand: the current one first, then the latest."""
    found = [explain_grant(view, grant, at_s) for grant in view.grants_ever(pid)]
    return sorted(found, key=lambda one: (one.verdict != "current", -one.grant.hlc, one.grant.act_id))


@dataclass(frozen=True, slots=True)
class Oddities:
    """Acts (ids) that an auditor should look at.

    `forked` stand beside another with the same author, chain and number, or after the same act: somebody else
    has the key, or a store was rolled back. `backdated` are dated more than five minutes before something
    that had arrived earlier, which is only a hint. `fallen` are revocations that have lost their effect: who
    still wants them has to sign them anew.
    """

    forked: frozenset[bytes]
    backdated: frozenset[bytes]
    fallen: frozenset[bytes]


def oddities(view: View) -> Oddities:
    """What is odd in a set."""
    places: dict[object, list[bytes]] = {}
    backdated: list[bytes] = []
    fallen: list[bytes] = []
    latest_ms = 0
    for act_id in view.act_ids():
        admitted = view.admitted(act_id)
        assert admitted is not None
        place = admitted.place
        places.setdefault((place.author, place.chain, place.seq), []).append(act_id)
        if place.prev is not None:
            places.setdefault(place.prev, []).append(act_id)
        if hlc_ms(place.hlc) < latest_ms - HLC_AHEAD_MS_MAX:
            backdated.append(act_id)
        latest_ms = max(latest_ms, hlc_ms(place.hlc))
        if admitted.kind in _REVOCATIONS and not view.is_effective(act_id):
            fallen.append(act_id)
    return Oddities(frozenset(_shared(places.values())), frozenset(backdated), frozenset(fallen))


def _shared(found: Iterable[list[bytes]]) -> Iterable[bytes]:
    return (act_id for ids in found if len(ids) > 1 for act_id in ids)
