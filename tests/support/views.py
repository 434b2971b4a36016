"""Views as tests compare them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protocol.authority.acts import Act
from protocol.authority.admission import Deferred, Valid, admit
from protocol.authority.elements import Element, admit_der
from protocol.authority.view import View
from protocol.ids import authority_of
from tests.support.builders import DAY, NOW

AT = NOW.utc_s + 60


def view_of(gid: bytes, elements: Iterable[Element]) -> View:
    """The view of what can be admitted, each element added as soon as the acts that it names are there."""
    view, waiting = View(gid), list(elements)
    while True:
        left = [element for element in waiting if not _add(element, view)]
        if len(left) == len(waiting):
            return view
        waiting = left


def _add(element: Element, view: View) -> bool:
    """Whether the element is done with: added, or refused."""
    if isinstance(element, Act):
        verdict = admit(element, view)
        if isinstance(verdict, Valid):
            view.add(element, verdict.admitted)
        return not isinstance(verdict, Deferred)
    refusal = admit_der(element, view)
    if refusal is None:
        view.add_der(element.act_id, element.id)
    return not isinstance(refusal, Deferred)


def told_by(view: View) -> dict[str, Any]:
    """All that a view says."""
    pids = list(view.subjects())
    grants = [sorted(view.live_grants(pid), key=lambda grant: grant.act_id) for pid in pids]
    places = [one.place for act_id in view.act_ids() if (one := view.admitted(act_id)) is not None]
    return {
        "root": view.root,
        "count": len(view),
        "properties": (view.properties, view.properties_hlc),
        "latest": view.latest_hlc,
        "acts": sorted(view.act_ids()),
        "effective": [act_id for act_id in sorted(view.act_ids()) if view.is_effective(act_id)],
        "ders": [view.der_of(act_id) for act_id in sorted(view.act_ids())],
        "subjects": pids,
        "grants": grants,
        "paths": [view.path(grant) for part in grants for grant in part],
        "delivered": [sorted(grant.act_id for grant in view.delivered(pid)) for pid in pids],
        "current": [view.current(pid, at_s) for pid in pids for at_s in (0, AT, AT + 80 * DAY)],
        "last": [view.latest(pid) for pid in pids],
        "names": [view.name_of(pid) for pid in pids],
        "found": [view.pid_of(authority_of(pid)) for pid in pids],
        "heads": [view.head(*one) for one in sorted({(place.author, place.chain) for place in places})],
    }
