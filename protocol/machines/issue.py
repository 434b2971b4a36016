"""Issue: the group's machine signs what its user asked for, as the next acts of this store's own chains.

A store signs on a chain of its own for each author (its identity, and the root where it holds the root's
key), so that one identity on two machines never forks. A chain is begun by the first act, and anew

* when its last act lies five minutes ahead of the clock: otherwise one slip of the clock would push every
  later act into the future (authority-rules.md, "A signer starts a new chain if …"),
* when its last act is not the one that this store signed last: somebody else has the key, and nothing is ever
  built on what they signed.

All or nothing: every request of a call is planned before the first act is signed, and nothing of the state
changes before all are signed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.bundle import encode_bundle, path_evidence
from protocol.authority.elements import Der
from protocol.authority.issuing import (
    Issuer,
    IssueRequest,
    check_clock,
    choose_issuer,
    plan_grant,
    write_grant,
)
from protocol.authority.root import Root
from protocol.authority.view import View
from protocol.codec import encode
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import check_comment, check_friendly_name
from protocol.errors import RuleError
from protocol.ids import CHAIN_BYTES
from protocol.limits import (
    BUNDLE_BYTES_MAX,
    ELEMENTS_PER_FRAME_MAX,
    HLC_AHEAD_MS_MAX,
    PROPERTIES_BYTES_MAX,
)
from protocol.machines.events import Issue, SetProperties
from protocol.peer_time import Moment, hlc_ms, next_hlc

_LEAF_OVERHEAD_BYTES = 16  # what the encoding of a bundle puts around one more act and certificate, at most


@dataclass(slots=True)
class _Pen:
    """Writes the next acts of one chain, one after the other. `hlc` is the last one given out."""

    gid: bytes
    author: bytes
    chain: bytes
    seq: int
    prev: bytes | None
    hlc: int

    def next_hlc(self, now: Moment) -> int:
        """The time of the next act."""
        self.hlc = next_hlc(now.utc_ms, self.hlc)
        return self.hlc

    def place(self, issuer: Issuer, hlc: int) -> Place:
        """Where the next act stands."""
        return Place(self.gid, self.author, self.chain, self.seq, self.prev, issuer.level, issuer.cred, hlc)

    def note(self, act: Act) -> None:
        """Go on from an act just signed."""
        self.seq, self.prev = self.seq + 1, act.id


class Issuing:
    """The signing half of one group's machine."""

    def __init__(self, own: PrivateKey, rng: random.Random) -> None:
        """`rng` draws new chains."""
        self._own = own
        self._rng = rng

    def issue(self, command: Issue, view: View, now: Moment, store: ActSet) -> list[tuple[Act, Der]]:
        """Sign one grant for each request. Raises: RuleError, with nothing changed."""
        _check_ready(view)
        _check_subjects(command.requests)
        pens: dict[bytes, _Pen] = {}
        rooms: dict[bytes, int] = {}
        plans = []
        for request in command.requests:
            if not request.trust_clock:
                check_clock(view, now)
            issuer = choose_issuer(view, self._own, command.root, request, now.utc_s)
            pen = self._pen(pens, issuer, view, now, store)
            hlc = pen.next_hlc(now)
            plans.append((plan_grant(view, issuer, request, hlc), issuer, pen, hlc))
            if issuer.cred not in rooms:
                rooms[issuer.cred] = _evidence_room(view, issuer, store)
        issued = []
        for plan, issuer, pen, hlc in plans:
            act, der = write_grant(plan, issuer, pen.place(issuer, hlc))
            if len(act.raw) + len(der.certificate.der) > rooms[issuer.cred]:
                raise RuleError(
                    "chain-too-long",
                    "the names in the issuer's chain leave no room for this credential in a proof of it",
                    hint="choose shorter names, or let an administrator nearer to the creator issue it",
                )
            pen.note(act)
            issued.append((act, der))
        _keep_chains(pens, store)
        return issued

    def set_properties(self, command: SetProperties, view: View, now: Moment, store: ActSet) -> Act:
        """Sign the group's properties with some of them changed. Raises: RuleError, with nothing changed."""
        root = _check_ready(view)
        if command.root.public.pid not in root.operating:
            raise RuleError(
                "no-key-access",
                "this daemon does not hold the group's root key",
                hint="set properties on the creator's machine",
            )
        check_clock(view, now)
        body = changed_properties(view.properties, command.changes)
        issuer = Issuer.root(command.root, root)
        pens: dict[bytes, _Pen] = {}
        pen = self._pen(pens, issuer, view, now, store)
        pen.hlc = max(pen.hlc, view.properties_hlc)  # of two, the later one counts
        act = sign_act(pen.place(issuer, pen.next_hlc(now)), Kind.PROPERTIES, body, [command.root])
        pen.note(act)
        _keep_chains(pens, store)
        return act

    def is_foreign(self, act: Act, view: View, store: ActSet) -> bool:
        """Whether an act that came from elsewhere stands on the chain that this store signs for its author:
        somebody else has the key, or this store is an old copy of another.
        """
        last_id = store.setting(_setting(act.place.author))
        last = None if last_id is None else view.admitted(last_id)
        return last is not None and last.place.chain == act.place.chain

    def _pen(self, pens: dict[bytes, _Pen], issuer: Issuer, view: View, now: Moment, store: ActSet) -> _Pen:
        author = view.gid if issuer.grant is None else issuer.signer.public.pid
        if author not in pens:
            pens[author] = self._next_in_chain(author, view, now, store)
        return pens[author]

    def _next_in_chain(self, author: bytes, view: View, now: Moment, store: ActSet) -> _Pen:
        last_id = store.setting(_setting(author))
        last = None if last_id is None else view.admitted(last_id)
        if last is not None:
            place = last.place
            head = view.head(author, place.chain)
            usable = head is not None and head.id == last.id
            if usable and hlc_ms(place.hlc) < now.utc_ms + HLC_AHEAD_MS_MAX:
                return _Pen(view.gid, author, place.chain, place.seq + 1, last.id, place.hlc)
        return _Pen(view.gid, author, self._rng.randbytes(CHAIN_BYTES), 1, None, 0)


def _check_subjects(requests: Sequence[IssueRequest]) -> None:
    subjects = dict.fromkeys(request.subject.authority for request in requests)
    if not 1 <= len(requests) <= ELEMENTS_PER_FRAME_MAX or len(subjects) != len(requests):
        raise RuleError(
            "invalid-argument",
            f"one call issues to 1 to {ELEMENTS_PER_FRAME_MAX} different subjects",
            hint="make several calls",
        )


def _evidence_room(view: View, issuer: Issuer, store: ActSet) -> int:
    """How many bytes an act and its certificate may have together, to fit into a bundle with those of the
    issuer's own path.
    """
    evidence = path_evidence(view, issuer.cred, store.get)
    if evidence is None:
        raise RuleError(
            "group-not-ready",
            "the certificates of the issuer's own chain have not all arrived on this node yet",
            hint="wait until this node has synchronized: peerd status",
        )
    return BUNDLE_BYTES_MAX - _LEAF_OVERHEAD_BYTES - len(encode_bundle(*evidence))


def _setting(author: bytes) -> str:
    return f"last/{author[:16].hex()}"


def _keep_chains(pens: Mapping[bytes, _Pen], store: ActSet) -> None:
    for author, pen in pens.items():
        store.set_setting(_setting(author), pen.prev)


def keep_chain(last: Act, store: ActSet) -> None:
    """Remember a chain that was begun outside of the machine, by its last act: the root's, with genesis."""
    store.set_setting(_setting(last.place.author), last.id)


def _check_ready(view: View) -> Root:
    if view.root is None:
        raise RuleError(
            "group-not-ready",
            "the group's acts have not arrived on this node yet",
            hint="connect to a member first: peerd group connect GROUP --address HOST:PORT",
        )
    return view.root


def changed_properties(before: PropertiesBody, changes: Mapping[str, Any]) -> PropertiesBody:
    """The properties after some changes. Raises: RuleError(invalid-properties, invalid-friendly-name)."""
    unknown = sorted(changes.keys() - set(PropertiesBody.__struct_fields__))
    if unknown:
        raise _bad_properties(f"there is no property {unknown[0]}")
    merged = {**msgspec.to_builtins(before, builtin_types=(bytes,)), **changes}
    try:
        body = msgspec.convert(merged, PropertiesBody, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise _bad_properties(f"the properties are not acceptable: {error}") from None
    check_friendly_name(body.friendly)
    check_comment(body.comment)
    if len(encode(msgspec.to_builtins(body, builtin_types=(bytes,)))) > PROPERTIES_BYTES_MAX:
        raise _bad_properties("the properties are too large to travel")
    return body


def _bad_properties(detail: str) -> RuleError:
    return RuleError("invalid-properties", detail, hint="peerd group set GROUP shows what they are now")
