"""What if: what an act would take down, before anybody signs it.

A set is evaluated with and without the act, apart from everything that runs. So it answers for acts of every
kind, and for the whole of what follows from one: who is no member any more, what becomes void, and which
removals fall with it, so that somebody else comes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Admitted, Valid, admit
from protocol.authority.bodies import Kind
from protocol.authority.grants import Grant
from protocol.authority.view import View

TAKES_AWAY = frozenset({int(Kind.REVOKE_CREDENTIAL), int(Kind.REVOKE_KEY), int(Kind.RESIGN), int(Kind.ANNUL)})


@dataclass(frozen=True, slots=True)
class Kept:
    """An act of the set: its bytes, what admission found, and the element id of its certificate if held."""

    raw: bytes
    admitted: Admitted
    der: bytes | None = None


@dataclass(frozen=True, slots=True)
class Fall:
    """What an act takes down: the grants that are live no more, the keys (pids) that are members no more, the
    acts that lose their effect, and the removals among these. `back` are keys that become members by it.
    """

    grants: tuple[Grant, ...]
    lost: tuple[bytes, ...]
    void: tuple[bytes, ...]
    removals: tuple[bytes, ...]
    back: tuple[bytes, ...]


def read_view(gid: bytes, kept: Iterable[Kept]) -> View:
    """The view of acts that were admitted before, parents first."""
    view = View(gid)
    for one in kept:
        view.add(decode_untrusted_act(one.raw), one.admitted)
        if one.der is not None:
            view.add_der(one.admitted.id, one.der)
    return view


def what_if(view: View, act: Act, at_s: int) -> Fall:
    """What a new act, which holds no grant, changes at a second UTC. The view has it afterwards. An act that
    is not signed yet will do, that of a draft for example.
    """
    assert act.kind != Kind.GRANT, "a grant takes nothing down"
    live, members, effective = _live(view), _members(view, at_s), _effective(view)
    verdict = admit(act, view)
    assert isinstance(verdict, Valid), verdict
    view.add(act, verdict.admitted)
    live_now, members_now, effective_now = _live(view), _members(view, at_s), _effective(view)
    void = tuple(act_id for act_id in effective if act_id not in effective_now)
    return Fall(
        grants=tuple(grant for act_id, grant in live.items() if act_id not in live_now),
        lost=tuple(pid for pid in members if pid not in members_now),
        void=void,
        removals=tuple(act_id for act_id in void if view.kind_of(act_id) in TAKES_AWAY),
        back=tuple(pid for pid in members_now if pid not in members),
    )


def _live(view: View) -> dict[bytes, Grant]:
    return {grant.act_id: grant for pid in view.subjects() for grant in view.live_grants(pid)}


def _members(view: View, at_s: int) -> dict[bytes, None]:
    return dict.fromkeys(pid for pid in view.subjects() if view.current(pid, at_s) is not None)


def _effective(view: View) -> dict[bytes, None]:
    return dict.fromkeys(act_id for act_id in view.act_ids() if view.is_effective(act_id))
